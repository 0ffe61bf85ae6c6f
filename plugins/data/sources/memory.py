"""Sources that are computed or lie in the program's memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.block import ITEM_COLUMN, Block, from_rows, size_of, to_column
from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask

_ROWS_AT_A_TIME = 2**18


def cut(length: int, pieces: int) -> list[tuple[int, int]]:
    """Return the bounds of `pieces` stretches of nearly equal length; fewer if there is not one item for each.

    Example: `cut(5, 2)  # [(0, 2), (2, 5)]`
    """
    pieces = max(1, min(pieces, length))
    return [(length * number // pieces, length * (number + 1) // pieces) for number in range(pieces)]


@attrs.frozen(eq=False)
class RangeDatasource(Datasource):
    """The whole numbers from 0 to `rows`, or tensors of `shape` full of each.

    Example: `read_datasource(RangeDatasource(1000))`
    """

    rows: int
    shape: tuple[int, ...] | None = None

    def estimate_inmemory_data_size(self) -> int:
        """Return how many bytes all rows take."""
        return 8 * self.rows * math.prod(self.shape or (1,))

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of the range."""
        return [
            ReadTask(_Stretch(start, stop, self.shape), BlockMetadata(stop - start))
            for start, stop in cut(self.rows, parallelism)
        ]

    def describe(self) -> str:
        """Return what a person calls this source."""
        return f"Range({self.rows})"


@attrs.frozen
class _Stretch:
    start: int
    stop: int
    shape: tuple[int, ...] | None

    def __call__(self) -> Iterable[Block]:
        step = max(1, _ROWS_AT_A_TIME // math.prod(self.shape or (1,)))
        for low in range(self.start, self.stop, step) or [self.start]:
            numbers = np.arange(low, min(low + step, self.stop), dtype=np.int64)
            if self.shape is None:
                yield pa.table({"id": numbers})
            else:
                whole = np.broadcast_to(
                    numbers.reshape(-1, *[1] * len(self.shape)), (len(numbers), *self.shape)
                )
                yield pa.table({"data": to_column("data", whole)})


@attrs.frozen(eq=False)
class ItemsDatasource(Datasource):
    """Items of the program: mappings are rows, anything else becomes the column "item".

    Example: `read_datasource(ItemsDatasource([{"x": 1}, {"x": 2}]))`
    """

    items: Sequence[Any]

    def estimate_inmemory_data_size(self) -> int | None:
        """Return how many bytes all rows take, judged by the first ones."""
        first = self.items[:100]
        return size_of(_rows(first)) * len(self.items) // len(first) if first else 0

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of the items. The values of each make one table, here, so that wrong ones show at once."""
        tables = [_rows(self.items[start:stop]) for start, stop in cut(len(self.items), parallelism)]
        return [ReadTask(_Given(table), BlockMetadata(table.num_rows), table.schema) for table in tables]


@attrs.frozen(eq=False)
class _Given:
    table: Block

    def __call__(self) -> Iterable[Block]:
        return [self.table]


def _rows(items: Sequence[Any]) -> Block:
    return from_rows([item if isinstance(item, Mapping) else {ITEM_COLUMN: item} for item in items])


@attrs.frozen(eq=False)
class RandomIntRowDatasource(Datasource):
    """`n` rows of random whole numbers of 64 bits, in the columns "c_0", "c_1" and so on: another draw for each piece.

    With a seed (a task that is tried again gives the same rows) it draws the same in each execution.

    Example: `read_datasource(RandomIntRowDatasource(1000, num_columns=3))`
    """

    n: int
    num_columns: int = 1
    seed: int = attrs.field(factory=lambda: int(np.random.default_rng().integers(2**31)), kw_only=True)

    def estimate_inmemory_data_size(self) -> int | None:
        """Return the bytes of all rows."""
        return self.n * self.num_columns * 8

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of rows."""
        return [
            ReadTask(_Drawn(stop - start, self.num_columns, (self.seed, start)), BlockMetadata(stop - start))
            for start, stop in cut(self.n, parallelism)
        ]


@attrs.frozen(eq=False)
class _Drawn:
    rows: int
    columns: int
    seed: tuple[int, int]

    def __call__(self) -> Iterator[Block]:
        random = np.random.default_rng(self.seed)
        drawn = {f"c_{number}": random.integers(2**63 - 1, size=self.rows) for number in range(self.columns)}
        yield pa.table(drawn)
