"""Where the calling code runs: which replica, which request."""

from __future__ import annotations

import contextvars
from typing import Any

import attrs

from shoal.serve.exceptions import ServeError
from shoal.serve.gang import GangContext


@attrs.frozen(order=True)
class DeploymentID:
    """A deployment's name, and its application's."""

    name: str
    app_name: str = "default"

    def __str__(self) -> str:
        return f"{self.name} of {self.app_name}"


@attrs.frozen(order=True)
class ReplicaID:
    """One process of a deployment."""

    unique_id: str
    deployment_id: DeploymentID

    def to_full_id_str(self) -> str:
        """Return one text for it: application, deployment and replica.

        Example: `ReplicaID("a1", DeploymentID("Model")).to_full_id_str()` is "default#Model#a1".
        """
        return f"{self.deployment_id.app_name}#{self.deployment_id.name}#{self.unique_id}"

    @classmethod
    def is_full_id_str(cls, s: str) -> bool:
        """Tell whether a text is what `to_full_id_str` makes."""
        return s.count("#") == 2

    @classmethod
    def from_full_id_str(cls, s: str) -> ReplicaID:
        """Return what a text names. Raises ValueError for another kind of text."""
        if not cls.is_full_id_str(s):
            raise ValueError(f"{s!r} is not APPLICATION#DEPLOYMENT#REPLICA")
        app, name, unique = s.split("#")
        return cls(unique, DeploymentID(name, app))

    def __str__(self) -> str:
        return self.to_full_id_str()


@attrs.frozen
class ReplicaRank:
    """A replica's place: `rank` among those of its deployment, from 0 without gaps once all serve; `node_rank` is that
    of its node among the nodes with replicas, `local_rank` its place among those on its node.
    """

    rank: int = 0
    node_rank: int = 0
    local_rank: int = 0


@attrs.frozen(kw_only=True, eq=False)
class ReplicaContext:
    """What code of a replica can know of its place."""

    replica_id: ReplicaID
    servable_object: Any
    code_version: str = ""
    gang_context: GangContext | None = None
    _state: Any = None

    @property
    def rank(self) -> ReplicaRank:
        """The replica's place among those of its deployment, as of now."""
        return self._state.rank if self._state is not None else ReplicaRank()

    @property
    def max_ongoing_requests(self) -> int:
        """How many requests may be under way here at once."""
        return int(self._state.max_ongoing) if self._state is not None else 1

    @property
    def app_name(self) -> str:
        """The application's name."""
        return self.replica_id.deployment_id.app_name

    @property
    def deployment(self) -> str:
        """The deployment's name."""
        return self.replica_id.deployment_id.name

    @property
    def replica_tag(self) -> str:
        """The replica's name within its deployment."""
        return self.replica_id.unique_id

    @property
    def world_size(self) -> int:
        """How many replicas there are to be as of now."""
        return int(self._state.world_size) if self._state is not None else 1


@attrs.frozen(kw_only=True)
class RequestContext:
    """What belongs to one request wherever it goes."""

    request_id: str = ""
    route: str = ""
    app_name: str = ""
    multiplexed_model_id: str = ""
    trace: str = ""  # traceparent


NO_REQUEST = RequestContext()
request_context: contextvars.ContextVar[RequestContext] = contextvars.ContextVar(
    "shoal_serve_request", default=NO_REQUEST
)
_here: list[ReplicaContext] = []  # of this process: at most one


def set_replica_context(context: ReplicaContext) -> None:
    """Say which replica this process is."""
    _here[:] = [context]


def replica_context_or_none() -> ReplicaContext | None:
    """Return which replica this process is, None elsewhere."""
    return _here[0] if _here else None


def get_replica_context() -> ReplicaContext:
    """Return what code of a replica can know of its place. Raises ServeError elsewhere.

    Example: `serve.get_replica_context().replica_id`
    """
    if not _here:
        raise ServeError("get_replica_context() is for code that runs in a replica; this is none")
    return _here[0]


def get_multiplexed_model_id() -> str:
    """Return the model that the running request asks for, "" if none: `options(multiplexed_model_id=…)` of its
    caller, or the header `serve_multiplexed_model_id`.

    Example: `model = await self.load(serve.get_multiplexed_model_id())`
    """
    return request_context.get().multiplexed_model_id


def get_trace_context() -> str | None:
    """Return the running request's `traceparent` (W3C), None if it has none."""
    return request_context.get().trace or None
