"""Verbs that give rows to the program: they execute the plan."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from typing import Any

import shoal
from shoal.data.block import Block, Row, check_format, concat, rows_of, to_batch, to_numpy
from shoal.data.checks import check_count
from shoal.data.plan.logical import Limit, Map
from shoal.data.transforms import Project
from shoal.data.verbs.base import Planned
from shoal.data.verbs.feeding import Feeding


class Consuming(Planned, Feeding):
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

    def columns(self, fetch_if_missing: bool = True) -> list[str] | None:
        """Return the names of the columns; None for a dataset without rows. `fetch_if_missing` is as of `schema`.

        Example: `ds.columns()`
        """
        found = self.schema(fetch_if_missing)
        return None if found is None else found.names

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
