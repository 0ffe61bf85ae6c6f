"""Which checkpoints are kept: the newest, and the best or newest of the others."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen
class Kept:
    """A checkpoint that is whole: the number of its report, its folder's name, and rank 0's metrics.

    `path` is where it is in the filesystem, None for the folder `name` in the run's. `data` says where the datasets
    were, by name; only the newest, from which training goes on, has it. `parts` are the ranks whose parts are in
    memory, of one that is there only.
    """

    index: int
    name: str
    metrics: Mapping[str, Any]
    path: str | None = None
    data: Mapping[str, Any] | None = None
    parts: tuple[int, ...] = ()


class KeptCheckpoints:
    """The checkpoints of a run, oldest first.

    Example: `book = KeptCheckpoints(2, "accuracy", "max"); gone = book.add(Kept(0, "checkpoint_000000", {}))`
    """

    def __init__(self, num_to_keep: int | None, attribute: str | None, order: str) -> None:
        self._num_to_keep = num_to_keep
        self._attribute = attribute
        self._sign = 1.0 if order == "max" else -1.0
        self.all: list[Kept] = []

    @property
    def newest(self) -> Kept | None:
        """The one to go on from."""
        return self.all[-1] if self.all else None

    def add(self, kept: Kept) -> list[Kept]:
        """Add the newest; return those that are to go."""
        self.all.append(kept)
        self.all.sort(key=lambda each: each.index)
        self.all[:-1] = [attrs.evolve(each, data=None) if each.data else each for each in self.all[:-1]]
        if self._num_to_keep is None or len(self.all) <= self._num_to_keep:
            return []
        newest = self.all[-1]
        # With a score the newest may be one too many: training goes on from it.
        ranked = sorted(self.all, key=self.score, reverse=True)
        stay = {each.index for each in ranked[: self._num_to_keep]} | {newest.index}
        gone = [each for each in self.all if each.index not in stay]
        self.all = [each for each in self.all if each.index in stay]
        return gone

    def score(self, kept: Kept) -> tuple[float, int]:
        """Return what orders checkpoints, the best highest. One without the metric is worse than all with it."""
        if self._attribute is None:
            return 0.0, kept.index
        value = kept.metrics.get(self._attribute)
        try:
            number = float(value) * self._sign  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = -math.inf
        return (-math.inf if math.isnan(number) else number), kept.index

    @property
    def best(self) -> Kept | None:
        """The best, or the newest without a score."""
        return max(self.all, key=self.score, default=None)
