"""Looking for the lines whose memory grows with every turn of a loop."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Suspect(NamedTuple):
    """A place whose memory grew: how much, how steadily (bytes a turn, correlation), and its size after each turn."""

    traceback: str
    memory_increase: int
    slope: float
    rvalue: float
    hist: Sequence[int]


def find_leaks(code: Callable[[], Any], repeats: int = 10, frames: int = 5) -> list[Suspect]:
    """Run `code` `repeats` times and return the places whose memory grew in step, the worst first.

    Each place is `frames` lines of its allocation's traceback. Raises ValueError for fewer than three repeats.
    """
    import gc
    import tracemalloc

    if repeats < 3:
        raise ValueError(f"repeats must be at least 3 to see a trend, not {repeats}")
    was_tracing = tracemalloc.is_tracing()
    if not was_tracing:
        tracemalloc.start(frames)
    # Written out only in the end: to read lines of files would be memory that grows here.
    sizes: dict[tracemalloc.Traceback, list[int]] = defaultdict(lambda: [0] * repeats)
    ours = (__file__, tracemalloc.__file__)
    try:
        for turn in range(repeats):
            code()
            gc.collect()
            for place in tracemalloc.take_snapshot().statistics("traceback"):
                if place.traceback[-1].filename in ours:  # the newest frame comes last
                    continue
                sizes[place.traceback][turn] = place.size
    finally:
        if not was_tracing:
            tracemalloc.stop()
    suspects = [
        _judge("\n".join(place.format()), history)
        for place, history in sizes.items()
        if history[-1] > history[0]
    ]
    steady = [one for one in suspects if one.rvalue > 0.9 and one.slope > 0]
    return sorted(steady, key=lambda one: -one.memory_increase)


def _judge(place: str, history: list[int]) -> Suspect:
    count = len(history)
    mean_x, mean_y = (count - 1) / 2, sum(history) / count
    spread_x = sum((x - mean_x) ** 2 for x in range(count))
    spread_y = sum((y - mean_y) ** 2 for y in history)
    together = sum((x - mean_x) * (y - mean_y) for x, y in enumerate(history))
    slope = together / spread_x
    rvalue = together / (spread_x * spread_y) ** 0.5 if spread_y else 0.0
    return Suspect(place, history[-1] - history[0], slope, rvalue, tuple(history))
