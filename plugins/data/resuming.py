"""Splits that go on in the middle of an epoch: rows have numbers, and whoever loops remembers which it was given.

The number of a row is its place in the dataset's execution. So that it is the same row in the next execution, rows
keep the order of their source, and what draws at random draws from the run's seed and the epoch's number.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import pyarrow as pa

import shoal
from shoal.data.block import Block, rows_of
from shoal.data.exchanges import RandomShuffle
from shoal.data.plan.logical import ShuffleBlocks
from shoal.data.positions import Interval, ReaderProgress, SplitPosition, united, without
from shoal.data.seeds import RandomSeedConfig
from shoal.data.sources.paths import FileShuffleConfig
from shoal.data.splitting import Coordinator, Gather, Piece, SplitIterator
from shoal.data.transforms import Sample

if TYPE_CHECKING:
    from shoal.data.context import DataContext
    from shoal.data.dataset import Dataset, MaterializedDataset
    from shoal.data.execution.bundle import Bundle

_NUMBER = "__shoal_row_number__"


class ResumingIterator(SplitIterator):
    """One consumer's part. `progress()` tells what it was given since it was asked last."""

    def __init__(
        self, coordinator: Any, split: int, context: DataContext, gather: Gather, start: SplitPosition
    ) -> None:
        super().__init__(coordinator, split, context, gather)
        self.start = start
        self._rows: dict[int, list[Interval]] = {}
        self._over: set[int] = set()
        self._epoch: int | None = None

    def progress(self) -> ReaderProgress:
        """Return what was given since this was asked last. A row counts when the batch that it is in has been given."""
        rows, self._rows = self._rows, {}
        over, self._over = self._over, set()
        return ReaderProgress({epoch: united(each) for epoch, each in rows.items()}, frozenset(over))

    def materialize(self) -> MaterializedDataset:
        """Return a dataset of the blocks that this part gets in one epoch."""
        return self._gather(self._given(map(_parted, self._blocks())), self._context)

    def iter_rows(self) -> Iterator[Any]:
        """Yield each row as a dict of Python values, while the rest is still computed.

        Example: `for row in part.iter_rows(): ...`
        """

        def rows() -> Iterator[tuple[Any, Any]]:
            for block in self._blocks():
                numbers, table = _parted(block)
                for index, row in enumerate(rows_of(table)):
                    yield numbers[index : index + 1], row

        return self._given(rows())

    def _to_batch(self, table: Block, kind: Any) -> Any:
        numbers, rest = _parted(table)
        return numbers, super()._to_batch(rest, kind)

    def _given(self, items: Iterator[tuple[Any, Any]]) -> Iterator[Any]:
        """Note the numbers of what is given out. Whoever stops looping has done with the epoch."""
        done = False
        try:
            for numbers, item in items:
                self._note(numbers)
                yield item
            done = True
        except GeneratorExit:
            done = True
            raise
        finally:
            close = getattr(items, "close", None)
            if close is not None:
                close()
            if done and self._epoch is not None:
                self._over.add(self._epoch)

    def _note(self, numbers: Any) -> None:
        assert self._epoch is not None
        ordered = np.sort(numbers)
        breaks = np.flatnonzero(np.diff(ordered) != 1) + 1
        runs = [(int(run[0]), int(run[-1]) + 1) for run in np.split(ordered, breaks) if len(run)]
        self._rows.setdefault(self._epoch, []).extend(runs)

    def _begun(self, epoch: int) -> None:
        self._epoch = epoch

    def _made(self, block: Block, pieces: Sequence[Piece]) -> Block:
        numbers = np.concatenate([np.arange(first + low, first + high) for _, low, high, _, first in pieces])
        return block.append_column(_NUMBER, pa.array(numbers, pa.int64()))


def _parted(table: Block) -> tuple[Any, Block]:
    return table.column(_NUMBER).to_numpy(), table.drop_columns([_NUMBER])


class ResumingCoordinator(Coordinator):
    """Runs a dataset for consumers of `n` parts of equally many rows. Each part has `copies`, who get the same.

    Consumers are numbered part by part. What `start` says was seen goes to nobody.
    """

    def __init__(
        self, dataset: Dataset, n: int, copies: int, homes: list[str | None], start: SplitPosition
    ) -> None:
        super().__init__(dataset, n * copies, True, homes)
        self._start = start
        self._copies = copies
        self._began = [start.epoch] * (n * copies)

    def _executed(self, epoch: int) -> tuple[Any, Iterator[Bundle]]:
        plan = drawing_from(self._dataset._plan, (self._start.seed, epoch))
        execution = self._dataset._execution(plan)
        return execution, self._dataset._bundles(plan, execution)

    def _pieces(self, epoch: int, first: int, bundle: Bundle) -> list[Piece]:
        seen = [(low, high) for low, high in self._start.seen.get(epoch, ())]
        return [
            (bundle.ref, low - first, high - first, bundle.node, first)
            for low, high in without(first, first + bundle.rows, seen)
        ]

    def _give(
        self, ready: list[deque[list[Piece]]], gone: set[int], take: Callable[[int], list[Piece]]
    ) -> None:
        for part in range(0, self._n, self._copies):
            pieces = take(part)
            for reader in range(part, part + self._copies):
                if reader not in gone:
                    ready[reader].append(pieces)

    def _shares(self) -> int:
        return self._n // self._copies


def split_to_go_on(
    dataset: Dataset, n: int, copies: int, homes: Sequence[str | None], start: SplitPosition
) -> list[ResumingIterator]:
    """Return `n` × `copies` iterators that share executions of a dataset, from a position on.

    Consumers `copies` × i and those after it get the same rows, of which other consumers get none.

    Example: `left, right = split_to_go_on(ds, 2, 1, [None, None], SplitPosition.beginning())`
    """
    from shoal.data.dataset import gathered

    actor = shoal.remote(num_cpus=0, max_concurrency=n * copies + 1)(ResumingCoordinator)
    coordinator = actor.remote(dataset, n, copies, list(homes), start)
    return [
        ResumingIterator(coordinator, number, dataset.context, gathered, start)
        for number in range(n * copies)
    ]


def drawing_from(plan: Any, seed: tuple[int, int]) -> Any:
    """Return a plan whose shuffles and samples draw from a seed, the same in each execution; numbers stay as they are.

    Example: `drawing_from(ds._plan, (run, epoch))`
    """
    number = int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0] >> 1)

    def mixed(own: int | None) -> int:
        entropy = seed if own is None else (own, seed[1])  # a seed of one's own draws alike in each run
        return int(np.random.SeedSequence(entropy).generate_state(1, np.uint64)[0] >> 1)

    def settled(value: Any) -> Any:
        if isinstance(value, RandomSeedConfig):
            return mixed(value.seed) if value.seed is None or value.reseed_after_execution else value
        if isinstance(value, FileShuffleConfig):
            if value.seed is not None and not value.reseed_after_execution:
                return value
            return FileShuffleConfig(mixed(value.seed) % 2**32, reseed_after_execution=False)
        if isinstance(value, tuple) and not hasattr(value, "_fields"):
            parts = tuple(map(settled, value))
            return value if all(a is b for a, b in zip(parts, value, strict=True)) else parts
        if not attrs.has(type(value)) or not type(value).__module__.startswith("shoal.data."):
            return value
        changed: dict[str, Any] = {}
        for field in attrs.fields(type(value)):
            before = getattr(value, field.name)
            if (
                field.name == "seed"
                and before is None
                and isinstance(value, (RandomShuffle, Sample, ShuffleBlocks))
            ):
                after: Any = number
            else:
                after = settled(before)
            if after is not before:
                changed[field.alias or field.name] = after
        return attrs.evolve(value, **changed) if changed else value

    return settled(plan)
