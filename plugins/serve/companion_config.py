"""What can be said about the actors that a deployment's replicas share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks


@attrs.frozen(kw_only=True)
class DeploymentActorConfig:
    """An actor that all replicas of a deployment share: `serve.get_deployment_actor(name)` finds it.

    `actor_class` is a class, or MODULE:NAME of one. `actor_options` are those of `.options()` of an actor. It is made
    when the first replica starts, is restarted when it dies, and ends with the last replica of its version. Raises
    ConfigError.

    Example: `@serve.deployment(deployment_actors=[DeploymentActorConfig(name="cache", actor_class=Cache)])`
    """

    name: str = attrs.field(validator=checks.text())
    actor_class: Any = None
    init_args: Sequence[Any] = attrs.field(default=(), converter=tuple)
    init_kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    actor_options: Mapping[str, Any] = attrs.field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self.model_post_init(None)

    def model_post_init(self, context: Any) -> None:
        """Check what was given, once it is there. Raises ConfigError."""
        if "#" in self.name:
            raise ConfigError(f"the name of a deployment's actor has no #: {self.name!r}")
        self.get_actor_class()
        taken = sorted({"name", "namespace", "lifetime", "get_if_exists"} & self.actor_options.keys())
        if taken:
            raise ConfigError(f"actor_options of {self.name!r} has {', '.join(taken)}, which the system sets")

    def get_actor_class(self) -> type:
        """Return the class, imported if it was named. Raises ConfigError."""
        found = self.actor_class
        if isinstance(found, str):
            module, _, name = found.rpartition(":" if ":" in found else ".")
            try:
                found = getattr(import_module(module), name)
            except (ImportError, AttributeError, ValueError) as error:
                raise ConfigError(f"actor_class {self.actor_class!r} cannot be imported: {error}") from error
        found = getattr(found, "__wrapped__", found)  # what @shoal.remote made
        if not isinstance(found, type):
            raise ConfigError(
                f"actor_class of {self.name!r} must be a class or MODULE:NAME of one, not {describe(found)}"
            )
        return found


def companion_configs(value: Any) -> tuple[DeploymentActorConfig, ...]:
    """Return what was given as configurations: a list of them, or of mappings. Raises ConfigError."""
    made = tuple(
        each
        if isinstance(each, DeploymentActorConfig)
        else DeploymentActorConfig(**checks.mapping(each, "deployment_actors"))
        for each in value or ()
    )
    names = [each.name for each in made]
    if doubles := sorted({each for each in names if names.count(each) > 1}):
        raise ConfigError(f"two deployment_actors have the name {doubles[0]!r}")
    return made
