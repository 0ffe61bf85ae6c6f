"""Deployments: a class or function with how it is to be served, and applications, which are bound deployments."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypedDict

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks
from shoal.serve.companion_config import DeploymentActorConfig, companion_configs
from shoal.serve.config import AutoscalingConfig, BackpressureConfig, RequestRouterConfig
from shoal.serve.gang import GangSchedulingConfig, gang_config
from shoal.serve.logs import LoggingConfig, logging_config

if TYPE_CHECKING:
    from typing_extensions import Unpack

_ACTOR_OPTIONS = frozenset(
    {
        "num_cpus",
        "num_gpus",
        "memory",
        "resources",
        "accelerator_type",
        "runtime_env",
        "label_selector",
        "fallback_strategy",
    }
)


def _actor_options(value: Any) -> dict[str, Any]:
    given = checks.mapping(value or {}, "ray_actor_options")
    unknown = sorted(given.keys() - _ACTOR_OPTIONS)
    if unknown:
        raise ConfigError(
            f"ray_actor_options has {', '.join(unknown)}; a replica's options are {', '.join(sorted(_ACTOR_OPTIONS))}"
        )
    return given


def _autoscaling(value: Any) -> AutoscalingConfig | None:
    if value is None or isinstance(value, AutoscalingConfig):
        return value
    known = {field.name for field in attrs.fields(AutoscalingConfig)}
    given = checks.mapping(value, "autoscaling_config")
    if unknown := sorted(given.keys() - known):
        raise ConfigError(
            f"autoscaling_config has no {', '.join(unknown)}; it has {', '.join(sorted(known))}"
        )
    return AutoscalingConfig(**given)


def _backpressure(value: Any) -> BackpressureConfig:
    if value is None:
        return BackpressureConfig()
    return (
        value if isinstance(value, BackpressureConfig) else BackpressureConfig(**checks.mapping(value, "it"))
    )


def _router(value: Any) -> RequestRouterConfig:
    if value is None:
        return RequestRouterConfig()
    if isinstance(value, RequestRouterConfig):
        return value
    return RequestRouterConfig(**checks.mapping(value, "request_router_config"))


@attrs.frozen(kw_only=True)
class DeploymentOptions:
    """Everything that can be said about a deployment."""

    name: str = attrs.field(validator=checks.text())
    version: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    num_replicas: int = attrs.field(default=1, validator=checks.whole(0))
    ray_actor_options: Mapping[str, Any] = attrs.field(factory=dict, converter=_actor_options)
    placement_group_bundles: Sequence[Mapping[str, float]] | None = None
    placement_group_strategy: str = attrs.field(
        default="PACK", validator=checks.one_of("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
    )
    max_replicas_per_node: int | None = attrs.field(default=None, validator=checks.whole(1, optional=True))
    user_config: Any = None
    max_ongoing_requests: int = attrs.field(default=5, validator=checks.whole(1))
    max_queued_requests: int = attrs.field(default=-1, validator=checks.whole(0, also=(-1,)))
    backpressure_config: BackpressureConfig = attrs.field(default=None, converter=_backpressure)
    autoscaling_config: AutoscalingConfig | None = attrs.field(default=None, converter=_autoscaling)
    graceful_shutdown_wait_loop_s: float = attrs.field(default=2.0, validator=checks.number())
    graceful_shutdown_timeout_s: float = attrs.field(default=20.0, validator=checks.number())
    health_check_period_s: float = attrs.field(default=10.0, validator=checks.number(above=True))
    health_check_timeout_s: float = attrs.field(default=30.0, validator=checks.number(above=True))
    request_router_config: RequestRouterConfig = attrs.field(default=None, converter=_router)
    max_constructor_retry_count: int = attrs.field(default=20, validator=checks.whole(1))
    placement_group_bundle_label_selector: Sequence[Mapping[str, str]] | None = None
    logging_config: LoggingConfig | None = attrs.field(default=None, converter=logging_config)
    gang_scheduling_config: GangSchedulingConfig | None = attrs.field(default=None, converter=gang_config)
    deployment_actors: Sequence[DeploymentActorConfig] = attrs.field(default=(), converter=companion_configs)
    rolling_update_percentage: float = attrs.field(default=100, validator=checks.number(above=True, most=100))
    max_surge_percent: float = attrs.field(default=25, validator=checks.number(most=100))

    def __attrs_post_init__(self) -> None:
        selectors, bundles = self.placement_group_bundle_label_selector, self.placement_group_bundles
        if selectors is not None and (bundles is None or len(selectors) != len(bundles)):
            raise ConfigError(
                "placement_group_bundle_label_selector has one mapping for each of placement_group_bundles"
            )
        gang = self.gang_scheduling_config
        if gang is not None:
            if bundles is not None or self.max_replicas_per_node is not None:
                raise ConfigError(
                    "gang_scheduling_config makes placement groups itself: leave placement_group_bundles and "
                    "max_replicas_per_node out"
                )
            if self.autoscaling_config is None and self.num_replicas % gang.gang_size:
                raise ConfigError(
                    f"num_replicas ({self.num_replicas}) must be a multiple of gang_size ({gang.gang_size})"
                )
        if "#" in self.name or "/" in self.name:
            raise ConfigError(f"a deployment's name has no # and no slash: {self.name!r}")


# Changes of these alone reach replicas that run; any other makes new replicas.
LIGHT = frozenset(
    {
        "num_replicas",
        "user_config",
        "max_ongoing_requests",
        "max_queued_requests",
        "backpressure_config",
        "autoscaling_config",
        "graceful_shutdown_wait_loop_s",
        "graceful_shutdown_timeout_s",
        "health_check_period_s",
        "health_check_timeout_s",
        "request_router_config",
        "max_replicas_per_node",
        "max_constructor_retry_count",
        "rolling_update_percentage",
        "max_surge_percent",
    }
)

_UNSET: Any = type("Unset", (), {"__repr__": lambda self: "unset"})()


def make_options(base: DeploymentOptions | None, given: Mapping[str, Any]) -> DeploymentOptions:
    """Return options with changes. Raises ConfigError for what is unknown, wrong, or does not go together."""
    known = {field.name for field in attrs.fields(DeploymentOptions)}
    changes = {name: value for name, value in given.items() if value is not _UNSET}
    if unknown := sorted(changes.keys() - known):
        import difflib

        near = difflib.get_close_matches(unknown[0], known, 1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"a deployment has no option {unknown[0]!r}{hint} Options: {', '.join(sorted(known))}"
        )
    replicas = changes.get("num_replicas", _UNSET)
    scaling = changes.get("autoscaling_config")
    if replicas == "auto":
        del changes["num_replicas"]
        changes["autoscaling_config"] = scaling or AutoscalingConfig.default()
    elif replicas is None:
        del changes["num_replicas"]
    elif replicas is not _UNSET and scaling is not None:
        raise ConfigError(
            "num_replicas and autoscaling_config do not go together: give num_replicas='auto' with it, or neither"
        )
    elif replicas is not _UNSET and base is not None:
        changes["autoscaling_config"] = None
    if replicas == 0:
        raise ConfigError(
            "num_replicas must be 1 or more, or 'auto'; to serve nothing, delete the application"
        )
    return DeploymentOptions(**changes) if base is None else attrs.evolve(base, **changes)


class DeploymentChanges(TypedDict, total=False):
    """The options of `deployment`, for `Deployment.options`; see there."""

    name: str
    version: str | None
    num_replicas: int | Literal["auto"] | None
    ray_actor_options: Mapping[str, Any] | None
    placement_group_bundles: Sequence[Mapping[str, float]] | None
    placement_group_strategy: str
    placement_group_bundle_label_selector: Sequence[Mapping[str, str]] | None
    max_replicas_per_node: int | None
    user_config: Any
    max_ongoing_requests: int
    max_queued_requests: int
    backpressure_config: BackpressureConfig | Mapping[str, Any] | None
    autoscaling_config: AutoscalingConfig | Mapping[str, Any] | None
    graceful_shutdown_wait_loop_s: float
    graceful_shutdown_timeout_s: float
    health_check_period_s: float
    health_check_timeout_s: float
    logging_config: LoggingConfig | Mapping[str, Any] | None
    request_router_config: RequestRouterConfig | Mapping[str, Any] | None
    max_constructor_retry_count: int
    gang_scheduling_config: GangSchedulingConfig | Mapping[str, Any] | None
    deployment_actors: Sequence[DeploymentActorConfig | Mapping[str, Any]] | None
    rolling_update_percentage: float
    max_surge_percent: float


@attrs.frozen(eq=False)
class Application:
    """A deployment with the arguments of its constructor, among which may be other applications; see `run`.

    Example: `app = Model.bind(Preprocessor.bind()); serve.run(app)`
    """

    _bound_deployment: Deployment
    _args: tuple[Any, ...] = ()
    _kwargs: Mapping[str, Any] = attrs.field(factory=dict)

    def __repr__(self) -> str:
        return f"Application({self._bound_deployment.name})"


@attrs.frozen(eq=False)
class Deployment:
    """A class or function and how it is to be served. Made by `deployment`; `bind` makes an application of it."""

    _func_or_class: Callable[..., Any]
    _options: DeploymentOptions

    @property
    def name(self) -> str:
        """The deployment's name within its application."""
        return self._options.name

    @property
    def version(self) -> str | None:
        """The version that was given: as long as it stays the same, code that changed makes no new replicas."""
        return self._options.version

    @property
    def func_or_class(self) -> Callable[..., Any]:
        """What is served."""
        return self._func_or_class

    @property
    def num_replicas(self) -> int | None:
        """How many replicas there are to be; None if autoscaling decides."""
        return self._options.num_replicas if self._options.autoscaling_config is None else None

    @property
    def user_config(self) -> Any:
        """What `reconfigure` gets."""
        return self._options.user_config

    @property
    def max_ongoing_requests(self) -> int:
        """How many requests a replica works on at once."""
        return self._options.max_ongoing_requests

    @property
    def max_queued_requests(self) -> int:
        """How many requests may wait in each caller, −1 for any number."""
        return self._options.max_queued_requests

    @property
    def backpressure_config(self) -> BackpressureConfig:
        """What HTTP clients get when there is no room."""
        return self._options.backpressure_config

    @property
    def ray_actor_options(self) -> Mapping[str, Any]:
        """The resources and the environment of each replica."""
        return self._options.ray_actor_options

    @property
    def logging_config(self) -> LoggingConfig | None:
        """How replicas write their logs; None leaves it to `run` and `start`."""
        return self._options.logging_config

    def set_logging_config(self, logging_config: LoggingConfig | Mapping[str, Any] | None) -> None:
        """Change how replicas will write their logs, of this deployment as it is bound already, too.

        Raises ConfigError.
        """
        changed = make_options(self._options, {"logging_config": logging_config})
        object.__setattr__(self, "_options", changed)

    @property
    def init_args(self) -> tuple[Any, ...]:
        """The constructor's arguments: a deployment has none before `bind`."""
        return ()

    @property
    def init_kwargs(self) -> Mapping[str, Any]:
        """The constructor's named arguments: a deployment has none before `bind`."""
        return {}

    def options(
        self,
        func_or_class: Callable[..., Any] | None = None,
        **changes: Unpack[DeploymentChanges],
    ) -> Deployment:
        """Return the same deployment with other options. Raises ConfigError for one that is unknown or wrong.

        Example: `Model.options(num_replicas=2, user_config={"threshold": 0.5}).bind()`
        """
        return Deployment(func_or_class or self._func_or_class, make_options(self._options, changes))

    def bind(self, *args: Any, **kwargs: Any) -> Application:
        """Return an application: this deployment, whose constructor will get these arguments. Nothing runs yet.

        An application among the arguments, also inside of lists and mappings, arrives as a `DeploymentHandle`.
        Raises ConfigError for a function's arguments, TypeError for those that the constructor does not take.
        """
        if not inspect.isclass(self._func_or_class):
            if args or kwargs:
                raise ConfigError(
                    f"{self.name} serves a function, which has no constructor: bind() takes no arguments"
                )
        else:
            _check_arguments(self._func_or_class, args, kwargs)
        return Application(self, args, kwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            f"deployment {self.name} cannot be called: serve.run({self.name}.bind()) gives a handle that can"
        )

    def __repr__(self) -> str:
        return f"Deployment({self.name})"


def _check_arguments(cls: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    try:
        signature = inspect.signature(cls)
    except (TypeError, ValueError):
        return  # written in C, or otherwise without one
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{cls.__name__}{signature} does not take these arguments: {error}") from None


def deployment(
    _func_or_class: Callable[..., Any] | None = None,
    name: str = _UNSET,
    version: str | None = _UNSET,
    num_replicas: int | Literal["auto"] | None = _UNSET,
    ray_actor_options: Mapping[str, Any] | None = _UNSET,
    placement_group_bundles: Sequence[Mapping[str, float]] | None = _UNSET,
    placement_group_strategy: str = _UNSET,
    max_replicas_per_node: int | None = _UNSET,
    user_config: Any = _UNSET,
    max_ongoing_requests: int = _UNSET,
    max_queued_requests: int = _UNSET,
    backpressure_config: BackpressureConfig | Mapping[str, Any] | None = _UNSET,
    autoscaling_config: AutoscalingConfig | Mapping[str, Any] | None = _UNSET,
    graceful_shutdown_wait_loop_s: float = _UNSET,
    graceful_shutdown_timeout_s: float = _UNSET,
    health_check_period_s: float = _UNSET,
    health_check_timeout_s: float = _UNSET,
    request_router_config: RequestRouterConfig | Mapping[str, Any] | None = _UNSET,
    max_constructor_retry_count: int = _UNSET,
    placement_group_bundle_label_selector: Sequence[Mapping[str, str]] | None = _UNSET,
    logging_config: LoggingConfig | Mapping[str, Any] | None = _UNSET,
    gang_scheduling_config: GangSchedulingConfig | Mapping[str, Any] | None = _UNSET,
    deployment_actors: Sequence[DeploymentActorConfig | Mapping[str, Any]] | None = _UNSET,
    rolling_update_percentage: float = _UNSET,
    max_surge_percent: float = _UNSET,
) -> Any:
    """Make a deployment of a class or a function.

    Parameters: `name` is the class's unless given. `num_replicas` processes serve, "auto" lets autoscaling
    decide. `ray_actor_options` are the resources and environment of each (`num_cpus` is 1 unless given).
    `user_config` goes to `reconfigure(user_config)` of each replica and can be changed without new processes. A
    replica works on `max_ongoing_requests` at once; `max_queued_requests` wait in each caller, more raise
    BackPressureError (−1: any number). A replica that ends gets `graceful_shutdown_timeout_s` for what it has.
    `check_health()` is called each `health_check_period_s`. After `max_constructor_retry_count` failed
    constructors a deployment has failed. An update makes at most `max_surge_percent` (25) of the replicas beside
    the old ones (0: an old one ends first) and starts at most `rolling_update_percentage` (100) at a time.
    `gang_scheduling_config` places replicas together, `deployment_actors` are shared by all of them,
    `logging_config` is how they write their logs.

    Raises ConfigError for an option that is unknown or wrong.

    Example: `@serve.deployment(num_replicas=2)` above a class with `async def __call__(self, request)`.
    """
    given = {
        key: value
        for key, value in locals().items()
        if key not in ("_func_or_class", "name") and value is not _UNSET
    }

    def decorate(target: Callable[..., Any]) -> Deployment:
        if isinstance(target, Deployment):
            raise TypeError(f"{target} is a deployment already; use .options(...) to change it")
        if not callable(target):
            raise TypeError(f"@deployment is for a class or a function, not {describe(target)}")
        chosen = getattr(target, "__name__", "deployment") if name is _UNSET else name
        return Deployment(target, make_options(None, {"name": chosen, **given}))

    return decorate if _func_or_class is None else decorate(_func_or_class)
