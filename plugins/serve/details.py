"""All that is known of services as a schema; in the reference system's words."""

from __future__ import annotations

import enum
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from shoal.serve.statuses import ApplicationStatus, DeploymentStatus, ProxyStatus


class APIType(str, enum.Enum):
    """How an application was deployed: by a config file, or by a program."""

    UNKNOWN = "unknown"
    IMPERATIVE = "imperative"
    DECLARATIVE = "declarative"

    @classmethod
    def get_valid_user_values(cls) -> list[str]:
        """Return the values that may be asked for."""
        return [cls.IMPERATIVE.value, cls.DECLARATIVE.value]


class AutoscalingStatus(str, enum.Enum):
    """Where the number of replicas goes."""

    UPSCALING = "UPSCALING"
    DOWNSCALING = "DOWNSCALING"
    STABLE = "STABLE"


class AutoscalingMetricsHealth(str, enum.Enum):
    """How new the numbers are that autoscaling decides by."""

    HEALTHY = "healthy"
    DELAYED = "delayed"
    UNAVAILABLE = "unavailable"


class DurationStats(BaseModel):
    """Durations in seconds: their mean, spread, least and greatest."""

    mean: float = 0.0
    std: float = 0.0
    min: float = 0.0
    max: float = 0.0

    @classmethod
    def from_values(cls, values: Sequence[float]) -> DurationStats:
        """Return what durations come to; of none all is 0."""
        if not values:
            return cls()
        return cls(
            mean=statistics.fmean(values), std=statistics.pstdev(values), min=min(values), max=max(values)
        )


class ScalingDecision(BaseModel):
    """A change of the number of replicas: when (seconds since 1970), from what to what, and why."""

    timestamp_s: float
    reason: str
    prev_num_replicas: int
    curr_num_replicas: int
    policy: str | None = None


class DeploymentAutoscalingDetail(BaseModel):
    """What autoscaling does with a deployment: the last decisions, what it sees, and errors of its policy."""

    scaling_status: AutoscalingStatus
    decisions: list[ScalingDecision] = Field(default_factory=list)
    metrics: dict[str, Any] | None = None
    metrics_health: AutoscalingMetricsHealth = AutoscalingMetricsHealth.UNAVAILABLE
    errors: list[str] = Field(default_factory=list)


class ScaleDeploymentRequest(BaseModel):
    """What scaling from outside asks for."""

    target_num_replicas: int = Field(ge=0)


class ServeActorDetails(BaseModel):
    """Where an actor of ours is."""

    node_id: str | None = None
    node_ip: str | None = None
    node_instance_id: str | None = None
    actor_id: str | None = None
    actor_name: str | None = None
    worker_id: str | None = None
    log_file_path: str | None = None


class ReplicaDetails(ServeActorDetails):
    """A replica: where it is, how it stands, its process, and since when (seconds since 1970)."""

    replica_id: str
    state: str
    pid: int | None = None
    start_time_s: float


class ProxyDetails(ServeActorDetails):
    """A proxy: where it is, how it stands, and where it listens (`grpc_port` is 0 without gRPC)."""

    status: ProxyStatus
    host: str = ""
    port: int = 0
    grpc_port: int = 0
    pid: int = 0
    message: str = ""


class DeploymentDetails(BaseModel):
    """A deployment: how it stands and why, its settings, and its replicas."""

    name: str
    status: DeploymentStatus
    status_trigger: str
    message: str
    deployment_config: dict[str, Any]
    target_num_replicas: int
    required_resources: dict[str, float]
    replicas: list[ReplicaDetails] = Field(default_factory=list)
    recent_dead_replicas: list[ReplicaDetails] = Field(default_factory=list)
    autoscaling_detail: DeploymentAutoscalingDetail | None = None


class DeploymentNode(BaseModel):
    """A deployment among those of an application, and which others it has handles of."""

    name: str
    app_name: str
    outbound_deployments: list[dict[str, str]] = Field(default_factory=list)
    is_ingress: bool = False


class DeploymentTopology(BaseModel):
    """Which deployments of an application call which."""

    app_name: str
    nodes: dict[str, DeploymentNode]
    ingress_deployment: str | None = None


class ApplicationDetails(BaseModel):
    """An application: its route, how it stands and why, its deployments."""

    name: str
    route_prefix: str | None
    docs_path: str | None
    status: ApplicationStatus
    message: str
    last_deployed_time_s: float
    deployed_app_config: dict[str, Any] | None
    source: APIType
    deployments: dict[str, DeploymentDetails]
    external_scaler_enabled: bool = False
    deployment_topology: DeploymentTopology | None = None
    canary: dict[str, Any] | None = None


class Target(BaseModel):
    """Where requests can be sent."""

    ip: str
    port: int
    instance_id: str = ""
    name: str = ""


class TargetGroup(BaseModel):
    """Where requests of a route can be sent: for balancers of load outside."""

    targets: list[Target] = Field(default_factory=list)
    route_prefix: str
    protocol: str = "HTTP"
    app_name: str = ""
    ingress_request_router_targets: list[Target] = Field(default_factory=list)
    ingress_deployment_name: str = ""


class ControllerHealthMetrics(BaseModel):
    """How the controller does: since when it runs, and how many tasks and rounds it has."""

    timestamp: float
    controller_start_time: float
    uptime_s: float
    num_control_loops: int = 0
    num_asyncio_tasks: int = 0


class ServeInstanceDetails(BaseModel):
    """All that is known: the controller, proxies by node, applications by name, and the config deployed last."""

    controller_info: ServeActorDetails = Field(default_factory=ServeActorDetails)
    proxy_location: str | None = None
    http_options: dict[str, Any] | None = None
    grpc_options: dict[str, Any] | None = None
    proxies: dict[str, ProxyDetails] = Field(default_factory=dict)
    applications: dict[str, ApplicationDetails] = Field(default_factory=dict)
    target_capacity: float | None = None
    target_groups: list[TargetGroup] = Field(default_factory=list)
    controller_health_metrics: ControllerHealthMetrics | None = None
    config: dict[str, Any] | None = None

    @staticmethod
    def get_empty_schema_dict() -> dict[str, Any]:
        """Return what is told where nothing is served."""
        return ServeInstanceDetails().model_dump(mode="json")


def instance_details(told: Mapping[str, Any], addresses: Mapping[str, str]) -> ServeInstanceDetails:
    """Return what a controller told as a schema; `addresses` are the nodes', by their identifiers.

    Example: `instance_details(told, {}).applications["default"].status`
    """
    proxies = {
        node: ProxyDetails(
            **{name: each[name] for name in ("status", "host", "port", "grpc_port", "pid", "message")},
            node_id=node,
            node_ip=addresses.get(node),
            actor_id=each["actor_id"] or None,
        )
        for node, each in told["proxies"].items()
    }
    return ServeInstanceDetails(
        proxies=proxies,
        applications={name: _application(app, addresses) for name, app in told["applications"].items()},
        target_groups=_groups(told, proxies),
        config=told["config"],
        **told.get("instance", {}),
    )


def _application(app: Mapping[str, Any], addresses: Mapping[str, str]) -> ApplicationDetails:
    name = app["name"]
    nodes = {
        each: DeploymentNode(
            name=each,
            app_name=name,
            outbound_deployments=[{"name": other, "app_name": name} for other in one["calls"]],
            is_ingress=each == app["ingress"],
        )
        for each, one in app["deployments"].items()
    }
    return ApplicationDetails(
        name=name,
        route_prefix=app["route_prefix"],
        docs_path=app["docs_path"],
        status=ApplicationStatus(app["status"]),
        message=app["message"],
        last_deployed_time_s=app["deployed_at"],
        deployed_app_config=app["config"],
        source=APIType.IMPERATIVE if app["config"] is None else APIType.DECLARATIVE,
        deployments={
            each: _deployment(one, app["external_scaler"], addresses)
            for each, one in app["deployments"].items()
        },
        external_scaler_enabled=app["external_scaler"],
        deployment_topology=DeploymentTopology(app_name=name, nodes=nodes, ingress_deployment=app["ingress"]),
        canary=app["canary"],
    )


def _deployment(one: Mapping[str, Any], external: bool, addresses: Mapping[str, str]) -> DeploymentDetails:
    options = one["options"]
    resources = {
        name: float(options["ray_actor_options"].get(key) or 0)
        for name, key in (("CPU", "num_cpus"), ("GPU", "num_gpus"), ("memory", "memory"))
        if options["ray_actor_options"].get(key)
    }
    return DeploymentDetails(
        name=one["name"],
        status=DeploymentStatus(one["status"]),
        status_trigger=one["trigger"],
        message=one["message"],
        deployment_config=options,
        target_num_replicas=one["wanted"],
        required_resources={**resources, **options["ray_actor_options"].get("resources", {})},
        replicas=[
            ReplicaDetails(
                node_id=each["node_id"],
                node_ip=addresses.get(each["node_id"]),
                actor_id=each["actor_id"],
                replica_id=each["replica_id"],
                state=one["states"].get(each["replica_id"], "STOPPING"),
                pid=each["pid"] or None,
                start_time_s=each["started_at"] + time.time() - time.monotonic(),
            )
            for each in one.get("replicas", ())
        ],
        autoscaling_detail=_autoscaling(one, options, external),
    )


def _autoscaling(
    one: Mapping[str, Any], options: Mapping[str, Any], external: bool
) -> DeploymentAutoscalingDetail | None:
    told = one.get("autoscaling")
    if told is None or external:
        return None
    offset = time.time() - time.monotonic()
    running = one["replica_states"].get("RUNNING", 0)
    status = AutoscalingStatus.STABLE
    if running != one["wanted"]:
        status = AutoscalingStatus.UPSCALING if running < one["wanted"] else AutoscalingStatus.DOWNSCALING
    age = told["age_s"]
    period = float((options.get("autoscaling_config") or {}).get("metrics_interval_s") or 10.0)
    health = AutoscalingMetricsHealth.UNAVAILABLE
    if age is not None:
        health = AutoscalingMetricsHealth.HEALTHY if age < 3 * period else AutoscalingMetricsHealth.DELAYED
    return DeploymentAutoscalingDetail(
        scaling_status=status,
        decisions=[
            ScalingDecision(
                timestamp_s=each["time"] + offset,
                reason=each["why"],
                prev_num_replicas=each["from"],
                curr_num_replicas=each["to"],
            )
            for each in told["decisions"]
        ],
        metrics={"waiting": told["waiting"]},
        metrics_health=health,
        errors=[told["error"]] if told["error"] else [],
    )


def _groups(told: Mapping[str, Any], proxies: Mapping[str, ProxyDetails]) -> list[TargetGroup]:
    """Where requests can be sent, for each route and protocol."""
    healthy = [each for each in proxies.values() if each.status == ProxyStatus.HEALTHY]
    groups = []
    for name, app in told["applications"].items():
        if app["route_prefix"] is None:
            continue
        for protocol, ports in (
            ("HTTP", [(each, each.port) for each in healthy]),
            ("gRPC", [(each, each.grpc_port) for each in healthy if each.grpc_port]),
        ):
            if ports:
                groups.append(
                    TargetGroup(
                        targets=[
                            Target(ip=each.host, port=port, name=str(each.node_id)) for each, port in ports
                        ],
                        route_prefix=app["route_prefix"],
                        protocol=protocol,
                        app_name=name,
                        ingress_deployment_name=app["ingress"],
                    )
                )
    return groups
