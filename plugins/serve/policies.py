"""Functions and classes of users in configurations: how load becomes replicas, and which router callers use."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import attrs
import cloudpickle

from shoal.errors import ConfigError, describe
from shoal.serve import checks

DEFAULT_POLICY = "shoal.serve.autoscaling_policy:default_autoscaling_policy"
DEFAULT_ROUTER = "power_of_two"


def imported(path: Any, what: str) -> Any:
    """Return what MODULE:NAME (or MODULE.NAME) names; anything else as it is. Raises ConfigError."""
    if not isinstance(path, str):
        return path
    module, _, name = path.rpartition(":" if ":" in path else ".")
    try:
        return getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(f"{what} {path!r} cannot be imported: {error}") from error


@attrs.define(kw_only=True)
class AutoscalingPolicy:
    """What decides how many replicas there are: a function, a class (made once), or MODULE:NAME of either.

    `policy_kwargs` go to the class, or to each call of the function. Raises ConfigError.

    Example: `AutoscalingConfig(policy=AutoscalingPolicy(policy_function="site.scaling:by_hour"))`
    """

    policy_function: Any = DEFAULT_POLICY
    policy_kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    _serialized: bytes = attrs.field(default=b"", init=False, repr=False, eq=False)
    _made: Callable[..., Any] | None = attrs.field(default=None, init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        self.model_post_init(None)

    def model_post_init(self, context: Any) -> None:
        """Check what was given, once it is there. Raises ConfigError."""
        if not isinstance(self.policy_function, str) and not callable(self.policy_function):
            raise ConfigError(
                f"policy_function must be a function, a class, or MODULE:NAME, not {describe(self.policy_function)}"
            )
        checks.mapping(self.policy_kwargs, "policy_kwargs")

    def get_policy(self) -> Callable[..., Any]:
        """Return what is called with an `AutoscalingContext`; a class is made the first time. Raises ConfigError."""
        if self._made is None:
            found: Any = (
                cloudpickle.loads(self._serialized)
                if self._serialized
                else imported(self.policy_function, "policy_function")
            )
            if inspect.isclass(found):
                found = found(**self.policy_kwargs)
            elif self.policy_kwargs:
                found = functools.partial(found, **self.policy_kwargs)
            self._made = found
        made: Callable[..., Any] = self._made
        return made

    def is_default_policy_function(self) -> bool:
        """Tell whether it is the policy that there is without one."""
        return self.policy_function == DEFAULT_POLICY and not self._serialized

    def serialize_policy(self) -> None:
        """Take the function or class along as bytes: where they are read, its module need not be there."""
        self._serialized = cloudpickle.dumps(imported(self.policy_function, "policy_function"))

    def get_serialized_policy_def(self) -> bytes | None:
        """Return the function or class as bytes, None before `serialize_policy`."""
        return self._serialized or None

    def set_serialized_policy_def(self, serialized_policy_def: bytes) -> None:
        """Set what `get_serialized_policy_def` returned elsewhere. Unpickled, so only from whom you trust."""
        self._serialized, self._made = serialized_policy_def, None

    @classmethod
    def from_serialized_policy_def(
        cls, policy_config: Mapping[str, Any], serialized_policy_def: bytes
    ) -> AutoscalingPolicy:
        """Return a policy with these fields and this function or class."""
        made = cls(**policy_config)
        made.set_serialized_policy_def(serialized_policy_def)
        return made

    def __reduce__(self) -> Any:
        return _policy, (self.policy_function, dict(self.policy_kwargs), self._serialized)


def _policy(function: Any, kwargs: dict[str, Any], serialized: bytes) -> AutoscalingPolicy:
    made = AutoscalingPolicy(policy_function=function, policy_kwargs=kwargs)
    if serialized:
        made.set_serialized_policy_def(serialized)
    return made


def policy_of(value: Any) -> Any:
    """Return a policy of what was given: a mapping of its fields becomes an `AutoscalingPolicy`. Raises ConfigError."""
    if isinstance(value, Mapping):
        given = checks.mapping(value, "policy")
        if unknown := sorted(given.keys() - {"policy_function", "policy_kwargs"}):
            raise ConfigError(f"policy has no {', '.join(unknown)}; it has policy_function, policy_kwargs")
        return AutoscalingPolicy(**given)
    return AutoscalingPolicy(policy_function=value) if isinstance(value, str) else value


@attrs.frozen(kw_only=True)
class RequestRouterConfig:
    """Which router a deployment's callers use: a plugin's name of the group `shoal.serve.routers`, MODULE:NAME, or a
    class.

    `request_router_kwargs` go to its constructor. What a replica's `record_routing_stats()` returns is asked for every
    `request_routing_stats_period_s`, within `request_routing_stats_timeout_s`, and is what routers see of it. A
    `RequestRouter` that chose nobody with room is asked again after `initial_backoff_s`, `backoff_multiplier` times
    as long each time, at most `max_backoff_s`. Raises ConfigError.
    """

    request_router_class: Any = DEFAULT_ROUTER
    request_router_kwargs: Mapping[str, Any] = attrs.field(factory=dict)
    request_routing_stats_period_s: float = attrs.field(default=10.0, validator=checks.number(above=True))
    request_routing_stats_timeout_s: float = attrs.field(default=30.0, validator=checks.number(above=True))
    initial_backoff_s: float = attrs.field(default=0.025, validator=checks.number(above=True))
    backoff_multiplier: float = attrs.field(default=2.0, validator=checks.number(1.0))
    max_backoff_s: float = attrs.field(default=0.5, validator=checks.number(above=True))

    def __attrs_post_init__(self) -> None:
        self.model_post_init(None)

    def model_post_init(self, context: Any) -> None:
        """Check what was given, once it is there. Raises ConfigError."""
        given = self.request_router_class
        if not isinstance(given, (str, bytes, type)):
            raise ConfigError(
                f"request_router_class must be a router's name, MODULE:NAME or a class, not {describe(given)}"
            )

    def is_default_request_router(self) -> bool:
        """Tell whether it is the router that there is without one."""
        return bool(self.request_router_class == DEFAULT_ROUTER)

    def get_request_router_class(self) -> Any:
        """Return the router's class. Raises ConfigError, PluginNotFound, PluginBroken."""
        from shoal.serve.routers.loading import router_class

        return router_class(self)

    def get_serialized_request_router_cls(self) -> bytes:
        """Return the router's class as bytes."""
        return bytes(cloudpickle.dumps(self.get_request_router_class()))

    def set_serialized_request_router_cls(self, serialized_request_router_cls: bytes) -> None:
        """Set the class that the bytes are. Unpickled, so only from whom you trust."""
        object.__setattr__(self, "request_router_class", cloudpickle.loads(serialized_request_router_cls))

    @classmethod
    def from_serialized_request_router_cls(
        cls, request_router_config: Mapping[str, Any], serialized_request_router_cls: bytes
    ) -> RequestRouterConfig:
        """Return a configuration with these fields and this class."""
        fields = {key: value for key, value in request_router_config.items() if key != "request_router_class"}
        return cls(request_router_class=cloudpickle.loads(serialized_request_router_cls), **fields)
