"""Replicas as routers see them, and what is remembered of how much each has to do."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Callable, Collection, Mapping
from typing import Any

from shoal.serve.context import ReplicaID
from shoal.serve.routers.base import Candidate

_ASK_SECONDS = 5.0


class RunningReplica:
    """One replica that serves. Made by the router of what the caller knows of it (`replica_info`)."""

    def __init__(self, replica_info: Candidate) -> None:
        self._info = replica_info
        self._id = ReplicaID.from_full_id_str(replica_info.replica_id)
        self._slots: set[str] = set()

    def update_replica_info(self, replica_info: Candidate) -> None:
        """Take note of what is known of the replica now."""
        self._info = replica_info

    @property
    def replica_id(self) -> ReplicaID:
        """Its name."""
        return self._id

    @property
    def actor_id(self) -> str:
        """Its actor's identifier in hexadecimal digits, "" in tests without actors."""
        actor = getattr(self._info, "actor", None)
        return "" if actor is None else str(actor._shoal_info.actor_id.hex())

    @property
    def node_id(self) -> str:
        """The node that it is on."""
        return self._info.node_id

    @property
    def availability_zone(self) -> str | None:
        """Its node's zone: what `record_routing_stats()` says under `availability_zone`, None without."""
        zone = self._info.stats.get("availability_zone")
        return None if zone is None else str(zone)

    @property
    def max_ongoing_requests(self) -> int:
        """How many requests it works on at once."""
        return self._info.max_ongoing

    @property
    def multiplexed_model_ids(self) -> set[str]:
        """The models that this caller has asked for there lately."""
        return set(self._info.models)

    @property
    def routing_stats(self) -> Mapping[str, Any]:
        """What its `record_routing_stats()` said last."""
        return self._info.stats

    @property
    def replica_metadata(self) -> Mapping[str, Any]:
        """The same: what a replica tells of itself."""
        return self._info.stats

    @property
    def is_cross_language(self) -> bool:
        """Whether it runs something else than Python: it never does."""
        return False

    @property
    def backend_http_endpoint(self) -> str | None:
        """Where it listens by itself: None, requests come by calls."""
        return None

    @property
    def known_queue_len(self) -> int:
        """How many requests it has, as far as this caller knows: its own, and those of its last answers."""
        return self._info.load

    @property
    def has_room(self) -> bool:
        """Whether this caller may send another request there."""
        return self._info.has_room

    async def get_queue_len(self, deadline_s: float = _ASK_SECONDS) -> int:
        """Ask the replica how many requests it has. Raises asyncio.TimeoutError after `deadline_s` seconds,
        ActorError.
        """
        actor: Any = getattr(self._info, "actor", None)
        if actor is None:
            return self.known_queue_len

        async def ask() -> Any:
            return await actor.load.remote()

        return int((await asyncio.wait_for(ask(), deadline_s))["ongoing"])

    def reserve_slot(self, request_metadata: Any = None) -> str | None:
        """Hold room for a request and return a token for `release_slot`, None if there is no room."""
        if not self.has_room:
            return None
        token = uuid.uuid4().hex
        self._slots.add(token)
        self._info.ongoing += 1
        return token

    def release_slot(self, slot_token: str) -> None:
        """Give back what `reserve_slot` held; a token that was given back is no error."""
        if slot_token in self._slots:
            self._slots.remove(slot_token)
            self._info.ongoing -= 1

    def __repr__(self) -> str:
        return f"RunningReplica({self._id})"


class ReplicaQueueLengthCache:
    """How many requests each replica had when somebody looked, for as long as that says anything."""

    def __init__(
        self, *, staleness_timeout_s: float = 10.0, get_curr_time_s: Callable[[], float] | None = None
    ) -> None:
        self._known: dict[ReplicaID, tuple[int, float]] = {}
        self._timeout = staleness_timeout_s
        self._now = get_curr_time_s or time.monotonic

    def get(self, replica_id: ReplicaID) -> int | None:
        """Return what is known, None if nothing is, or only what is too old."""
        found = self._known.get(replica_id)
        return None if found is None or self._now() - found[1] > self._timeout else found[0]

    def update(self, replica_id: ReplicaID, queue_len: int) -> None:
        """Take note of a number."""
        self._known[replica_id] = max(0, queue_len), self._now()

    def invalidate_key(self, replica_id: ReplicaID) -> None:
        """Forget a replica."""
        self._known.pop(replica_id, None)

    def remove_inactive_replicas(self, *, active_replica_ids: Collection[ReplicaID]) -> None:
        """Forget all but these."""
        self._known = {name: value for name, value in self._known.items() if name in active_replica_ids}
