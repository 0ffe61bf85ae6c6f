"""The config file of services as a schema, and how services stand; in the reference system's words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from shoal.errors import ConfigError
from shoal.serve import checks
from shoal.serve.context import ReplicaRank
from shoal.serve.logs import EncodingType, LoggingConfig
from shoal.serve.statuses import (
    ApplicationStatus,
    ApplicationStatusOverview,
    DeploymentStatus,
    DeploymentStatusOverview,
    ProxyStatus,
    ServeStatus,
)

__all__ = [
    "ApplicationStatus",
    "ApplicationStatusOverview",
    "DeploymentSchema",
    "DeploymentStatus",
    "DeploymentStatusOverview",
    "EncodingType",
    "HTTPOptionsSchema",
    "LoggingConfig",
    "ProxyStatus",
    "RayActorOptionsSchema",
    "ReplicaRank",
    "ServeApplicationSchema",
    "ServeDeploySchema",
    "ServeStatus",
    "gRPCOptionsSchema",
    "read_config",
]


class _Strict(BaseModel):
    """What is not in the schema is an error: a misspelt option must not be silent."""

    model_config = ConfigDict(extra="forbid")


class RayActorOptionsSchema(_Strict):
    """The resources and the environment of each replica."""

    runtime_env: dict[str, Any] = Field(default_factory=dict)
    num_cpus: float | None = Field(default=None, ge=0)
    num_gpus: float | None = Field(default=None, ge=0)
    memory: float | None = Field(default=None, ge=0)
    resources: dict[str, float] = Field(default_factory=dict)
    accelerator_type: str | None = None
    label_selector: dict[str, str] | None = None
    fallback_strategy: list[dict[str, Any]] | None = None


class DeploymentSchema(_Strict):
    """What a config file changes of one deployment; what it leaves out stays as the code says."""

    name: str
    num_replicas: int | str | None = None
    max_ongoing_requests: int | None = None
    max_queued_requests: int | None = None
    backpressure_config: dict[str, Any] | None = None
    user_config: Any = None
    autoscaling_config: dict[str, Any] | None = None
    graceful_shutdown_wait_loop_s: float | None = None
    graceful_shutdown_timeout_s: float | None = None
    health_check_period_s: float | None = None
    health_check_timeout_s: float | None = None
    ray_actor_options: RayActorOptionsSchema | None = None
    placement_group_bundles: list[dict[str, float]] | None = None
    placement_group_strategy: str | None = None
    max_replicas_per_node: int | None = None
    request_router_config: dict[str, Any] | None = None
    placement_group_bundle_label_selector: list[dict[str, str]] | None = None
    logging_config: dict[str, Any] | None = None
    gang_scheduling_config: dict[str, Any] | None = None
    deployment_actors: list[dict[str, Any]] | None = None
    rolling_update_percentage: float | None = None
    max_surge_percent: float | None = None

    def is_autoscaling_configured(self) -> bool:
        """Tell whether the number of replicas follows the load."""
        return self.num_replicas == "auto" or self.autoscaling_config is not None

    def changes(self) -> dict[str, Any]:
        """Return the options that the file gives."""
        given = self.model_dump(exclude_unset=True)
        given.pop("name")
        return given


class ServeApplicationSchema(_Strict):
    """One application: where its code is, its route, and what is changed of its deployments.

    `import_path` is MODULE:NAME of a bound application, or of a function that makes one of `args`.
    """

    name: str = "default"
    route_prefix: str | None = "/"
    import_path: str
    runtime_env: dict[str, Any] = Field(default_factory=dict)
    deployments: list[DeploymentSchema] = Field(default_factory=list)
    args: dict[str, Any] = Field(default_factory=dict)
    autoscaling_policy: dict[str, Any] | None = None
    logging_config: dict[str, Any] | None = None
    external_scaler_enabled: bool = False
    canary: dict[str, Any] | None = None

    @field_validator("route_prefix")
    @classmethod
    def _route(cls, value: str | None) -> str | None:
        return checks.route_prefix(value)

    @field_validator("import_path")
    @classmethod
    def _path(cls, value: str) -> str:
        if ":" not in value and "." not in value:
            raise ValueError(f"import_path is MODULE:NAME, such as 'site.app:app', not {value!r}")
        return value

    @property
    def deployment_names(self) -> list[str]:
        """The deployments that the file changes."""
        return [each.name for each in self.deployments]

    @classmethod
    def get_empty_schema_dict(cls) -> dict[str, Any]:
        """Return what a file without anything would say."""
        return {"import_path": "", "runtime_env": {}, "deployments": [], "args": {}}


class HTTPOptionsSchema(_Strict):
    """How proxies serve HTTP."""

    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    root_path: str = ""
    request_timeout_s: float | None = None
    keep_alive_timeout_s: float = 60
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_keyfile_password: str | None = None
    ssl_ca_certs: str | None = None


class gRPCOptionsSchema(_Strict):  # noqa: N801  (the reference's name)
    """How proxies serve gRPC; see `gRPCOptions`."""

    port: int = Field(default=9000, ge=0, le=65535)
    grpc_servicer_functions: list[str] = Field(default_factory=list)
    request_timeout_s: float | None = None
    enable_reflection: bool = False
    host: str = "127.0.0.1"
    ssl_keyfile: str | None = None
    ssl_certfile: str | None = None
    ssl_ca_certs: str | None = None
    max_message_bytes: int = Field(default=64 << 20, ge=1)
    max_concurrent_rpcs: int = Field(default=10_000, ge=1)


class ServeDeploySchema(_Strict):
    """A whole config file: proxies, and all applications. Those that it does not name are deleted."""

    proxy_location: str = "EveryNode"
    http_options: HTTPOptionsSchema | None = None
    grpc_options: gRPCOptionsSchema | None = None
    controller_options: dict[str, Any] | None = None
    logging_config: dict[str, Any] | None = None
    tracing_config: dict[str, Any] | None = None
    applications: list[ServeApplicationSchema]

    @model_validator(mode="after")
    def _no_doubles(self) -> ServeDeploySchema:
        names = [each.name for each in self.applications]
        routes = [each.route_prefix for each in self.applications if each.route_prefix is not None]
        for what, values in (("name", names), ("route_prefix", routes)):
            doubles = sorted({each for each in values if values.count(each) > 1})
            if doubles:
                raise ValueError(f"two applications have the {what} {doubles[0]!r}")
        return self

    @classmethod
    def get_empty_schema_dict(cls) -> dict[str, Any]:
        """Return what a file without applications would say."""
        return {"applications": []}


def read_config(given: Any) -> ServeDeploySchema:
    """Return a config as the schema has it: of a mapping, or of what a YAML file has.

    Raises ConfigError that names each place that is wrong.

    Example: `read_config({"applications": [{"import_path": "site.app:app"}]})`
    """
    from pydantic import ValidationError

    if not isinstance(given, Mapping):
        raise ConfigError("a config of services is a mapping with the key applications")
    try:
        return ServeDeploySchema.model_validate(dict(given))
    except ValidationError as error:
        places = [
            f"{'.'.join(map(str, each['loc'])) or 'the config'}: {each['msg']}" for each in error.errors()
        ]
        raise ConfigError("the config of services is wrong:\n  " + "\n  ".join(places)) from None
