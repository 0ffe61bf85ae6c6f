"""The functions that make datasets of what the program has."""

from __future__ import annotations

import builtins
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import shoal
from shoal.data.block import DEFAULT_COLUMN, Block, compact, concat, from_batch, size_of, to_column
from shoal.data.checks import check_count
from shoal.data.context import DataContext
from shoal.data.dataset import Dataset, MaterializedDataset
from shoal.data.execution.bundle import Bundle
from shoal.data.keywords import SourceKeywords
from shoal.data.plan.logical import InputBlocks
from shoal.data.reading import read_datasource
from shoal.data.sources.collections import IndexedDatasource, IteratedDatasource
from shoal.data.sources.memory import ItemsDatasource, RangeDatasource, cut
from shoal.errors import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack

if TYPE_CHECKING:
    pass


def range(n: int, **how: Unpack[SourceKeywords]) -> Dataset:  # noqa: A001  the reference's name
    """Return the whole numbers from 0 up to `n` in the column "id"; `how` is as of `read_datasource`.

    Example: `shoal.data.range(1000)`
    """
    check_count("n", n, 0, optional=False)
    return read_datasource(RangeDatasource(n), **how)


def range_tensor(n: int, *, shape: tuple[int, ...] = (1,), **how: Unpack[SourceKeywords]) -> Dataset:
    """Return tensors of a shape in the column "data", each full of its own number.

    Example: `shoal.data.range_tensor(10, shape=(2, 2))`
    """
    check_count("n", n, 0, optional=False)
    return read_datasource(RangeDatasource(n, tuple(shape)), **how)


def from_items(items: Sequence[Any], **how: Unpack[SourceKeywords]) -> Dataset:
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


def from_numpy_refs(ndarrays: Any) -> MaterializedDataset:
    """Return a dataset of arrays that references name, in the column "data".

    Example: `shoal.data.from_numpy_refs([shoal.put(np.zeros(3))])`
    """
    refs = list(ndarrays) if isinstance(ndarrays, (list, tuple)) else [ndarrays]
    return _converted([shoal.remote(num_returns=2)(_from_array).remote(ref) for ref in refs])


def from_pandas_refs(dfs: Any) -> MaterializedDataset:
    """Return a dataset of DataFrames that references name.

    Example: `shoal.data.from_pandas_refs([shoal.put(frame)])`
    """
    refs = list(dfs) if isinstance(dfs, (list, tuple)) else [dfs]
    return _converted([shoal.remote(num_returns=2)(_from_frame).remote(ref) for ref in refs])


def from_torch(dataset: Any, local_read: bool = False, **how: Unpack[SourceKeywords]) -> Dataset:
    """Return a dataset of a torch dataset's items: mappings are rows, anything else becomes the column "item".

    One that has a length is read by several tasks, another one by a single task. It travels to them by pickling;
    with `local_read` it is read here and now instead, as files that only this machine has need it.

    Example: `shoal.data.from_torch(torchvision_dataset)`
    """
    if local_read:
        numbers = hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")
        items = (dataset[number] for number in builtins.range(len(dataset))) if numbers else iter(dataset)
        return from_items(list(items), **how).materialize()
    if hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__"):
        return read_datasource(IndexedDatasource(dataset), **how)
    if isinstance(dataset, Iterable):
        return read_datasource(IteratedDatasource(dataset), **how)
    raise TypeError(f"a torch dataset is needed, not {describe(dataset)}")


def from_huggingface(dataset: Any, **how: Unpack[SourceKeywords]) -> Dataset:
    """Return a dataset of one of Hugging Face's. Its Arrow tables are taken as they are; a stream is read by one task.

    Raises TypeError for anything else, and for a dict of datasets: choose one of its splits.

    Example: `shoal.data.from_huggingface(datasets.Dataset.from_dict({"x": [1, 2]}))`
    """
    if type(dataset).__module__.partition(".")[0] != "datasets":
        raise TypeError(f"a dataset of Hugging Face is needed, not {describe(dataset)}")
    if isinstance(dataset, Mapping):
        raise TypeError(f"choose a split, such as dataset[{next(iter(dataset), 'train')!r}]")
    if hasattr(dataset, "with_format") and hasattr(dataset, "__len__"):
        table = dataset.with_format("arrow")[:]
        blocks = how.get("override_num_blocks")
        return from_arrow(table.replace_schema_metadata(None), override_num_blocks=blocks)
    return read_datasource(IteratedDatasource(dataset), **how)


def from_dask(df: Any) -> MaterializedDataset:
    """Return a dataset with a block for each partition of a Dask DataFrame, which is computed here.

    Example: `shoal.data.from_dask(dask.dataframe.from_pandas(frame, npartitions=4))`
    """
    if not hasattr(df, "to_delayed"):
        raise TypeError(f"a Dask DataFrame is needed, not {describe(df)}")
    import dask

    return from_pandas(list(dask.compute(*df.to_delayed())))


def from_polars(dfs: Any, override_num_blocks: int | None = None) -> MaterializedDataset:
    """Return a dataset of one or more DataFrames of polars (lazy ones are computed here).

    Example: `shoal.data.from_polars(polars.DataFrame({"x": [1, 2]}))`
    """
    given = list(dfs) if isinstance(dfs, (list, tuple)) else [dfs]
    frames = [frame.collect() if hasattr(frame, "collect") else frame for frame in given]
    if not all(type(frame).__module__.startswith("polars") for frame in frames):
        raise TypeError(f"a DataFrame of polars is needed, not {describe(dfs)}")
    return _stored([from_batch(frame) for frame in frames], override_num_blocks)


def from_modin(df: Any) -> MaterializedDataset:
    """Return a dataset of a DataFrame of modin, which is computed here.

    Example: `shoal.data.from_modin(modin.pandas.DataFrame({"x": [1, 2]}))`
    """
    if not type(df).__module__.startswith("modin"):
        raise TypeError(f"a DataFrame of modin is needed, not {describe(df)}")
    to_pandas = getattr(df, "modin", df)
    return from_pandas(to_pandas.to_pandas() if hasattr(to_pandas, "to_pandas") else df._to_pandas())


def from_daft(df: Any) -> MaterializedDataset:
    """Return a dataset of a DataFrame of Daft, which is computed here.

    Example: `shoal.data.from_daft(daft.from_pydict({"x": [1, 2]}))`
    """
    if not type(df).__module__.startswith("daft"):
        raise TypeError(f"a DataFrame of Daft is needed, not {describe(df)}")
    return from_arrow(df.to_arrow())


def from_spark(
    df: Any, *, parallelism: int | None = None, override_num_blocks: int | None = None
) -> MaterializedDataset:
    """Return a dataset of a DataFrame of Spark, which is computed by Spark and comes here as Arrow.

    Parameters: `override_num_blocks` (or `parallelism`) is into how many blocks it is cut.

    Example: `shoal.data.from_spark(spark.range(100))`
    """
    if not type(df).__module__.startswith("pyspark"):
        raise TypeError(f"a DataFrame of Spark is needed, not {describe(df)}")
    blocks = override_num_blocks if override_num_blocks is not None else parallelism
    whole = df.toArrow() if hasattr(df, "toArrow") else df.toPandas()  # as Spark before 4 has it
    return _stored([from_batch(whole)], blocks)


def from_tf(dataset: Any) -> MaterializedDataset:
    """Return a dataset of the elements of a tf.data.Dataset, which is read here: mappings are rows, others "item".

    Example: `shoal.data.from_tf(tf.data.Dataset.from_tensor_slices({"x": [1, 2]}))`
    """
    if not hasattr(dataset, "as_numpy_iterator"):
        raise TypeError(f"a tf.data.Dataset is needed, not {describe(dataset)}")
    return from_items(list(dataset.as_numpy_iterator())).materialize()


def from_arrow_refs(tables: Any) -> MaterializedDataset:
    """Return a dataset of tables that references name; they stay where they are.

    Example: `shoal.data.from_arrow_refs([shoal.put(table)])`
    """
    refs = list(tables) if isinstance(tables, (list, tuple)) else [tables]
    facts = shoal.get([shoal.remote(_facts).remote(ref) for ref in refs])
    return _made([Bundle(ref, *each) for ref, each in zip(refs, facts, strict=True)])


def _from_array(array: Any) -> tuple[Block, tuple[int, int, Any]]:
    table = from_batch({DEFAULT_COLUMN: to_column(DEFAULT_COLUMN, array)})
    return table, _facts(table)


def _from_frame(frame: Any) -> tuple[Block, tuple[int, int, Any]]:
    table = from_batch(frame)
    return table, _facts(table)


def _converted(pairs: Sequence[Any]) -> MaterializedDataset:
    facts = shoal.get([fact for _, fact in pairs])
    return _made([Bundle(ref, *each) for (ref, _), each in zip(pairs, facts, strict=True)])


def _facts(table: Block) -> tuple[int, int, Any]:
    return table.num_rows, size_of(table), table.schema


def _stored(tables: list[Block], blocks: int | None) -> MaterializedDataset:
    if blocks is not None:
        whole = concat(tables)
        tables = [whole.slice(start, stop - start) for start, stop in cut(whole.num_rows, blocks)]
    return _made([Bundle(shoal.put(compact(table)), *_facts(table)) for table in tables])


def _made(bundles: list[Bundle]) -> MaterializedDataset:
    return MaterializedDataset(InputBlocks(tuple(bundles)), DataContext.get_current().copy())
