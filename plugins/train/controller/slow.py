"""Who keeps the others waiting."""

from __future__ import annotations

import attrs

_ROUNDS = 10  # reports that are looked at together
_OFTEN = 0.8  # of them
_SHARE = 0.3  # of the time between reports
_LEAST = 0.5  # seconds


@attrs.define(eq=False)
class _Arrivals:
    first: float
    last: float
    slowest: int
    seen: int = 1


class Laggards:
    """Notes when ranks report, and names one that is last again and again, by much.

    Example: `Laggards().note(rank=0, index=0, now=1.0, workers=2)  # ""`
    """

    def __init__(self) -> None:
        self._open: dict[int, _Arrivals] = {}
        self._late: list[tuple[int, float, float]] = []  # who, by how much, when the first was there
        self._told: set[int] = set()

    def note(self, rank: int, index: int, now: float, workers: int) -> str:
        """Note one report; return what to say, usually nothing."""
        if workers < 2:
            return ""
        seen = self._open.get(index)
        if seen is None:
            self._open[index] = _Arrivals(now, now, rank)
            return ""
        seen.last, seen.slowest, seen.seen = now, rank, seen.seen + 1
        if seen.seen < workers:
            return ""
        del self._open[index]
        self._late.append((rank, seen.last - seen.first, seen.first))
        return self._judge() if len(self._late) == _ROUNDS else ""

    def _judge(self) -> str:
        rounds, self._late = self._late, []
        for rank in {each[0] for each in rounds} - self._told:
            mine = [late for slowest, late, _ in rounds if slowest == rank]
            interval = (rounds[-1][2] - rounds[0][2]) / (len(rounds) - 1)
            mean = sum(mine) / len(mine)
            if len(mine) >= _OFTEN * len(rounds) and mean > max(_LEAST, _SHARE * interval):
                self._told.add(rank)
                return (
                    f"rank {rank} is slow: in {len(mine)} of {len(rounds)} reports it came last, "
                    f"{mean:.1f} s after the first"
                )
        return ""
