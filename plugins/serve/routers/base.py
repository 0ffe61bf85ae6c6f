"""The interface of routers: plugins of the group `shoal.serve.routers`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar

import attrs


@attrs.define(eq=False)
class Candidate:
    """A replica as a caller sees it. `ongoing` counts the caller's own requests there."""

    replica_id: str
    node_id: str
    max_ongoing: int
    is_local: bool
    ongoing: int = 0
    told: int = 0  # requests of other callers, as of the replica's last answer
    models: Collection[str] = ()  # that this caller has sent there lately
    stats: Mapping[str, Any] = attrs.field(factory=dict)  # what the replica's `record_routing_stats()` said

    @property
    def load(self) -> int:
        """How many requests it is known to have."""
        return self.ongoing + self.told

    @property
    def has_room(self) -> bool:
        """Whether another request may go there."""
        return self.ongoing < self.max_ongoing


@attrs.frozen
class Asked:
    """What a router may know of a request: its arguments, which it must not change, and who asks for what."""

    method: str
    args: Sequence[Any] = ()
    kwargs: Any = None
    multiplexed_model_id: str = ""
    session_id: str = ""


class Router(ABC):
    """Chooses a replica for each request of one deployment in one caller.

    One caller makes one router for each deployment and calls it under a lock: methods must not wait, and nothing else
    calls them at the same time. Exceptions fail the request.
    """

    name: ClassVar[str] = ""

    @abstractmethod
    def choose(self, candidates: Sequence[Candidate], asked: Asked) -> Candidate | None:
        """Return one of the candidates that has room, or None: then the request waits until something changes.

        `candidates` is never empty, and in no certain order.
        """

    def update(self, candidates: Sequence[Candidate]) -> None:  # noqa: B027  (most need not know)
        """Take note that the replicas are others now."""


def least_loaded(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the candidate with the fewest requests among those with room, the first of several.

    Example: `least_loaded([busy, idle]) is idle`
    """
    best: Candidate | None = None
    for each in candidates:
        if each.has_room and (best is None or each.load < best.load):
            best = each
    return best
