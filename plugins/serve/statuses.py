"""How services stand: what `status()` returns."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

import attrs


class ApplicationStatus(str, enum.Enum):
    """How an application stands."""

    NOT_STARTED = "NOT_STARTED"
    DEPLOYING = "DEPLOYING"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    RUNNING = "RUNNING"
    UNHEALTHY = "UNHEALTHY"
    DELETING = "DELETING"

    def to_numeric(self) -> int:
        """Return a number for it, for metrics: the order above, from 0."""
        return list(type(self)).index(self)


class DeploymentStatus(str, enum.Enum):
    """How a deployment stands."""

    UPDATING = "UPDATING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DEPLOY_FAILED = "DEPLOY_FAILED"
    UPSCALING = "UPSCALING"
    DOWNSCALING = "DOWNSCALING"


class ProxyStatus(str, enum.Enum):
    """How a proxy stands."""

    STARTING = "STARTING"
    HEALTHY = "HEALTHY"
    UNHEALTHY = "UNHEALTHY"
    DRAINING = "DRAINING"
    DRAINED = "DRAINED"

    def to_numeric(self) -> int:
        """Return a number for it, for metrics: the order above, from 1."""
        return list(type(self)).index(self) + 1


@attrs.frozen
class DeploymentStatusOverview:
    """One deployment: its status, what brought it about, how many replicas are in which state, and why."""

    status: DeploymentStatus
    status_trigger: str
    replica_states: Mapping[str, int]
    message: str


@attrs.frozen
class ApplicationStatusOverview:
    """One application: its status and why, when it was deployed last (seconds since 1970), its deployments."""

    status: ApplicationStatus
    message: str
    last_deployed_time_s: float
    deployments: Mapping[str, DeploymentStatusOverview]


@attrs.frozen
class ServeStatus:
    """Everything: proxies by node, applications by name."""

    proxies: Mapping[str, ProxyStatus] = attrs.field(factory=dict)
    applications: Mapping[str, ApplicationStatusOverview] = attrs.field(factory=dict)
    target_capacity: float | None = None


def status_of(told: Mapping[str, Any]) -> ServeStatus:
    """Return the status that a controller tells in plain values."""
    return ServeStatus(
        proxies={node: ProxyStatus(status) for node, status in told["proxies"].items()},
        applications={
            name: ApplicationStatusOverview(
                status=ApplicationStatus(app["status"]),
                message=app["message"],
                last_deployed_time_s=app["deployed_at"],
                deployments={
                    each: DeploymentStatusOverview(
                        status=DeploymentStatus(one["status"]),
                        status_trigger=one["trigger"],
                        replica_states=one["replica_states"],
                        message=one["message"],
                    )
                    for each, one in app["deployments"].items()
                },
            )
            for name, app in told["applications"].items()
        },
    )
