"""What can be done with one block or one column, for authors of aggregates, sources and sinks."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import (
    Block,
    Row,
    concat,
    from_batch,
    from_rows,
    rows_of,
    size_of,
    take_rows,
    to_batch,
    to_column,
    to_numpy,
)
from shoal.data.hashing import hash_rows
from shoal.data.ordering import order_of
from shoal.data.sources.datasource import BlockMetadata
from shoal.data.transforms import need_columns


class BlockType(enum.Enum):
    """What a block can be given as. Inside of datasets all are Arrow tables."""

    ARROW = "arrow"
    PANDAS = "pandas"


class BatchFormat(enum.Enum):
    """What a batch can be. CUDF needs cudf."""

    ARROW = "arrow"
    CUDF = "cudf"
    NUMPY = "numpy"
    PANDAS = "pandas"


class BlockBuilder:
    """Gathers rows and blocks, and makes one block of them.

    Example: `builder = BlockAccessor.builder(); builder.add({"x": 1}); builder.build()`
    """

    def __init__(self) -> None:
        self._rows: list[Mapping[str, Any]] = []
        self._blocks: list[Block] = []

    def add(self, item: Mapping[str, Any]) -> None:
        """Take in a row."""
        self._rows.append(item)

    def add_block(self, block: Any) -> None:
        """Take in a block, behind what is there."""
        self._flush()
        self._blocks.append(from_batch(block))

    def num_rows(self) -> int:
        """Return how many rows there are."""
        return len(self._rows) + sum(int(block.num_rows) for block in self._blocks)

    def build(self) -> Block:
        """Return the block. Raises ValueError for rows that do not fit together."""
        self._flush()
        return concat(self._blocks)

    def _flush(self) -> None:
        if self._rows:
            self._blocks.append(from_rows(self._rows))
            self._rows = []


class BlockAccessor:
    """What can be done with one block: an Arrow table, or anything that a batch can be, which is turned into one.

    Example: `BlockAccessor.for_block(table).sort("x")`
    """

    def __init__(self, table: Block) -> None:
        self._table = table

    @classmethod
    def for_block(cls, block: Any) -> BlockAccessor:
        """Return what can be done with a block. Raises TypeError for what is none."""
        return cls(from_batch(block))

    @classmethod
    def builder(cls) -> BlockBuilder:
        """Return what gathers rows for a block."""
        return BlockBuilder()

    @classmethod
    def batch_to_block(cls, batch: Any, block_type: BlockType | None = None) -> Any:
        """Return a batch as a block of a type (None: Arrow's)."""
        return cls.batch_to_pandas_block(batch) if block_type is BlockType.PANDAS else from_batch(batch)

    @classmethod
    def batch_to_arrow_block(cls, batch: Any) -> Block:
        """Return a batch as an Arrow table."""
        return from_batch(batch)

    @classmethod
    def batch_to_pandas_block(cls, batch: Any) -> Any:
        """Return a batch as a DataFrame."""
        return to_batch(from_batch(batch), "pandas")

    def block_type(self) -> BlockType:
        """Return what the block is: Arrow's."""
        return BlockType.ARROW

    def num_rows(self) -> int:
        """Return how many rows there are."""
        return int(self._table.num_rows)

    def size_bytes(self) -> int:
        """Return how many bytes the values take."""
        return size_of(self._table)

    def schema(self) -> Any:
        """Return the Arrow schema."""
        return self._table.schema

    def get_metadata(
        self,
        input_files: Sequence[str] | None = None,
        block_exec_stats: Any = None,
        task_exec_stats: Any = None,
    ) -> BlockMetadata:
        """Return what is known of the block, with the files it came from and what making it took."""
        return BlockMetadata(
            self.num_rows(), self.size_bytes(), input_files, block_exec_stats, task_exec_stats
        )

    def iter_rows(self, public_row_format: bool = True) -> Iterator[Row]:
        """Yield the rows as dicts of Python values; with False of Arrow's scalars."""
        if public_row_format:
            yield from rows_of(self._table)
            return
        for number in range(self._table.num_rows):
            yield {name: self._table.column(name)[number] for name in self._table.column_names}

    def to_arrow(self) -> Block:
        """Return the Arrow table."""
        return self._table

    def to_block(self) -> Block:
        """Return the block."""
        return self._table

    def to_default(self) -> Block:
        """Return the block as a dataset would keep it: an Arrow table."""
        return self._table

    def to_pandas(self) -> Any:
        """Return a DataFrame."""
        return to_batch(self._table, "pandas")

    def to_numpy(self, columns: str | Sequence[str] | None = None) -> Any:
        """Return the array of one column, or a dict of the arrays of several (None: all)."""
        if isinstance(columns, str):
            need_columns(self._table, [columns])
            return to_numpy(self._table.column(columns))
        return to_batch(self._table if columns is None else self.select(columns), "numpy")

    def to_batch_format(self, batch_format: str | None) -> Any:
        """Return a batch in one of the formats of `iter_batches`; None is the block itself."""
        from shoal.data.block import check_format

        return to_batch(self._table, check_format(batch_format))

    def slice(self, start: int, end: int, copy: bool = False) -> Block:
        """Return the rows from `start` up to `end`, with `copy` in memory of their own."""
        part = self._table.slice(start, max(0, end - start))
        return take_rows(part, np.arange(part.num_rows)) if copy else part

    def take(self, indices: Sequence[int]) -> Block:
        """Return the rows at some positions, in their order."""
        return take_rows(self._table, np.asarray(indices, dtype=np.int64))

    def select(self, columns: Sequence[str]) -> Block:
        """Return some columns. Raises KeyError for one that is not there."""
        need_columns(self._table, columns)
        return self._table.select(list(columns))

    def drop(self, columns: Sequence[str]) -> Block:
        """Return all but some columns. Raises KeyError for one that is not there."""
        need_columns(self._table, columns)
        return self._table.drop_columns(list(columns))

    def rename_columns(self, columns_rename: Mapping[str, str]) -> Block:
        """Return the columns under new names. Raises KeyError for one that is not there."""
        need_columns(self._table, list(columns_rename))
        return self._table.rename_columns(
            [columns_rename.get(name, name) for name in self._table.column_names]
        )

    def upsert_column(self, column_name: str, column_data: Any) -> Block:
        """Return the block with a column added or replaced."""
        column = to_column(column_name, column_data)
        if column_name in self._table.column_names:
            return self._table.set_column(self._table.column_names.index(column_name), column_name, column)
        return self._table.append_column(column_name, column)

    def zip(self, other: Any) -> Block:
        """Return the columns of both side by side; a name that is there already gets a number. Raises ValueError."""
        right = from_batch(other)
        if right.num_rows != self._table.num_rows:
            raise ValueError(
                f"blocks of {self._table.num_rows} and {right.num_rows} rows do not go side by side"
            )
        made = self._table
        for name, column in zip(right.column_names, right.columns, strict=True):
            free, number = name, 1
            while free in made.column_names:
                free, number = f"{name}_{number}", number + 1
            made = made.append_column(free, column)
        return made

    def random_shuffle(self, random_seed: int | None = None) -> Block:
        """Return the rows in a random order."""
        return take_rows(self._table, np.random.default_rng(random_seed).permutation(self._table.num_rows))

    def sample(self, n_samples: int = 1, sort_key: Any = None) -> Block:
        """Return some rows drawn at random, of the columns of a sort key only if one is given."""
        keys = [name for name, _ in _keys(sort_key)]
        table = self._table.select(keys) if keys else self._table
        chosen = np.random.default_rng().choice(table.num_rows, min(n_samples, table.num_rows), replace=False)
        return take_rows(table, chosen)

    def sort(self, sort_key: Any) -> Block:
        """Return the rows sorted by a column, or by several with a direction each: ("x", "descending")."""
        return take_rows(self._table, order_of(self._table, _keys(sort_key)))

    def sort_and_partition(self, boundaries: Sequence[Any], sort_key: Any) -> list[Block]:
        """Return the sorted rows cut at values of the first key: one block more than there are boundaries."""
        ordered = self.sort(sort_key)
        name, down = _keys(sort_key)[0]
        values = ordered.column(name).to_pylist()
        cuts = [_cut(values, bound[0] if isinstance(bound, tuple) else bound, down) for bound in boundaries]
        edges = [0, *cuts, len(values)]
        return [ordered.slice(low, max(0, high - low)) for low, high in pairwise(edges)]

    @staticmethod
    def merge_sorted_blocks(blocks: Sequence[Any], sort_key: Any) -> tuple[Block, BlockMetadata]:
        """Return sorted blocks as one that is sorted, and what is known of it."""
        merged = BlockAccessor(concat([from_batch(block) for block in blocks])).sort(sort_key)
        return merged, BlockMetadata(merged.num_rows, size_of(merged))

    def count(self, on: str, ignore_nulls: bool = False) -> int:
        """Return how many values a column has."""
        return int(self._column(on).count(ignore_nulls=ignore_nulls))

    def sum(self, on: str, ignore_nulls: bool = True) -> Any:
        """Return the sum of a column, None if there is none."""
        return self._column(on).sum(ignore_nulls=ignore_nulls)

    def min(self, on: str, ignore_nulls: bool = True) -> Any:
        """Return the least value of a column, None if there is none."""
        return self._column(on).min(ignore_nulls=ignore_nulls)

    def max(self, on: str, ignore_nulls: bool = True) -> Any:
        """Return the greatest value of a column, None if there is none."""
        return self._column(on).max(ignore_nulls=ignore_nulls)

    def mean(self, on: str, ignore_nulls: bool = True) -> Any:
        """Return the mean of a column, None if there is none."""
        return self._column(on).mean(ignore_nulls=ignore_nulls)

    def sum_of_squared_diffs_from_mean(
        self, on: str, ignore_nulls: bool = True, mean: float | None = None
    ) -> Any:
        """Return the sum of squared distances of a column's values from their mean, None if there is none."""
        return self._column(on).sum_of_squared_diffs_from_mean(ignore_nulls=ignore_nulls, mean=mean)

    def _column(self, name: str) -> BlockColumnAccessor:
        need_columns(self._table, [name])
        return BlockColumnAccessor(self._table.column(name))


class BlockColumnAccessor:
    """What can be done with one column: an Arrow array, or values that become one.

    With `as_py=False` values are Arrow's scalars.

    Example: `BlockColumnAccessor.for_column(table.column("x")).mean()`
    """

    def __init__(self, col: Any) -> None:
        self._col = col

    @classmethod
    def for_column(cls, col: Any) -> BlockColumnAccessor:
        """Return what can be done with a column. Raises ValueError for values that make none."""
        return cls(to_column("column", col if hasattr(col, "__len__") else list(col)))

    def count(self, *, ignore_nulls: bool = False, as_py: bool = True) -> Any:
        """Return how many values there are."""
        return _given(pc.count(self._col, mode="only_valid" if ignore_nulls else "all"), as_py)

    def sum(self, *, ignore_nulls: bool = True, as_py: bool = True) -> Any:
        """Return the sum."""
        return _given(pc.sum(self._col, skip_nulls=ignore_nulls), as_py)

    def min(self, *, ignore_nulls: bool = True, as_py: bool = True) -> Any:
        """Return the least value."""
        return _given(pc.min(self._col, skip_nulls=ignore_nulls), as_py)

    def max(self, *, ignore_nulls: bool = True, as_py: bool = True) -> Any:
        """Return the greatest value."""
        return _given(pc.max(self._col, skip_nulls=ignore_nulls), as_py)

    def mean(self, *, ignore_nulls: bool = True, as_py: bool = True) -> Any:
        """Return the mean."""
        return _given(pc.mean(self._col, skip_nulls=ignore_nulls), as_py)

    def quantile(self, *, q: float, ignore_nulls: bool = True, as_py: bool = True) -> Any:
        """Return the value below which a share `q` of the values lie, between two values by proportion."""
        return _given(pc.quantile(self._col, q=q, skip_nulls=ignore_nulls)[0], as_py)

    def sum_of_squared_diffs_from_mean(
        self, ignore_nulls: bool = True, mean: float | None = None, as_py: bool = True
    ) -> Any:
        """Return the sum of squared distances from the mean, or from another number."""
        middle = self.mean(ignore_nulls=ignore_nulls) if mean is None else mean
        if middle is None:
            return None
        apart = pc.subtract(pc.cast(self._col, pa.float64()), middle)
        return _given(pc.sum(pc.multiply(apart, apart), skip_nulls=ignore_nulls), as_py)

    def unique(self) -> Any:
        """Return the different values."""
        return pc.unique(self._col)

    def value_counts(self) -> dict[str, list[Any]] | None:
        """Return the different values and how often each is there; None of an empty column."""
        if not len(self._col):
            return None
        found = pc.value_counts(self._col)
        return {"values": found.field("values").to_pylist(), "counts": found.field("counts").to_pylist()}

    def hash(self) -> Any:
        """Return a number of 64 bits for each value, equal for equal values in every process."""
        return pa.array(hash_rows([self._col], len(self._col)))

    def flatten(self) -> Any:
        """Return the values of lists, one after the other."""
        return pc.list_flatten(self._col)

    def dropna(self) -> Any:
        """Return the values that are there: neither null nor not a number."""
        kept = pc.drop_null(self._col)
        return kept.filter(pc.invert(pc.is_nan(kept))) if pa.types.is_floating(kept.type) else kept

    def is_composed_of_lists(self) -> bool:
        """Tell whether values are lists."""
        kind = self._col.type
        tests = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
        return any(test(kind) for test in tests)

    def to_pylist(self) -> list[Any]:
        """Return the values as Python's."""
        found: list[Any] = self._col.to_pylist()
        return found

    def to_numpy(self, zero_copy_only: bool = False) -> Any:
        """Return the values as an array; raises ArrowInvalid where it had to be copied and must not."""
        if zero_copy_only:
            combined = self._col.combine_chunks() if isinstance(self._col, pa.ChunkedArray) else self._col
            return combined.to_numpy(zero_copy_only=True)
        return to_numpy(self._col)


def _given(scalar: Any, as_py: bool) -> Any:
    return scalar.as_py() if as_py else scalar


def _keys(sort_key: Any) -> list[tuple[str, bool]]:
    """A sort key as names and whether each falls: of a name, of pairs (name, order), or of what has both."""
    if sort_key is None:
        return []
    if hasattr(sort_key, "to_arrow_sort_args"):
        sort_key = sort_key.to_arrow_sort_args()
    given = [sort_key] if isinstance(sort_key, (str, tuple)) else list(sort_key)
    pairs = [(each, "ascending") if isinstance(each, str) else each for each in given]
    return [(name, order in (True, "descending")) for name, order in pairs]


def _cut(values: Sequence[Any], bound: Any, down: bool) -> int:
    """The first place at which values are at the boundary or behind it; nulls come last."""
    return sum(1 for value in values if value is not None and (value > bound if down else value < bound))
