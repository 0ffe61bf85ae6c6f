"""The router `power_of_two`: of two replicas taken at random the one with fewer requests."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import ClassVar

from shoal.serve.routers.base import Asked, Candidate, Router, least_loaded


class PowerOfTwoRouter(Router):
    """Near as even as looking at all replicas, and callers that know nothing of each other do not run to the
    same one.

    With `prefer_local_node` (as is), replicas of the caller's own node come first while they have room. A
    request for a model goes to a replica that has it loaded, if one with room has. A `seed` makes the choice
    repeatable.
    """

    name: ClassVar[str] = "power_of_two"

    def __init__(self, prefer_local_node: bool = True, seed: int | None = None) -> None:
        self._prefer_local = prefer_local_node
        self._random = random.Random(seed)

    def choose(self, candidates: Sequence[Candidate], asked: Asked) -> Candidate | None:
        """Return the less loaded of two, None if no replica has room."""
        if asked.multiplexed_model_id:
            having = [each for each in candidates if asked.multiplexed_model_id in each.models]
            if having and (found := self._of_two(having)) is not None:
                return found
        if self._prefer_local:
            local = [each for each in candidates if each.is_local]
            if local and len(local) < len(candidates) and (found := self._of_two(local)) is not None:
                return found
        return self._of_two(candidates)

    def _of_two(self, candidates: Sequence[Candidate]) -> Candidate | None:
        count = len(candidates)
        if count == 1:
            return candidates[0] if candidates[0].has_room else None
        first = int(self._random.random() * count)
        second = int(self._random.random() * (count - 1))
        one, other = candidates[first], candidates[second if second < first else second + 1]
        best = one if one.load < other.load or (one.load == other.load and one.has_room) else other
        if best.has_room:
            return best
        return least_loaded(candidates)
