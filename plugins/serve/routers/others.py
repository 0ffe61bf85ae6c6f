"""The routers `round_robin` and `consistent_hash`."""

from __future__ import annotations

import bisect
import hashlib
from collections.abc import Sequence
from typing import ClassVar

from shoal.serve.routers.base import Asked, Candidate, Router, least_loaded


class RoundRobinRouter(Router):
    """One replica after the other; one without room is passed over."""

    name: ClassVar[str] = "round_robin"

    def __init__(self) -> None:
        self._last = ""

    def choose(self, candidates: Sequence[Candidate], asked: Asked) -> Candidate | None:
        """Return the next one that has room."""
        ordered = sorted(candidates, key=lambda each: (each.replica_id <= self._last, each.replica_id))
        for each in ordered:
            if each.has_room:
                self._last = each.replica_id
                return each
        return None


class ConsistentHashRouter(Router):
    """A session always goes to the same replica, also when others come and go: only those of a lost replica move.

    The session is `options(session_id=…)` of a handle, or the header `X-Session-ID`; without one the replica
    with the fewest requests is taken. Each replica stands at `points` places of a ring. A session whose replica
    has no room waits, unless `strict=False`, which takes the next one on the ring.
    """

    name: ClassVar[str] = "consistent_hash"

    def __init__(self, points: int = 64, strict: bool = False) -> None:
        self._points = points
        self._strict = strict
        self._ring: list[tuple[int, str]] = []
        self._there: frozenset[str] = frozenset()

    def update(self, candidates: Sequence[Candidate]) -> None:
        """Lay the ring anew."""
        self._there = frozenset(each.replica_id for each in candidates)
        self._ring = sorted(
            (_place(f"{replica}/{number}"), replica)
            for replica in self._there
            for number in range(self._points)
        )

    def choose(self, candidates: Sequence[Candidate], asked: Asked) -> Candidate | None:
        """Return the session's replica."""
        if not asked.session_id:
            return least_loaded(candidates)
        by_id = {each.replica_id: each for each in candidates}
        if by_id.keys() != self._there:
            self.update(candidates)
        start = bisect.bisect(self._ring, (_place(asked.session_id), ""))
        for step in range(len(self._ring)):
            each = by_id[self._ring[(start + step) % len(self._ring)][1]]
            if each.has_room:
                return each
            if self._strict:
                return None
        return None


def _place(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")
