"""Reduces a partition that is larger than memory: it is divided on disk, and its pieces are reduced one by one."""

from __future__ import annotations

import mmap
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import attrs
import pyarrow as pa

from shoal.data.block import Block, concat, size_of

Fetch = Callable[[], Block]  # gives one block; it is called again if the block is needed again
_MOST_PIECES = 64
_MOST_DEPTH = 6  # after which what cannot be divided is taken whole
_STUCK = 0.9  # a piece that has so much of what was divided would not be divided the next time either
_ROWS_AT_A_TIME = 2**16


def gathered(fetches: Sequence[Fetch], size: int) -> Iterator[Block]:
    """Yield blocks put together to about `size` bytes each.

    Example: `for block in gathered(fetches, 2**20): ...`
    """
    kept: list[Block] = []
    held = 0
    for fetch in fetches:
        kept.append(fetch())
        held += size_of(kept[-1])
        if held >= size:
            yield concat(kept)
            kept, held = [], 0
    if kept:
        yield concat(kept)


@attrs.frozen
class Piece:
    """Where the rows of a block go: `number` is the piece, `whole` that its rows need not be divided further."""

    number: int
    rows: Block
    whole: bool = False


class Divides(Protocol):
    """What an exchange must be able to do, so that its partitions may be larger than memory."""

    def divider(self, sides: Sequence[Sequence[Fetch]], pieces: int, depth: int) -> Divider:
        """Return what divides the blocks of a partition."""

    def reduce_sides(self, sides: Sequence[Sequence[Block]], index: int) -> Iterator[Block]:
        """Yield what comes of a partition that fits in memory."""

    def reduce_whole(self, sides: Sequence[Sequence[Fetch]], index: int, limit: int) -> Iterator[Block]:
        """Yield what comes of rows that cannot be divided; they may be larger than memory."""


class Divider(ABC):
    """Divides the blocks of one partition: pieces are reduced in the order of their numbers."""

    takes_any = False  # whether `reduce_whole` takes rows that are not said to be whole

    @abstractmethod
    def divide(self, block: Block, side: int) -> Iterator[Piece]:
        """Yield the parts of a block. Rows of one piece keep their order."""


def reduce_large(
    exchange: Divides, sides: Sequence[Sequence[Fetch]], index: int, limit: int, depth: int = 0
) -> Iterator[Block]:
    """Yield what comes of a partition of blocks that are fetched one at a time.

    At most about `limit` bytes of rows are held at a time, besides what a function of the user's or a group must have
    together. The rest lies in files without a name, which go with the process.

    Example: `reduce_large(Sort(keys=(("id", False),)), [fetches], 0, 64 * 2**20)`
    """
    sizes = [[size_of(fetch()) for fetch in side] for side in sides]
    total = sum(map(sum, sizes))
    if total <= limit:
        yield from exchange.reduce_sides([[fetch() for fetch in side] for side in sides], index)
        return
    pieces = max(2, min(_MOST_PIECES, -(-2 * total // limit)))
    divider = exchange.divider(sides, pieces, depth)
    with _Spill(len(sides)) as spill:
        for number, side in enumerate(sides):
            for fetch in side:
                for piece in divider.divide(fetch(), number):
                    spill.add(piece, number)
        for number in spill.numbers():
            parts, size = spill.fetches(number), spill.size(number)
            if size <= limit:
                yield from exchange.reduce_sides([[fetch() for fetch in side] for side in parts], index)
            elif spill.is_whole(number) or (
                divider.takes_any and (size > _STUCK * total or depth >= _MOST_DEPTH)
            ):
                yield from exchange.reduce_whole(parts, index, limit)
            elif depth >= _MOST_DEPTH:
                yield from exchange.reduce_sides([[fetch() for fetch in side] for side in parts], index)
            else:
                yield from reduce_large(exchange, parts, index, limit, depth + 1)
            spill.drop(number)


class _Spill:
    """Pieces on disk, side by side."""

    def __init__(self, sides: int) -> None:
        self._sides = sides
        self._files: dict[int, list[list[_File]]] = {}
        self._whole: dict[int, bool] = {}
        self._empty: dict[int, Block] = {}  # what tells the columns of a side that has no rows in a piece

    def __enter__(self) -> _Spill:
        return self

    def __exit__(self, *_: object) -> None:
        for number in list(self._files):
            self.drop(number)

    def add(self, piece: Piece, side: int) -> None:
        if not piece.rows.num_rows:
            self._empty.setdefault(side, piece.rows)
            return
        self._empty[side] = piece.rows.slice(0, 0)
        files = self._files.setdefault(piece.number, [[] for _ in range(self._sides)])[side]
        self._whole[piece.number] = piece.whole
        if not files or not files[-1].schema.equals(piece.rows.schema):  # blocks of a source may differ
            files.append(_File(piece.rows.schema))
        files[-1].add(piece.rows)

    def numbers(self) -> list[int]:
        for files in self._each():
            files.finish()
        return sorted(self._files)

    def fetches(self, number: int) -> list[list[Fetch]]:
        found = [[fetch for file in side for fetch in file.fetches()] for side in self._files[number]]
        return [
            fetches or [lambda side=side: self._empty[side]] if side in self._empty else fetches  # type: ignore[misc]
            for side, fetches in enumerate(found)
        ]

    def size(self, number: int) -> int:
        return sum(file.size for side in self._files[number] for file in side)

    def is_whole(self, number: int) -> bool:
        return self._whole[number]

    def drop(self, number: int) -> None:
        for side in self._files.pop(number):
            for file in side:
                file.close()

    def _each(self) -> Iterator[_File]:
        return (file for piece in self._files.values() for side in piece for file in side)


class _File:
    """Tables of one schema in a file without a name, which is read as memory that the system may take away."""

    def __init__(self, schema: Any) -> None:
        self.schema = schema
        self.size = 0
        self._file = tempfile.TemporaryFile(prefix="shoal-data-")  # noqa: SIM115  closed by `close`
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, "w"), schema)
        self._batches: list[Block] = []

    def add(self, table: Block) -> None:
        self.size += size_of(table)
        self._writer.write_table(table, max_chunksize=_ROWS_AT_A_TIME)

    def finish(self) -> None:
        self._writer.close()
        self._file.flush()

    def fetches(self) -> list[Fetch]:
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        reader = pa.ipc.open_stream(pa.py_buffer(mapped))
        return [lambda batch=batch: pa.Table.from_batches([batch]) for batch in reader]  # type: ignore[misc]

    def close(self) -> None:
        self._file.close()
