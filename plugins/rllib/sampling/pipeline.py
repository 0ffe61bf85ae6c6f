"""Runners that never wait for the learner: each is asked again as soon as it has answered."""

from __future__ import annotations

import time
from typing import Any

import shoal
from shoal.errors import ActorDied, GetTimeout
from shoal.rllib.sampling.group import RunnerGroup

_DEATHS = 10  # of runners one after another, with no answer between, until an algorithm gives up


class Pipeline:
    """Keeps requests at all runners of a group, and gives their answers in the order they come.

    Parameters: `ahead` requests wait at each runner; weights travel once to the object store for each version.

    Example: `pipeline = Pipeline(group, 50, 2, 60.0); pipeline.publish(module.arrays(), 1); pipeline.next()`
    """

    def __init__(self, group: RunnerGroup, steps: int, ahead: int, timeout: float) -> None:
        self._group = group
        self._steps = steps
        self._ahead = ahead
        self._timeout = timeout
        self._weights: Any = None
        self._version = 0
        self._asked: dict[Any, tuple[int, int]] = {}  # request: (runner's place, version of its weights)
        self._deaths = 0

    def publish(self, arrays: dict[str, Any], version: int) -> None:
        """Let requests from now on use these weights."""
        self._weights, self._version = shoal.put(arrays), version

    def next(self) -> tuple[Any, int]:
        """Return an answer and the version of the weights it was played with.

        Raises what environments raise; ActorDied if runners die one after another; GetTimeout if none answers.
        """
        if not self._asked:
            for _ in range(self._ahead):
                for place in range(len(self._group.actors)):
                    self._ask(place)
        deadline = time.monotonic() + self._timeout
        while True:
            ready, _ = shoal.wait(
                list(self._asked), num_returns=1, timeout=max(0.0, deadline - time.monotonic())
            )
            if not ready:
                raise GetTimeout(
                    f"no env runner answered within sample_timeout_s={self._timeout:g} seconds; raise it, or see "
                    "`shoal stack` for what they do"
                )
            place, version = self._asked.pop(ready[0])
            try:
                answer = shoal.get(ready[0], timeout=self._timeout)
            except (ActorDied, GetTimeout) as error:
                self._deaths += 1
                if self._deaths >= _DEATHS:
                    raise
                self._replace(place, error)
                continue
            self._deaths = 0
            self._ask(place)
            return answer, version

    def _ask(self, place: int) -> None:
        ref = self._group.actors[place].sample.remote(self._weights, self._steps)
        self._asked[ref] = (place, self._version)

    def _replace(self, place: int, error: Exception) -> None:
        lost = [ref for ref, (asked, _) in self._asked.items() if asked == place]
        for ref in lost:
            del self._asked[ref]
        self._group.replace(place, error)
        for _ in range(len(lost) + 1):
            self._ask(place)
