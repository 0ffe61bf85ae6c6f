"""How deployments, proxies and autoscaling are set up: plain values, checked when they are made."""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import attrs

from shoal.errors import ConfigError, describe
from shoal.serve import checks
from shoal.serve.companion_config import DeploymentActorConfig
from shoal.serve.gang import GangPlacementStrategy, GangRuntimeFailurePolicy, GangSchedulingConfig
from shoal.serve.grpc_options import gRPCOptions
from shoal.serve.policies import AutoscalingPolicy, RequestRouterConfig, policy_of

__all__ = [
    "AggregationFunction",
    "AutoscalingConfig",
    "AutoscalingContext",
    "AutoscalingPolicy",
    "BackpressureConfig",
    "ControllerOptions",
    "DeploymentActorConfig",
    "GangPlacementStrategy",
    "GangRuntimeFailurePolicy",
    "GangSchedulingConfig",
    "HTTPOptions",
    "ProxyLocation",
    "RequestRouterConfig",
    "gRPCOptions",
]

DEFAULT_HTTP_HOST = "127.0.0.1"
DEFAULT_HTTP_PORT = 8000


class ProxyLocation(str, enum.Enum):
    """Where proxies run: on every node, on the head's node only, or nowhere (handles only)."""

    Disabled = "Disabled"
    HeadOnly = "HeadOnly"
    EveryNode = "EveryNode"


class AggregationFunction(str, enum.Enum):
    """How an autoscaler makes one number of what it saw within the look-back period."""

    MEAN = "mean"
    MAX = "max"
    MIN = "min"


def _location(value: Any) -> ProxyLocation:
    if isinstance(value, ProxyLocation):
        return value
    if value is None:
        return ProxyLocation.Disabled
    for each in ProxyLocation:
        if value in (each.value, each.name):
            return each
    names = ", ".join(repr(each.value) for each in ProxyLocation)
    raise ConfigError(f"proxy_location must be one of {names}, not {describe(value)}")


@attrs.frozen(kw_only=True)
class HTTPOptions:
    """How proxies serve HTTP. Bounds: 0 or None is no bound only where it says so.

    `host` and `port`: where to listen (port 0: any free one, see `status`). `location`: on which nodes.
    `root_path`: what a reverse proxy in front cuts off. `request_timeout_s`: after that long a request is
    answered with 408 (None: never). `keep_alive_timeout_s`: idle connections are closed after it. `ssl_*`:
    files for TLS; with `ssl_ca_certs` clients must show a certificate of that authority. `middlewares`:
    callables from an ASGI application to one, or Starlette's `Middleware`, that run in the proxy. `num_cpus` of
    a proxy. `max_body_bytes`: larger bodies get 413. `max_header_bytes`: larger heads get 431.
    `header_timeout_s`: a connection that has not sent a whole head by then, or nothing of a body for so long,
    gets 408 and is closed. `max_connections` of one
    proxy: more are answered 503. `access_log`: one line for each request. `ingress`: the plugin of the group
    `shoal.serve.ingresses` that brings requests to replicas: "proxy" passes them on, with "direct" replicas
    accept connections themselves. `http2`: proxies speak HTTP/2 as well, over TLS and without; then a connection
    that has not sent a whole head is closed after `keep_alive_timeout_s`, and `max_connections` counts requests.
    """

    host: str = attrs.field(default=DEFAULT_HTTP_HOST, validator=checks.text())
    port: int = attrs.field(default=DEFAULT_HTTP_PORT, validator=checks.whole(0))
    middlewares: tuple[Any, ...] = attrs.field(default=(), converter=tuple)
    location: ProxyLocation = attrs.field(default=ProxyLocation.HeadOnly, converter=_location)
    num_cpus: float = attrs.field(default=0, validator=checks.number())
    root_url: str = attrs.field(default="", validator=checks.text(empty=True))
    root_path: str = attrs.field(default="", validator=checks.text(empty=True))
    request_timeout_s: float | None = attrs.field(
        default=None, validator=checks.number(above=True, optional=True)
    )
    keep_alive_timeout_s: float = attrs.field(default=60, validator=checks.number(above=True))
    ssl_keyfile: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    ssl_certfile: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    ssl_keyfile_password: str | None = attrs.field(
        default=None, validator=checks.text(optional=True), repr=False
    )
    ssl_ca_certs: str | None = attrs.field(default=None, validator=checks.text(optional=True))
    max_body_bytes: int = attrs.field(default=64 << 20, validator=checks.whole(1))
    max_header_bytes: int = attrs.field(default=64 << 10, validator=checks.whole(256))
    header_timeout_s: float = attrs.field(default=20, validator=checks.number(above=True))
    max_connections: int = attrs.field(default=20_000, validator=checks.whole(1))
    access_log: bool = attrs.field(default=True, validator=checks.flag)
    ingress: str = attrs.field(default="proxy", validator=checks.text())
    http2: bool = attrs.field(default=False, validator=checks.flag)

    def __attrs_post_init__(self) -> None:
        if self.port > 65535:
            raise ConfigError(f"port must be at most 65535, not {self.port}")
        if (self.ssl_certfile is None) != (self.ssl_keyfile is None):
            raise ConfigError("ssl_certfile and ssl_keyfile go together: give both or neither")
        if self.root_path and not self.root_path.startswith("/"):
            raise ConfigError(f"root_path must begin with a slash, not {self.root_path!r}")


@attrs.frozen(kw_only=True)
class BackpressureConfig:
    """What an HTTP client gets when a deployment has no room: the status, and what Retry-After says (None:
    nothing).
    """

    status_code: int = attrs.field(default=503, validator=checks.one_of(429, 503))
    retry_after_s: float | None = attrs.field(default=1.0, validator=checks.number(optional=True))


@attrs.frozen(kw_only=True)
class ControllerOptions:
    """How the controller runs: the environment of its process, for policies that need packages."""

    runtime_env: Mapping[str, Any] | None = None


@attrs.frozen(kw_only=True)
class AutoscalingConfig:
    """How many replicas a deployment has, by how much it has to do. Times are in seconds.

    The number aimed at is (requests that run or wait) / `target_ongoing_requests`, smoothed by the factors:
    with an `upscaling_factor` of 0.5 half of the way up is gone at a time. A change is made when it was wanted
    for as long as the delay says; `downscale_to_zero_delay_s` is for the last replica (None: as for the
    others). What is counted comes every `metrics_interval_s` and is aggregated over `look_back_period_s`. A
    `policy` is a function from an `AutoscalingContext` to a number of replicas, or to that and a mapping that
    it gets back the next time.
    """

    min_replicas: int = attrs.field(default=1, validator=checks.whole(0))
    initial_replicas: int | None = attrs.field(default=None, validator=checks.whole(0, optional=True))
    max_replicas: int = attrs.field(default=100, validator=checks.whole(1))
    target_ongoing_requests: float = attrs.field(default=2, validator=checks.number(above=True))
    metrics_interval_s: float = attrs.field(default=1.0, validator=checks.number(above=True))
    look_back_period_s: float = attrs.field(default=10.0, validator=checks.number(above=True))
    smoothing_factor: float = attrs.field(default=1.0, validator=checks.number(above=True))
    upscale_smoothing_factor: float | None = attrs.field(
        default=None, validator=checks.number(above=True, optional=True)
    )
    downscale_smoothing_factor: float | None = attrs.field(
        default=None, validator=checks.number(above=True, optional=True)
    )
    upscaling_factor: float | None = attrs.field(
        default=None, validator=checks.number(above=True, optional=True)
    )
    downscaling_factor: float | None = attrs.field(
        default=None, validator=checks.number(above=True, optional=True)
    )
    downscale_delay_s: float = attrs.field(default=30.0, validator=checks.number())
    downscale_to_zero_delay_s: float | None = attrs.field(
        default=None, validator=checks.number(optional=True)
    )
    upscale_delay_s: float = attrs.field(default=3.0, validator=checks.number())
    aggregation_function: AggregationFunction = attrs.field(
        default=AggregationFunction.MEAN, converter=AggregationFunction
    )
    policy: Callable[..., Any] | AutoscalingPolicy | None = attrs.field(default=None, converter=policy_of)

    def __attrs_post_init__(self) -> None:
        if self.min_replicas > self.max_replicas:
            raise ConfigError(
                f"min_replicas ({self.min_replicas}) is more than max_replicas ({self.max_replicas})"
            )
        first = self.initial_replicas
        if first is not None and not self.min_replicas <= first <= self.max_replicas:
            raise ConfigError(
                f"initial_replicas ({first}) must be from min_replicas ({self.min_replicas}) to max_replicas "
                f"({self.max_replicas})"
            )
        if (
            self.policy is not None
            and not callable(self.policy)
            and not isinstance(self.policy, AutoscalingPolicy)
        ):
            raise ConfigError(
                f"policy must be a function from a context to a number, not {describe(self.policy)}"
            )

    def get_upscaling_factor(self) -> float:
        """Return how much of the way up is gone at a time."""
        return self.upscaling_factor or self.upscale_smoothing_factor or self.smoothing_factor

    def get_downscaling_factor(self) -> float:
        """Return how much of the way down is gone at a time."""
        return self.downscaling_factor or self.downscale_smoothing_factor or self.smoothing_factor

    def get_policy(self) -> Callable[..., Any] | None:
        """Return what is called with an `AutoscalingContext`, None for what there is without one."""
        return self.policy.get_policy() if isinstance(self.policy, AutoscalingPolicy) else self.policy

    def get_target_ongoing_requests(self) -> float:
        """Return how many requests one replica is to have."""
        return self.target_ongoing_requests

    @classmethod
    def default(cls) -> AutoscalingConfig:
        """Return what `num_replicas="auto"` means."""
        return cls(min_replicas=1, max_replicas=100, target_ongoing_requests=2)


@attrs.frozen(kw_only=True)
class AutoscalingContext:
    """What a policy knows. Times are in seconds, of a clock that does not go back.

    `total_num_requests` are those that run or wait, aggregated over the look-back period;
    `total_queued_requests` wait in callers now, `total_running_requests` are at replicas now. `policy_state` is
    what the policy gave back before.
    """

    deployment_name: str
    app_name: str
    config: AutoscalingConfig
    current_num_replicas: int
    target_num_replicas: int
    total_num_requests: float
    total_queued_requests: float
    total_running_requests: float
    capacity_adjusted_min_replicas: int
    capacity_adjusted_max_replicas: int
    current_time: float
    last_scale_up_time: float | None = None
    last_scale_down_time: float | None = None
    policy_state: Mapping[str, Any] = attrs.field(factory=dict)
    raw_metrics: Mapping[str, Any] = attrs.field(factory=dict)

    @property
    def aggregated_metrics(self) -> Mapping[str, Mapping[str, float]]:
        """What replicas' `record_autoscaling_stats()` returned, by name and replica: the mean over the look-back
        period.
        """
        found: dict[str, dict[str, float]] = {}
        for replica, numbers in dict(self.raw_metrics.get("recorded", {})).items():
            for name, value in dict(numbers).items():
                found.setdefault(name, {})[replica] = value
        return found
