"""What happens to deployments, and what the controller is to do about it. Plain values."""

from __future__ import annotations

from typing import Any

import attrs

from shoal.serve.canaries import Canary
from shoal.serve.gang import GangContext
from shoal.serve.messages import ApplicationSpec


@attrs.frozen
class Deploy:
    """Somebody wants applications to run as these say."""

    apps: tuple[ApplicationSpec, ...]


@attrs.frozen
class Delete:
    """Somebody wants an application to end."""

    app: str


@attrs.frozen
class Tick:
    """Time has passed."""


@attrs.frozen
class Placed:
    """A replica has a process: there was room."""

    replica: str


@attrs.frozen
class Started:
    """A replica's constructor has returned."""

    replica: str


@attrs.frozen
class Failed:
    """A replica's constructor, its `reconfigure` or its start raised. `fatal`: another try would do the same."""

    replica: str
    why: str
    fatal: bool = False


@attrs.frozen
class Died:
    """A replica's process has gone, or does not answer any more."""

    replica: str
    why: str


@attrs.frozen
class Stopped:
    """A replica that was to end has ended."""

    replica: str


@attrs.frozen
class Scale:
    """A deployment is to have this many replicas: autoscaling, or a person, says so."""

    app: str
    deployment: str
    replicas: int
    why: str = ""


@attrs.frozen
class SetCanary:
    """Part of an application's requests goes to another, or (None) none any more."""

    app: str
    canary: Canary | None


Event = SetCanary | Deploy | Delete | Tick | Placed | Started | Failed | Died | Stopped | Scale


@attrs.frozen
class Start:
    """Make a replica of a version, at a place in a gang if it has gangs. `routed`: HTTP requests go to it first."""

    replica: str
    app: str
    deployment: str
    spec: Any = attrs.field(repr=False)
    seat: GangContext | None = None
    routed: bool = False


@attrs.frozen
class Stop:
    """End a replica: once no caller sends to it, when it has finished what it has, within a bound."""

    replica: str
    app: str
    deployment: str
    patience_s: float
    now: bool = False  # without waiting: it does not work


@attrs.frozen
class Reconfigure:
    """Give a replica its new `user_config` and bounds."""

    replica: str
    app: str
    deployment: str
    spec: Any = attrs.field(repr=False)


@attrs.frozen
class Publish:
    """Tell callers who a deployment's replicas are now."""

    app: str
    deployment: str


@attrs.frozen
class PublishRoutes:
    """Tell proxies the routes."""


@attrs.frozen
class Save:
    """Write down what is wanted."""


Action = Start | Stop | Reconfigure | Publish | PublishRoutes | Save
