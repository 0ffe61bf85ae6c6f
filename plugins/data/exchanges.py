"""What is done where every block that comes out may have rows of every block that went in, in two stages.

First each block is split into as many parts as there are partitions, then the parts of one partition are reduced. The
values are sent to tasks; nothing in here runs at the driver but `partitions`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.aggregate import AggregateFn, aggregate_groups
from shoal.data.block import Block, concat, from_batch, size_of, take_rows, to_batch
from shoal.data.combining import combine, finish_parts, join_parts
from shoal.data.hashing import hash_rows
from shoal.data.ordering import groups_of, order_of
from shoal.data.transforms import Step, Transform, UserFunction, need_columns

_COMBINE_AT = 32 * 2**20  # bytes of rows whose groups are made one at a time
_COMBINED_SHARE = 8  # a partition of combined groups is to be so much smaller than a block
_SAMPLES = 200  # rows of each block that the bounds of a sort are drawn from


@attrs.frozen
class Exchange(ABC):
    """One way to exchange rows between blocks.

    `blocks` is how many come out; None lets their number follow the data, with about `size` bytes each (None: the
    context's target).
    """

    blocks: int | None = None
    size: int | None = None

    samples = False  # whether `sample` and `plan` are to be called

    @property
    @abstractmethod
    def label(self) -> str:
        """What a person calls this step."""

    def partitions(self, blocks: int, size: int, target: int, most: int) -> int:
        """Return how many partitions there are for so many blocks of so many bytes together.

        `target` is the size in bytes that a partition should not exceed much, `most` bounds what this method chooses.
        """
        target = self.size or target
        return self.blocks or max(1, min(max(blocks, -(-size // target)), most))

    def sample(self, block: Block) -> Block:
        """Return rows of a block from which `plan` sees what is in it."""
        return block.slice(0, 0)

    def plan(self, samples: Sequence[Block], partitions: int) -> Any:
        """Return what `split` needs to know of all blocks."""
        return None

    @abstractmethod
    def split(self, block: Block, plan: Any, partitions: int, index: int) -> list[Block]:
        """Return the parts of block number `index`, one for each partition."""

    def of_side(self, side: int) -> Exchange:
        """Return what splits the blocks of one input, where there are several."""
        return self

    @abstractmethod
    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Yield the blocks of partition number `index`."""

    def reduce_sides(self, sides: Sequence[Sequence[Block]], index: int) -> Iterator[Block]:
        """Yield the blocks of partition number `index`, of the parts that each input has of it."""
        return self.reduce(sides[0], index)


@attrs.frozen
class RandomShuffle(Exchange):
    """Every order of all rows is as likely; with a seed the same blocks give the same order."""

    seed: int | None = None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "RandomShuffle"

    def split(self, block: Block, plan: Any, partitions: int, index: int) -> list[Block]:
        """Give each row to a random partition."""
        return _parts(block, self._random(0, index).integers(partitions, size=block.num_rows), partitions)

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Put the rows of a partition in a random order."""
        whole = concat(parts)
        yield take_rows(whole, self._random(1, index).permutation(whole.num_rows))

    def _random(self, stage: int, index: int) -> np.random.Generator:
        return np.random.default_rng(None if self.seed is None else (self.seed, stage, index))


@attrs.frozen(kw_only=True)
class Sort(Exchange):
    """Rows in the order of their keys, nulls last; rows of equal keys keep their order.

    Bounds between partitions are drawn from samples, so that partitions are of nearly equal length.
    """

    keys: tuple[tuple[str, bool], ...]  # name, whether descending
    boundaries: tuple[Any, ...] | None = None

    samples = True

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Sort(" + ", ".join(f"{name} ↓" if down else name for name, down in self.keys) + ")"

    def sample(self, block: Block) -> Block:
        """Return the keys of some rows."""
        if not block.num_columns:
            return block
        need_columns(block, [name for name, _ in self.keys])
        rows = block.select([name for name, _ in self.keys])
        step = max(1, rows.num_rows // _SAMPLES)
        return rows.take(pa.array(np.arange(0, rows.num_rows, step)))

    def plan(self, samples: Sequence[Block], partitions: int) -> Any:
        """Return the keys at which each partition but the first begins, as a table."""
        if self.boundaries is not None:
            return pa.table({self.keys[0][0]: pa.array(self.boundaries)})
        whole = concat(samples)
        if not whole.num_rows:
            return whole.slice(0, 0)
        ordered = whole.take(order_of(whole, self.keys))
        places = np.unique(np.arange(1, partitions) * ordered.num_rows // partitions)
        return ordered.take(pa.array(places))

    def split(self, block: Block, plan: Any, partitions: int, index: int) -> list[Block]:
        """Sort a block and cut it at the bounds."""
        if not block.num_rows:
            return [block] * partitions
        need_columns(block, [name for name, _ in self.keys])
        names = [name for name, _ in self.keys]
        bounds = plan.num_rows
        # The bounds are sorted among the rows: where they come to lie is where to cut, whatever the types of the keys
        # and however many. Sorting is stable, so a row equal to a bound comes after it.
        order = order_of(concat([plan.select(names), block.select(names)]), self.keys).to_numpy()
        is_bound = order < bounds
        cuts = np.flatnonzero(is_bound) - np.arange(bounds)
        ordered = take_rows(block, order[~is_bound] - bounds)
        edges = [0, *cuts.tolist(), *[block.num_rows] * (partitions - bounds)]
        return [ordered.slice(start, end - start) for start, end in pairwise(edges)]

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Sort a partition."""
        whole = concat(parts)
        yield take_rows(whole, order_of(whole, self.keys).to_numpy()) if whole.num_rows else whole

    def partitions(self, blocks: int, size: int, target: int, most: int) -> int:
        """Return how many partitions there are: one more than there are bounds."""
        if self.boundaries is not None:
            return len(self.boundaries) + 1
        return Exchange.partitions(self, blocks, size, target, most)


@attrs.frozen(kw_only=True)
class HashPartition(Exchange):
    """Rows of equal keys come into one block."""

    keys: tuple[str, ...]
    sort: bool = False

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"HashPartition({', '.join(self.keys)})"

    def split(self, block: Block, plan: Any, partitions: int, index: int) -> list[Block]:
        """Give each row to the partition of its keys' hash."""
        if not block.num_rows:
            return [block] * partitions
        need_columns(block, self.keys)
        chosen = hash_rows([block.column(name) for name in self.keys], block.num_rows) % np.uint64(partitions)
        return _parts(block, chosen.astype(np.int64), partitions)

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Put a partition's rows together."""
        whole = concat(parts)
        keys = tuple((name, False) for name in self.keys)
        yield take_rows(whole, order_of(whole, keys).to_numpy()) if self.sort and whole.num_rows else whole


@attrs.frozen(kw_only=True)
class Aggregate(HashPartition):
    """One row for each group of equal keys. With `combined`, blocks have been through `CombineGroups`."""

    aggregates: tuple[AggregateFn, ...]
    combined: bool = False

    @property
    def label(self) -> str:
        """What a person calls this step."""
        names = ", ".join(each.name for each in self.aggregates)
        return f"Aggregate({', '.join(self.keys)}; {names})"

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Aggregate the groups of a partition, in the order of their keys."""
        if self.combined:
            parts = [part for part in parts if part.num_rows]
            if not parts:
                yield pa.table({})
                return
            joined = join_parts(concat(parts), self.keys, self.aggregates)
            yield finish_parts(joined, self.keys, self.aggregates)
            return
        whole = concat(parts)
        yield aggregate_groups(whole, self.keys, self.aggregates) if whole.num_rows else pa.table({})

    def partitions(self, blocks: int, size: int, target: int, most: int) -> int:
        """Return how many partitions there are; a few groups are one, however many blocks they came from."""
        if self.combined and self.blocks is None:
            return max(1, min(-(-size // max(1, target // _COMBINED_SHARE)), blocks, most))
        return Exchange.partitions(self, blocks, size, target, most)


@attrs.frozen(eq=False)
class CombineGroups(Transform):
    """Makes of the rows of each group that one task sees one row, with what the aggregates need of them."""

    keys: tuple[str, ...]
    aggregates: tuple[AggregateFn, ...]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"CombineGroups({', '.join(self.keys)})"

    def open(self) -> Step:
        """Return what does it."""
        return self._combined

    def _combined(self, blocks: Iterator[Block]) -> Iterator[Block]:
        rows: list[Block] = []
        made: list[Block] = []
        held = 0
        for block in blocks:
            if not block.num_rows:
                continue
            need_columns(block, self.keys)
            rows.append(block)
            held += size_of(block)
            if held >= _COMBINE_AT:
                made.append(self._combine(rows))
                rows, held = [], 0
                if sum(map(size_of, made)) >= _COMBINE_AT:  # so many groups that rows are hardly fewer
                    yield join_parts(concat(made), self.keys, self.aggregates)
                    made = []
        if rows:
            made.append(self._combine(rows))
        if made:
            yield made[0] if len(made) == 1 else join_parts(concat(made), self.keys, self.aggregates)

    def _combine(self, rows: Sequence[Block]) -> Block:
        return combine(concat(rows), self.keys, self.aggregates)


@attrs.frozen(kw_only=True)
class MapGroups(HashPartition):
    """Calls a function with each group of equal keys."""

    function: UserFunction
    batch_format: str

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"MapGroups({', '.join(self.keys)}; {self.function.name})"

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Call the function with the groups of a partition, in the order of their keys."""
        whole = concat(parts)
        if not whole.num_rows:
            return
        call = self.function.open()
        for group in groups_of(whole, self.keys):
            result = call(to_batch(group, self.batch_format))
            yield from map(from_batch, result) if isinstance(result, Iterator) else [from_batch(result)]


def _parts(block: Block, chosen: Any, partitions: int) -> list[Block]:
    """Cut a block by the partition chosen for each row; rows keep their order."""
    if not block.num_columns:
        return [block] * partitions
    ordered = take_rows(block, np.argsort(chosen, kind="stable"))
    edges = np.concatenate([[0], np.cumsum(np.bincount(chosen, minlength=partitions))]).tolist()
    return [ordered.slice(start, end - start) for start, end in pairwise(edges)]
