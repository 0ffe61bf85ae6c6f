"""Verbs that give rows to the program: they execute the plan."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import shoal
from shoal.data.block import Block, Row, check_format, concat, rows_of, to_batch, to_numpy
from shoal.data.checks import check_count
from shoal.data.iteration import ahead, shuffled
from shoal.data.plan.logical import Limit, Map
from shoal.data.schema import Schema
from shoal.data.transforms import Project, batches_of
from shoal.data.verbs.base import Planned
from shoal.interfaces.current import current


class Iterating(Planned):
    """Loops over rows and batches."""

    def iter_rows(self) -> Iterator[Row]:
        """Yield each row as a dict of Python values, while the rest is still computed.

        Example: `for row in ds.iter_rows(): ...`
        """
        for table in self._blocks():
            yield from rows_of(table)

    def iter_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        batch_format: str | None = "default",
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterator[Any]:
        """Yield batches of `batch_size` rows (None: whole blocks), while the rest is still computed.

        Parameters: `prefetch_batches` is how many are made ready ahead, by a thread; 0 makes none. `batch_format` is
        "numpy", "pandas" or "pyarrow". `drop_last` leaves out a last batch that is not full. With
        `local_shuffle_buffer_size` rows are drawn at random from a buffer of at least so many.
        Raises ValueError for wrong parameters, and what the plan raises.

        Example: `for batch in ds.iter_batches(batch_size=128): train(batch["x"])`
        """
        check_count("batch_size", batch_size)
        kind = check_format(batch_format)
        check_count("prefetch_batches", prefetch_batches, 0, optional=False)
        check_count("local_shuffle_buffer_size", local_shuffle_buffer_size)
        if drop_last and batch_size is None:
            raise ValueError("drop_last=True needs a batch_size")

        def batches() -> Iterator[Any]:
            blocks: Iterable[Block] = self._blocks()
            if local_shuffle_buffer_size is not None:
                blocks = shuffled(blocks, local_shuffle_buffer_size, batch_size, local_shuffle_seed)
            for table in batches_of(blocks, batch_size, drop_last):
                yield to_batch(table, kind)

        if prefetch_batches and self._runs_elsewhere():
            return ahead(batches(), prefetch_batches)
        return batches()

    def iter_torch_batches(
        self,
        *,
        prefetch_batches: int = 1,
        batch_size: int | None = 256,
        dtypes: Any = None,
        device: str = "auto",
        collate_fn: Callable[[Any], Any] | None = None,
        drop_last: bool = False,
        local_shuffle_buffer_size: int | None = None,
        local_shuffle_seed: int | None = None,
    ) -> Iterator[Any]:
        """Yield batches as dicts of torch tensors, or what `collate_fn` makes of each dict of arrays.

        Parameters: `dtypes` is a torch type for all columns, or a mapping of columns to types; `device` is where
        tensors go ("auto": cuda if there is one). The others are those of `iter_batches`. Needs torch.

        Example: `for batch in ds.iter_torch_batches(batch_size=32): model(batch["x"])`
        """
        from shoal.data.tensors import to_tensors

        batches = self.iter_batches(
            prefetch_batches=prefetch_batches,
            batch_size=batch_size,
            drop_last=drop_last,
            local_shuffle_buffer_size=local_shuffle_buffer_size,
            local_shuffle_seed=local_shuffle_seed,
        )
        if collate_fn is not None:
            return map(collate_fn, batches)
        return (to_tensors(batch, dtypes, device) for batch in batches)

    def schema(self) -> Schema | None:
        """Return the columns and their types; None for a dataset without rows. May compute the first rows.

        Example: `ds.schema().names`
        """
        found = self._schema()
        return None if found is None else Schema(found)

    @staticmethod
    def _runs_elsewhere() -> bool:
        """Whether a thread that waits for blocks leaves the program's thread anything to gain."""
        engine = current.engine
        return engine is None or "processes" in engine.capabilities


class Consuming(Iterating):
    """take, count, to_pandas and their like."""

    def take(self, limit: int = 20) -> list[Row]:
        """Return the first rows.

        Example: `ds.take(3)`
        """
        return list(itertools.islice(self._first(limit), limit))

    def take_all(self, limit: int | None = None) -> list[Row]:
        """Return all rows. Raises ValueError if there are more than `limit`.

        Example: `ds.take_all()`
        """
        rows: list[Row] = []
        for row in self.iter_rows():
            rows.append(row)
            if limit is not None and len(rows) > limit:
                raise ValueError(f"the dataset has more than {limit} rows; use take() or iter_rows()")
        return rows

    def take_batch(self, batch_size: int = 20, *, batch_format: str | None = "default") -> Any:
        """Return the first rows as one batch. Raises ValueError for a dataset without rows.

        Example: `ds.take_batch(10)["id"]`
        """
        check_count("batch_size", batch_size)
        kind = check_format(batch_format)
        whole = concat(list(self._blocks(Limit(self._plan, batch_size))))
        if not whole.num_rows:
            raise ValueError("the dataset has no rows to take")
        return to_batch(whole, kind)

    def show(self, limit: int = 20) -> None:
        """Print the first rows.

        Example: `ds.show(3)`
        """
        for row in self.take(limit):
            print(row)  # noqa: T201  it is what this is for

    def count(self) -> int:
        """Return how many rows there are. The blocks stay where they are.

        Example: `ds.count()`
        """
        return sum(bundle.rows for bundle in self._bundles())

    def columns(self) -> list[str] | None:
        """Return the names of the columns; None for a dataset without rows.

        Example: `ds.columns()`
        """
        found = self._schema()
        return None if found is None else list(found.names)

    def size_bytes(self) -> int:
        """Return how many bytes the rows take in memory.

        Example: `ds.size_bytes()`
        """
        return sum(bundle.size for bundle in self._bundles())

    def to_pandas(self, limit: int | None = None) -> Any:
        """Return all rows as a DataFrame. Raises ValueError if there are more than `limit`.

        Example: `ds.to_pandas()`
        """
        tables: list[Block] = []
        rows = 0
        for table in self._blocks():
            tables.append(table)
            rows += table.num_rows
            if limit is not None and rows > limit:
                raise ValueError(f"the dataset has more than {limit} rows; use ds.limit({limit}).to_pandas()")
        return to_batch(concat(tables), "pandas")

    def to_arrow_refs(self) -> list[Any]:
        """Return references to the blocks, which are Arrow tables.

        Example: `shoal.get(ds.to_arrow_refs())`
        """
        return [bundle.ref for bundle in self._bundles()]

    def to_numpy_refs(self, *, column: str | None = None) -> list[Any]:
        """Return references to the blocks as dicts of arrays, or as the arrays of one column.

        Example: `shoal.get(ds.to_numpy_refs(column="id"))`
        """
        return [shoal.put(_arrays(block, column)) for block in self._blocks()]

    def to_pandas_refs(self) -> list[Any]:
        """Return references to the blocks as DataFrames.

        Example: `shoal.get(ds.to_pandas_refs())`
        """
        return [shoal.put(to_batch(block, "pandas")) for block in self._blocks()]

    def unique(self, column: str, ignore_nulls: bool = False) -> list[Any]:
        """Return the different values of a column.

        Example: `ds.unique("city")`
        """
        import pyarrow.compute as pc

        seen: dict[Any, None] = {}
        for table in self._blocks(Map(self._plan, (Project(((column, column),)),))):
            if table.num_rows:
                seen.update(dict.fromkeys(pc.unique(table.column(column)).to_pylist()))
        return [value for value in seen if not (ignore_nulls and value is None)]

    def __iter__(self) -> Iterator[Row]:
        return self.iter_rows()

    def __len__(self) -> int:
        raise TypeError(
            "a dataset is lazy and does not know its length; count() computes it, materialize() keeps what it computes"
        )

    def _first(self, limit: int) -> Iterator[Row]:
        check_count("limit", limit, 0, optional=False)
        for table in self._blocks(Limit(self._plan, limit)):
            yield from rows_of(table)


def _arrays(block: Block, column: str | None) -> Mapping[str, Any] | Any:
    return to_batch(block, "numpy") if column is None else to_numpy(block.column(column))
