"""What is done where every block that comes out may have rows of every block that went in, in two stages.

First each block is split into as many parts as there are partitions, then the parts of one partition are reduced. The
values are sent to tasks; nothing in here runs at the driver but `partitions`.
"""

from __future__ import annotations

import math
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.aggregate import AggregateFn
from shoal.data.block import Block, concat, size_of, take_rows
from shoal.data.combining import combine, finish_parts, join_parts
from shoal.data.dividing import KeyDivider, ShuffleDivider, bounds_of, cut_at, parts_by, some_keys
from shoal.data.external import Divider, Fetch, gathered
from shoal.data.grouping import aggregate_group, aggregate_groups
from shoal.data.hashing import hash_rows
from shoal.data.ordering import groups_of, order_of
from shoal.data.seeds import RandomSeedConfig
from shoal.data.transforms import MapBatches, Step, Transform, UserFunction, need_columns

LEAST_PART = 2**18  # bytes that the part of a partition has, where that is possible
_FEW = 32  # partitions that blocks are as many as, even if they are small: all CPUs are to have some
_COMBINE_AT = 32 * 2**20  # bytes of rows whose groups are made one at a time
_COMBINED_SHARE = 8  # a partition of combined groups is to be so much smaller than a block


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
    def sampled_columns(self) -> tuple[str, ...]:
        """The columns that `sample` looks at."""
        return ()

    @property
    @abstractmethod
    def label(self) -> str:
        """What a person calls this step."""

    def partitions(self, blocks: int, size: int, target: int, most: int) -> int:
        """Return how many partitions there are for so many blocks of so many bytes together.

        `target` is the size in bytes that a partition should not exceed much, `most` bounds what this method chooses.
        """
        target = self.size or target
        if self.blocks is not None:
            return self.blocks
        # Each task that splits makes a part for each partition: many partitions of little data are tiny parts, which
        # would lie in the driver's memory instead of the store.
        wanted = min(-(-size // target), math.isqrt(size // LEAST_PART))
        return max(1, min(max(min(blocks, _FEW), wanted), most))

    def settled(self) -> Exchange:
        """Return the same with what chance decides once for an execution: tasks that are tried again do the same."""
        return self

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

    @abstractmethod
    def divider(self, sides: Sequence[Sequence[Fetch]], pieces: int, depth: int) -> Divider:
        """Return what divides a partition that is larger than memory into about so many pieces.

        What comes of the pieces one after the other is what comes of the partition; `depth` tells how often it has been
        divided already.
        """

    def reduce_whole(self, sides: Sequence[Sequence[Fetch]], index: int, limit: int) -> Iterator[Block]:
        """Yield what comes of rows of equal keys; they may be larger than `limit` bytes."""
        return self.reduce_sides([[fetch() for fetch in side] for side in sides], index)


@attrs.frozen
class RandomShuffle(Exchange):
    """Every order of all rows is as likely; with a seed the same blocks give the same order."""

    seed: int | RandomSeedConfig | None = None

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "RandomShuffle"

    def split(self, block: Block, plan: Any, partitions: int, index: int) -> list[Block]:
        """Give each row to a random partition."""
        return parts_by(block, self._random(0, index).integers(partitions, size=block.num_rows), partitions)

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Put the rows of a partition in a random order."""
        whole = concat(parts)
        yield take_rows(whole, self._random(1, index).permutation(whole.num_rows))

    def divider(self, sides: Sequence[Sequence[Fetch]], pieces: int, depth: int) -> Divider:
        """Return what gives each row to a random piece."""
        return ShuffleDivider(pieces, self._random(2 + depth, 0))

    def settled(self) -> RandomShuffle:
        """Return a shuffle with a seed."""
        if isinstance(self.seed, RandomSeedConfig):
            return attrs.evolve(self, seed=self.seed.next_seed())
        return self if self.seed is not None else attrs.evolve(self, seed=secrets.randbits(63))

    def _random(self, stage: int, index: int) -> np.random.Generator:
        seed = self.settled().seed
        assert isinstance(seed, int)
        return np.random.default_rng((seed, stage, index))


@attrs.frozen(kw_only=True)
class Sort(Exchange):
    """Rows in the order of their keys, nulls last; rows of equal keys keep their order.

    Bounds between partitions are drawn from samples, so that partitions are of nearly equal length.
    """

    keys: tuple[tuple[str, bool], ...]  # name, whether descending
    boundaries: tuple[Any, ...] | None = None

    samples = True

    @property
    def sampled_columns(self) -> tuple[str, ...]:
        """The keys."""
        return tuple(dict.fromkeys(name for name, _ in self.keys))

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Sort(" + ", ".join(f"{name} ↓" if down else name for name, down in self.keys) + ")"

    def sample(self, block: Block) -> Block:
        """Return the keys of some rows."""
        if not block.num_columns:
            return block
        need_columns(block, [name for name, _ in self.keys])
        return some_keys(block, self.keys)

    def plan(self, samples: Sequence[Block], partitions: int) -> Any:
        """Return the keys at which each partition but the first begins, as a table."""
        if self.boundaries is not None:
            return pa.table({self.keys[0][0]: pa.array(self.boundaries)})
        return bounds_of(samples, self.keys, partitions)

    def split(self, block: Block, plan: Any, partitions: int, index: int) -> list[Block]:
        """Sort a block and cut it at the bounds."""
        if not block.num_rows:
            return [block] * partitions
        need_columns(block, [name for name, _ in self.keys])
        parts = cut_at(block, self.keys, plan)
        return parts + [parts[-1].slice(0, 0)] * (partitions - len(parts))

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Sort a partition."""
        whole = concat(parts)
        yield take_rows(whole, order_of(whole, self.keys)) if whole.num_rows else whole

    def divider(self, sides: Sequence[Sequence[Fetch]], pieces: int, depth: int) -> Divider:
        """Return what divides by the keys, in their order."""
        return KeyDivider.of(self.keys, sides, pieces)

    def reduce_whole(self, sides: Sequence[Sequence[Fetch]], index: int, limit: int) -> Iterator[Block]:
        """Yield rows of equal keys as they came."""
        return (fetch() for side in sides for fetch in side)

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
        return parts_by(block, chosen.astype(np.int64), partitions)

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Put a partition's rows together."""
        whole = concat(parts)
        keys = tuple((name, False) for name in self.keys)
        yield take_rows(whole, order_of(whole, keys)) if self.sort and whole.num_rows else whole

    def divider(self, sides: Sequence[Sequence[Fetch]], pieces: int, depth: int) -> Divider:
        """Return what divides by the keys, in their order."""
        return KeyDivider.of(tuple((name, False) for name in self.keys), sides, pieces)

    def reduce_whole(self, sides: Sequence[Sequence[Fetch]], index: int, limit: int) -> Iterator[Block]:
        """Yield rows of equal keys as they came."""
        return (fetch() for side in sides for fetch in side)


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
            parts = [part for part in parts if part.num_columns]
            if not parts:
                yield pa.table({})
                return
            joined = join_parts(concat(parts), self.keys, self.aggregates)
            yield finish_parts(joined, self.keys, self.aggregates)
            return
        whole = concat(parts)
        yield aggregate_groups(whole, self.keys, self.aggregates) if whole.num_columns else whole

    def reduce_whole(self, sides: Sequence[Sequence[Fetch]], index: int, limit: int) -> Iterator[Block]:
        """Aggregate one group, block by block."""
        blocks = gathered(sides[0], limit)
        if self.combined:
            joined = next(blocks)
            for block in blocks:
                joined = join_parts(concat([joined, block]), self.keys, self.aggregates)
            yield from self.reduce([joined], index)
        else:
            yield aggregate_group(blocks, self.keys, self.aggregates)

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
        empty: Block = None
        for block in blocks:
            if not block.num_rows:
                empty = block if empty is None and block.num_columns else empty
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
        elif empty is not None:  # whoever joins no groups with something needs their columns nevertheless
            need_columns(empty, self.keys)
            yield self._combine([empty])

    def _combine(self, rows: Sequence[Block]) -> Block:
        return combine(concat(rows), self.keys, self.aggregates)


@attrs.frozen(kw_only=True)
class MapGroups(HashPartition):
    """Calls a function with each group of equal keys."""

    function: UserFunction
    batch_format: str
    zero_copy: bool = True

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"MapGroups({', '.join(self.keys)}; {self.function.name})"

    def reduce_whole(self, sides: Sequence[Sequence[Fetch]], index: int, limit: int) -> Iterator[Block]:
        """Call the function with one group, which it must have together."""
        return self.reduce([fetch() for fetch in sides[0]], index)

    def reduce(self, parts: Sequence[Block], index: int) -> Iterator[Block]:
        """Call the function with the groups of a partition, in the order of their keys."""
        whole = concat(parts)
        if not whole.num_rows:
            return
        # As a map whose batches are the groups: async functions and copies for writing come with it.
        groups = MapBatches(self.function, None, self.batch_format, self.zero_copy).open()
        yield from groups(iter(groups_of(whole, self.keys)))
