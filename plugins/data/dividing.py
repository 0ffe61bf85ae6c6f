"""Cutting blocks: by numbers that were chosen for rows, and by keys between bounds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import Block, concat, decoded, take_rows
from shoal.data.external import Divider, Fetch, Piece
from shoal.data.hashing import hash_rows
from shoal.data.ordering import order_of
from shoal.data.radix import words_of

_SAMPLES = 200  # rows of each block that bounds are drawn from

Keys = Sequence[tuple[str, bool]]  # name, whether descending


def parts_by(block: Block, chosen: Any, partitions: int) -> list[Block]:
    """Return a block cut by the partition chosen for each row; rows keep their order.

    Example: `parts_by(table, np.arange(table.num_rows) % 2, 2)`
    """
    if not block.num_columns:
        return [block] * partitions
    # Numbers of 16 bits are sorted by radix, several times faster than wider ones.
    narrow = chosen.astype(np.uint16) if partitions <= 2**16 else chosen
    ordered = take_rows(block, np.argsort(narrow, kind="stable"))
    edges = np.concatenate([[0], np.cumsum(np.bincount(chosen, minlength=partitions))]).tolist()
    return [ordered.slice(start, end - start) for start, end in pairwise(edges)]


def some_keys(block: Block, keys: Keys) -> Block:
    """Return the keys of some rows of a block.

    Example: `some_keys(table, [("id", False)])`
    """
    rows = block.select([name for name, _ in keys])
    step = max(1, rows.num_rows // _SAMPLES)
    return rows.take(pa.array(np.arange(0, rows.num_rows, step)))


def bounds_of(samples: Sequence[Block], keys: Keys, partitions: int) -> Block:
    """Return the keys at which each partition but the first begins, as a table.

    Example: `bounds_of([some_keys(table, keys)], keys, 4)`
    """
    whole = concat(samples)
    if not whole.num_rows:
        return whole.slice(0, 0)
    ordered = take_rows(whole, order_of(whole, keys))
    places = np.unique(np.arange(1, partitions) * ordered.num_rows // partitions)
    return ordered.take(pa.array(places))


def cut_at(block: Block, keys: Keys, bounds: Block) -> list[Block]:
    """Return a block, cut at bounds of its keys: one part more than there are bounds.

    A row equal to a bound comes after it. Rows of equal keys keep their order.

    Example: `cut_at(table, keys, bounds_of([some_keys(table, keys)], keys, 4))`
    """
    names = [name for name, _ in keys]
    count = bounds.num_rows
    if len(keys) == 1 and bounds.schema.types == block.select(names).schema.types:
        words = [words_of(table.column(names[0]), keys[0][1]) for table in (bounds, block)]
        if words[0] is not None and words[1] is not None:
            return parts_by(block, np.searchsorted(words[0], words[1], side="right"), count + 1)
    # The bounds are sorted among the rows: where they come to lie is where to cut, whatever the types of the keys
    # and however many. Sorting is stable, so a row equal to a bound comes after it.
    order = order_of(concat([bounds.select(names), block.select(names)]), keys)
    is_bound = order < count
    cuts = np.flatnonzero(is_bound) - np.arange(count)
    ordered = take_rows(block, order[~is_bound] - count)
    edges = [0, *cuts.tolist(), block.num_rows]
    return [ordered.slice(start, end - start) for start, end in pairwise(edges)]


@attrs.frozen(eq=False)
class KeyDivider(Divider):
    """Divides by keys between bounds, in the order of the keys. Rows equal to a bound are a piece of their own.

    So a key that many rows have is alone in its piece, however large that is.
    """

    keys: tuple[tuple[str, bool], ...]
    bounds: Block

    @classmethod
    def of(cls, keys: Keys, sides: Sequence[Sequence[Fetch]], pieces: int) -> KeyDivider:
        """Return what divides blocks into about so many pieces, by samples of them.

        Example: `KeyDivider.of((("id", False),), [fetches], 8)`
        """
        blocks = (fetch() for side in sides for fetch in side)
        bounds = bounds_of([some_keys(block, keys) for block in blocks if block.num_rows], keys, pieces)
        seen: dict[str, int] = {}
        for place, row in enumerate(bounds.to_pylist()):
            seen.setdefault(repr(row), place)
        return cls(tuple(keys), bounds.take(pa.array(list(seen.values()), pa.int64())))

    def divide(self, block: Block, side: int) -> Iterator[Piece]:
        """Yield the parts of a block."""
        if not block.num_rows:
            yield Piece(0, block)
            return
        parts = cut_at(block, self.keys, self.bounds)
        yield Piece(0, parts[0])
        for place, part in enumerate(parts[1:]):
            equal = self._equal(part, place)
            yield Piece(2 * place + 1, take_rows(part, np.flatnonzero(equal)), whole=True)
            yield Piece(2 * place + 2, take_rows(part, np.flatnonzero(~equal)))

    def _equal(self, part: Block, place: int) -> Any:
        """Which rows are equal to a bound."""
        same = np.ones(part.num_rows, dtype=bool)
        for name, _ in self.keys:
            column, bound = decoded(part.column(name)), decoded(self.bounds.column(name))[place]
            if not bound.is_valid:
                found = pc.is_null(column)
            elif pa.types.is_floating(bound.type) and np.isnan(bound.as_py()):
                found = pc.is_nan(column)
            else:
                found = pc.equal(column, bound)
            same &= pc.fill_null(found, False).to_numpy().astype(bool)
        return same


@attrs.frozen(eq=False)
class HashDivider(Divider):
    """Divides by the hash of the keys of each side."""

    takes_any = True

    keys: tuple[tuple[str, ...], ...]  # of each side
    pieces: int
    depth: int

    def divide(self, block: Block, side: int) -> Iterator[Piece]:
        """Yield the parts of a block."""
        if not block.num_rows:
            yield Piece(0, block)
            return
        columns = [block.column(name) for name in self.keys[side]]
        chosen = hash_rows(columns, block.num_rows, salt=self.depth + 1) % np.uint64(self.pieces)
        for number, part in enumerate(parts_by(block, chosen.astype(np.int64), self.pieces)):
            yield Piece(number, part)


@attrs.frozen(eq=False)
class ShuffleDivider(Divider):
    """Gives each row to a random piece."""

    pieces: int
    random: Any

    def divide(self, block: Block, side: int) -> Iterator[Piece]:
        """Yield the parts of a block."""
        chosen = self.random.integers(self.pieces, size=block.num_rows)
        for number, part in enumerate(parts_by(block, chosen, self.pieces)):
            yield Piece(number, part)
