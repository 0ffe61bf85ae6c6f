"""Placement groups as a node knows them: where the bundles are, and which it holds itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.native.wire import control
from shoal.spec.resources import ResourceSet, together

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_SETTLE_SECONDS = 0.5


class LocalGroups:
    """The groups of the cluster, told by the head."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._states: dict[bytes, str] = {}
        self._places: dict[bytes, dict[int, int]] = {}  # group → bundle → node number
        self._held: dict[bytes, dict[int, set[int]]] = {}  # group → attempt → bundles reserved here
        self._unsure: set[bytes] = set()  # known from before the connection broke, and not heard of since

    def is_living(self, group_id: bytes) -> bool:
        """Tell whether a group is there or waits for room."""
        return group_id in self._states

    def on_state(self, group_id: bytes, state: str, places: dict[int, int]) -> None:
        """The head tells of a group; "ALL": there are no others."""
        if state == "ALL":
            for gone in list(self._unsure):
                self.on_state(gone, "REMOVED", {})
            return
        self._unsure.discard(group_id)
        if state == "REMOVED":
            self.release(group_id, 0)
            if self._states.pop(group_id, None) is not None:
                self._places.pop(group_id, None)
                self._daemon.scheduling.group_removed(group_id)
            return
        self._states[group_id] = state
        self._places[group_id] = places
        if state == "CREATED":  # nothing can go to a group that is not
            self._daemon.schedule()

    def begin_anew(self) -> None:
        """The head is there again, and will tell of every group: others were removed meanwhile."""
        self._unsure = set(self._states)

    def nodes_of(self, group_id: bytes, index: int) -> list[int]:
        """Return the numbers of the nodes that hold a bundle, or (−1) any bundle, of a group that is whole."""
        places = self._places.get(group_id, {})
        if self._states.get(group_id) != "CREATED":
            return []
        if index >= 0:
            return [places[index]] if index in places else []
        return list(dict.fromkeys(places.values()))

    def reserve(self, group_id: bytes, attempt: int, bundles: dict[int, dict[str, int]], job: bytes) -> None:
        """The head asks for bundles: all of them are reserved, or none."""
        wanted = {index: ResourceSet(units) for index, units in bundles.items()}
        reason = ""
        jobs = self._daemon.scheduling.jobs
        jobs.purpose_comes(job, together(bundles.values()))
        if self._daemon.draining:
            reason = "the node is being drained"
        elif self._daemon.scheduling.book.reserve(group_id, wanted, job):
            self._held.setdefault(group_id, {})[attempt] = set(bundles)
        else:
            reason = "devices are not free together"
        if reason:
            jobs.not_needed(job, together(bundles.values()))
            self._settle(_SETTLE_SECONDS)
        self._daemon.uplink.up([control.RESERVED, group_id, attempt, reason])

    def held(self) -> list[list[object]]:
        """Return [group, {attempt: [bundle, ...]}] of what is reserved here."""
        return [
            [group_id, {attempt: sorted(bundles) for attempt, bundles in attempts.items()}]
            for group_id, attempts in self._held.items()
        ]

    def _settle(self, seconds: float) -> None:
        """Have the head, which has assumed that bundles are taken, told what is free after all.

        After an attempt that has failed not at once: it would be tried again as soon, and fail again.
        """
        self._daemon.call_later(seconds, self._daemon.reports.anew)

    def release(self, group_id: bytes, attempt: int) -> None:
        """Bundles are given back, and what runs in them ends. Attempt 0 is all of them."""
        held = self._held.get(group_id, {})
        if attempt:
            bundles = held.pop(attempt, set())
        else:
            bundles = {index for several in held.values() for index in several}
            held.clear()
        if not held:
            self._held.pop(group_id, None)
        if bundles:
            self._settle(_SETTLE_SECONDS if attempt else 0.0)
            self._daemon.scheduling.release_bundles(group_id, bundles)
