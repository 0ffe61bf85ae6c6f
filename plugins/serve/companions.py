"""Actors of a deployment: they belong to all its replicas of one version, and end with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

import shoal
from shoal.serve.companion_config import DeploymentActorConfig
from shoal.serve.context import DeploymentID, replica_context_or_none
from shoal.serve.exceptions import ServeError
from shoal.serve.messages import NAMESPACE


@attrs.frozen
class DeploymentActorContext:
    """Which deployment an actor belongs to, and under which name; for code inside of it."""

    deployment_id: DeploymentID
    actor_name: str
    code_version: str

    @property
    def app_name(self) -> str:
        """The application's name."""
        return self.deployment_id.app_name

    @property
    def deployment(self) -> str:
        """The deployment's name."""
        return self.deployment_id.name


_here: list[DeploymentActorContext] = []  # of this process: at most one


def full_name(deployment: DeploymentID, version: str, name: str) -> str:
    """Return the name under which the session knows an actor of a deployment."""
    return f"SERVE_ACTOR#{deployment.app_name}#{deployment.name}#{version}#{name}"


def start_companions(
    deployment: DeploymentID, version: str, configs: Sequence[DeploymentActorConfig]
) -> None:
    """Make the actors of a deployment's version that are not there yet."""
    for each in configs:
        context = DeploymentActorContext(deployment, each.name, version)
        shoal.remote(_inside(each.get_actor_class(), context)).options(
            max_restarts=each.actor_options.get("max_restarts", -1),
            **{key: value for key, value in each.actor_options.items() if key != "max_restarts"},
            name=full_name(deployment, version, each.name),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
        ).remote(*each.init_args, **each.init_kwargs)


def end_companions(deployment: DeploymentID, version: str, configs: Sequence[DeploymentActorConfig]) -> None:
    """End the actors of a deployment's version that are there."""
    for each in configs:
        try:
            shoal.kill(shoal.get_actor(full_name(deployment, version, each.name), NAMESPACE))
        except ValueError:
            continue


def _inside(cls: Any, context: DeploymentActorContext) -> type:
    def begin(self: Any, *args: Any, **kwargs: Any) -> None:
        from shoal.serve import companions

        companions._here[:] = [context]
        cls.__init__(self, *args, **kwargs)

    return type(
        cls.__name__, (cls,), {"__init__": begin, "__module__": cls.__module__, "__doc__": cls.__doc__}
    )


def get_deployment_actor(actor_name: str) -> Any:
    """Return an actor of the deployment that the calling replica belongs to.

    Raises ServeError outside of replicas, and for a name that the deployment has not.

    Example: `await serve.get_deployment_actor("cache").lookup.remote(key)`
    """
    here = replica_context_or_none()
    if here is None:
        raise ServeError("get_deployment_actor() is for code that runs in a replica; this is none")
    try:
        return shoal.get_actor(
            full_name(here.replica_id.deployment_id, here.code_version, actor_name), NAMESPACE
        )
    except ValueError:
        raise ServeError(
            f"deployment {here.deployment} has no actor {actor_name!r}: give it one with deployment_actors="
        ) from None


def get_deployment_actor_context() -> DeploymentActorContext:
    """Return which deployment the calling actor belongs to. Raises ServeError elsewhere."""
    if not _here:
        raise ServeError("get_deployment_actor_context() is for code that runs in an actor of a deployment")
    return _here[0]
