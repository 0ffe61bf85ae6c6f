"""What the controller, the callers and the replicas tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from shoal.serve.canaries import Canary
from shoal.serve.config import BackpressureConfig, HTTPOptions, RequestRouterConfig, gRPCOptions
from shoal.serve.deployment import DeploymentOptions
from shoal.serve.gang import GangContext
from shoal.serve.logs import LoggingConfig
from shoal.serve.tracing import TracingConfig

NAMESPACE = "serve"
CONTROLLER = "SERVE_CONTROLLER"
ROUTES = "routes"  # the key under which proxies learn the routes


def key_of(app: str, deployment: str) -> str:
    """Return the key under which callers learn of a deployment."""
    return f"{app}#{deployment}"


@attrs.frozen(kw_only=True)
class DeploymentSpec:
    """One deployment of an application as it is to run. `code` is what cloudpickle made of target and arguments."""

    options: DeploymentOptions
    code: bytes = attrs.field(repr=False)
    version: str  # of all that needs new processes when it changes
    kind: str = "class"  # "class", "function" or "asgi": a class with an ASGI application for HTTP
    docs_path: str | None = None
    calls: tuple[str, ...] = ()  # deployments of the same application that it has handles of


@attrs.frozen(kw_only=True)
class ApplicationSpec:
    """An application as it is to run. `config` is what a config file said of it."""

    name: str
    route_prefix: str | None
    ingress: str
    deployments: Mapping[str, DeploymentSpec]
    config: Mapping[str, Any] | None = None
    external_scaler: bool = False  # numbers of replicas come from outside
    policy: Any = None  # decides for all its deployments together
    canary: Canary | None = None


@attrs.frozen(kw_only=True)
class ReplicaSetup:
    """What a replica gets beside its deployment, when it starts. `http` is for those that HTTP requests go to first."""

    logging: LoggingConfig | None = None
    tracing: TracingConfig | None = None
    rank: int = 0
    seat: GangContext | None = None
    http: HTTPOptions | None = None


@attrs.frozen(kw_only=True)
class ProxySetup:
    """How a proxy serves."""

    http: HTTPOptions
    grpc: gRPCOptions
    logging: LoggingConfig | None = None
    tracing: TracingConfig | None = None


@attrs.frozen(kw_only=True, eq=False)
class ReplicaSeen:
    """A replica as callers learn of it."""

    replica_id: str
    actor: Any
    node_id: str
    max_ongoing: int
    stats: Mapping[str, Any] = attrs.field(factory=dict)  # of its record_routing_stats()


@attrs.frozen(kw_only=True, eq=False)
class DeploymentSeen:
    """A deployment as callers learn of it. `gone` says why there is none."""

    replicas: tuple[ReplicaSeen, ...] = ()
    max_queued: int = -1
    backpressure: BackpressureConfig = attrs.field(factory=BackpressureConfig)
    router: RequestRouterConfig = attrs.field(factory=RequestRouterConfig)
    gone: str = ""


@attrs.frozen(kw_only=True)
class RouteSeen:
    """Where requests with a certain beginning go."""

    prefix: str
    app: str
    deployment: str
    asgi: bool = False
    docs_path: str | None = None
    canary: Canary | None = None
    canary_deployment: str = ""


@attrs.frozen(kw_only=True)
class Head:
    """How the answer to an HTTP request begins; what a replica gives back for `http`.

    `body` is all of it unless `stream` names what more can be pulled.
    """

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes = b""
    stream: int | None = None
