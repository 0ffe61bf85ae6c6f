"""Where in which epoch the consumers of a split dataset are. Plain values; no Arrow in here."""

from __future__ import annotations

import secrets
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

Interval = tuple[int, int]


def united(intervals: Iterable[Sequence[int]]) -> list[Interval]:
    """Return the numbers that are in any of the intervals.

    Example: `united([(4, 6), (0, 2), (2, 4)])  # [(0, 6)]`
    """
    found: list[Interval] = []
    for low, high in sorted((int(low), int(high)) for low, high in intervals if high > low):
        if found and low <= found[-1][1]:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return found


def without(low: int, high: int, taken: Sequence[Interval]) -> list[Interval]:
    """Return the numbers of [low, high) that are not in a set.

    Example: `without(0, 10, [(2, 4), (8, 20)])  # [(0, 2), (4, 8)]`
    """
    left: list[Interval] = []
    place = max(0, bisect_right(taken, (low, low)) - 1)
    while low < high:
        while place < len(taken) and taken[place][1] <= low:
            place += 1
        if place == len(taken) or taken[place][0] >= high:
            left.append((low, high))
            break
        start, end = taken[place]
        if start > low:
            left.append((low, start))
        low = end
    return left


@attrs.frozen
class SplitPosition:
    """Where all consumers are. `to_json` makes it something to write down.

    `seed` is what the dataset's shuffles draw from, `epoch` the first that is not over, `seen` the numbers of the rows
    that were given out, by epoch, from that one on.
    """

    seed: int
    epoch: int = 0
    seen: Mapping[int, Sequence[Interval]] = attrs.field(factory=dict)

    @classmethod
    def beginning(cls) -> SplitPosition:
        """Return the beginning of a first epoch, with a seed that is drawn."""
        return cls(secrets.randbits(62))

    def to_json(self) -> dict[str, Any]:
        """Return it as what JSON knows."""
        return {
            "seed": self.seed,
            "epoch": self.epoch,
            "seen": [[epoch, [list(each) for each in rows]] for epoch, rows in self.seen.items()],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> SplitPosition:
        """Return what `to_json` was asked of."""
        seen = {int(epoch): [(low, high) for low, high in rows] for epoch, rows in data["seen"]}
        return cls(data["seed"], data["epoch"], seen)


@attrs.frozen
class ReaderProgress:
    """What one consumer was given since it was asked last: numbers of rows by epoch, and epochs that are over."""

    rows: Mapping[int, Sequence[Interval]]
    over: frozenset[int] = frozenset()


class SplitProgress:
    """Puts together what consumers tell.

    Example: `SplitProgress(SplitPosition.beginning(), readers=2).add(0, iterator.progress())`
    """

    def __init__(self, start: SplitPosition, readers: int) -> None:
        self._seed = start.seed
        self._epoch = start.epoch
        self._readers = readers
        self._seen: dict[int, list[Interval]] = {epoch: list(rows) for epoch, rows in start.seen.items()}
        self._over: dict[int, set[int]] = {}

    def add(self, reader: int, progress: ReaderProgress) -> None:
        """Take what one consumer tells. An epoch is over when it is for all of them."""
        for epoch, rows in progress.rows.items():
            if epoch >= self._epoch:
                self._seen.setdefault(epoch, []).extend(rows)
        for epoch in progress.over:
            self._over.setdefault(epoch, set()).add(reader)
        while len(self._over.get(self._epoch, ())) == self._readers:
            del self._over[self._epoch]
            self._seen.pop(self._epoch, None)
            self._epoch += 1

    def position(self) -> SplitPosition:
        """Return where all consumers are."""
        self._seen = {epoch: united(rows) for epoch, rows in sorted(self._seen.items())}
        return SplitPosition(self._seed, self._epoch, dict(self._seen))
