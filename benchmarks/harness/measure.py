"""How a row measures: the same clock, windows and sizes for every system."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import attrs


@attrs.frozen
class Reading:
    """One row's number in one round, and facts worth showing beside it."""

    value: float
    facts: dict[str, float] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Bench:
    """What a row is given. `api` is the module `shoal` or `ray`: the names that rows use are the same."""

    system: str
    api: Any
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """Return a number of calls: the whole, or a few that show that the row works."""
        return quick if self.quick else full

    def rate(self, step: Callable[[], object], per_step: float = 1.0) -> Reading:
        """Return how much `step` does in a second: the median of windows, after a warm-up.

        A step that takes longer than a window is measured alone, once; its warm-up is a step as well.
        """
        warm, window, count = (0.1, 0.15, 1) if self.quick else (0.5, 0.6, 3)
        warm_steps, warm_seconds = _repeat(step, warm)
        if warm_seconds / warm_steps > 2 * window:
            steps, seconds = _repeat(step, 0.0)
            return Reading(per_step * steps / seconds)
        rates = []
        for _ in range(count):
            steps, seconds = _repeat(step, window)
            rates.append(per_step * steps / seconds)
        return Reading(statistics.median(rates))

    def once(self, step: Callable[[], object], amount: float = 1.0) -> Reading:
        """Return how much `step` does in a second, in one go: for what is too long, or cannot be warmed."""
        start = time.perf_counter()
        step()
        return Reading(amount / (time.perf_counter() - start))


def _repeat(step: Callable[[], object], least_seconds: float) -> tuple[int, float]:
    start = time.perf_counter()
    steps = 0
    while True:
        step()
        steps += 1
        seconds = time.perf_counter() - start
        if seconds >= least_seconds:
            return steps, seconds


def latency(step: Callable[[], object], count: int) -> float:
    """Return the median number of seconds that `step` takes."""
    taken = []
    for _ in range(count):
        start = time.perf_counter()
        step()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)
