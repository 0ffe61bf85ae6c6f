"""The functions that make datasets of what the program has."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import shoal
from shoal.data.block import DEFAULT_COLUMN, Block, concat, from_batch, size_of, to_column
from shoal.data.checks import check_count
from shoal.data.context import DataContext
from shoal.data.dataset import Dataset, MaterializedDataset
from shoal.data.execution.bundle import Bundle
from shoal.data.plan.logical import InputBlocks
from shoal.data.reading import read_datasource
from shoal.data.sources.memory import ItemsDatasource, RangeDatasource, cut
from shoal.errors import describe


def range(n: int, **how: Any) -> Dataset:  # noqa: A001  the reference's name
    """Return the whole numbers from 0 up to `n` in the column "id"; `how` is as of `read_datasource`.

    Example: `shoal.data.range(1000)`
    """
    check_count("n", n, 0, optional=False)
    return read_datasource(RangeDatasource(n), **how)


def range_tensor(n: int, *, shape: tuple[int, ...] = (1,), **how: Any) -> Dataset:
    """Return tensors of a shape in the column "data", each full of its own number.

    Example: `shoal.data.range_tensor(10, shape=(2, 2))`
    """
    check_count("n", n, 0, optional=False)
    return read_datasource(RangeDatasource(n, tuple(shape)), **how)


def from_items(items: Sequence[Any], **how: Any) -> Dataset:
    """Return a dataset of items: mappings are rows, anything else becomes the column "item".

    Raises TypeError and ValueError for values of one column that do not fit together, when the dataset is executed.

    Example: `shoal.data.from_items([{"x": 1}, {"x": 2}])`
    """
    if isinstance(items, (str, bytes)) or not isinstance(items, Iterable):
        raise TypeError(f"a list of items is needed, not {describe(items)}")
    return read_datasource(ItemsDatasource(list(items)), **how)


def from_arrow(tables: Any, *, override_num_blocks: int | None = None) -> MaterializedDataset:
    """Return a dataset of one or more Arrow tables.

    Example: `shoal.data.from_arrow(pyarrow.table({"x": [1, 2]}))`
    """
    given = list(tables) if isinstance(tables, (list, tuple)) else [tables]
    return _stored([from_batch(table) for table in given], override_num_blocks)


def from_pandas(dfs: Any, override_num_blocks: int | None = None) -> MaterializedDataset:
    """Return a dataset of one or more DataFrames; their indexes are left out.

    Example: `shoal.data.from_pandas(frame)`
    """
    given = list(dfs) if isinstance(dfs, (list, tuple)) else [dfs]
    return _stored([from_batch(frame) for frame in given], override_num_blocks)


def from_numpy(ndarrays: Any) -> MaterializedDataset:
    """Return a dataset of one or more arrays in the column "data".

    Example: `shoal.data.from_numpy(np.zeros((100, 32, 32)))`
    """
    given = list(ndarrays) if isinstance(ndarrays, (list, tuple)) else [ndarrays]
    return _stored([from_batch({DEFAULT_COLUMN: to_column(DEFAULT_COLUMN, array)}) for array in given], None)


def from_blocks(blocks: Sequence[Any]) -> MaterializedDataset:
    """Return a dataset with each of these tables or batches as a block.

    Example: `shoal.data.from_blocks([table, more])`
    """
    return _stored([from_batch(block) for block in blocks], None)


def from_arrow_refs(tables: Any) -> MaterializedDataset:
    """Return a dataset of tables that references name; they stay where they are.

    Example: `shoal.data.from_arrow_refs([shoal.put(table)])`
    """
    refs = list(tables) if isinstance(tables, (list, tuple)) else [tables]
    facts = shoal.get([shoal.remote(_facts).remote(ref) for ref in refs])
    return _made([Bundle(ref, *each) for ref, each in zip(refs, facts, strict=True)])


def _facts(table: Block) -> tuple[int, int, Any]:
    return table.num_rows, size_of(table), table.schema


def _stored(tables: list[Block], blocks: int | None) -> MaterializedDataset:
    if blocks is not None:
        whole = concat(tables)
        tables = [whole.slice(start, stop - start) for start, stop in cut(whole.num_rows, blocks)]
    return _made([Bundle(shoal.put(table), *_facts(table)) for table in tables])


def _made(bundles: list[Bundle]) -> MaterializedDataset:
    return MaterializedDataset(InputBlocks(tuple(bundles)), DataContext.get_current().copy())
