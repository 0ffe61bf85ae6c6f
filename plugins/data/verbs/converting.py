"""Verbs that hand rows to other libraries, or the plan to other programs."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from shoal.data.aggregate import AggregateFn
from shoal.data.block import concat
from shoal.data.checks import need
from shoal.data.execution.bundle import Bundle
from shoal.data.grouping import finish
from shoal.data.plan.logical import InputBlocks, nodes
from shoal.data.schema import Schema
from shoal.data.summary import DatasetSummary, chosen_aggregates
from shoal.data.verbs.aggregating import Aggregating
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.random_access_dataset import RandomAccessDataset

D = TypeVar("D", bound="Converting")


class Converting(Aggregating):
    """to_dask, to_polars, summary and their like."""

    def to_arrow(self) -> Any:
        """Return all rows as one `pyarrow.Table`, which shares the blocks' memory where it can.

        Example: `ds.to_arrow().num_rows`
        """
        return concat(list(self._blocks()))

    def to_numpy(self, column: str | None = None) -> Any:
        """Return all rows as a dict of arrays by column, or as the array of one column.

        Raises KeyError for a column that is not there.

        Example: `ds.to_numpy("id").sum()`
        """
        from shoal.data.block import to_batch
        from shoal.data.transforms import need_columns

        whole = self.to_arrow()
        if column is None:
            return to_batch(whole, "numpy")
        need_columns(whole, [column])
        return to_batch(whole.select([column]), "numpy")[column]

    def to_huggingface(self) -> Any:
        """Return all rows as a `datasets.Dataset` of Hugging Face. Needs datasets.

        Example: `ds.to_huggingface().train_test_split()`
        """
        datasets = need("datasets", "to_huggingface")
        return datasets.Dataset(datasets.table.InMemoryTable(self.to_arrow()))

    def to_polars(self) -> Any:
        """Return all rows as a DataFrame of polars, which shares the blocks' memory where it can. Needs polars.

        Example: `ds.to_polars()`
        """
        from shoal.data.block import to_batch

        need("polars", "to_polars")
        return to_batch(concat(list(self._blocks())), "polars")

    def to_dask(self, meta: Any = None, verify_meta: bool = True) -> Any:
        """Return a Dask DataFrame with a partition for each block. Needs dask.

        The partitions are fetched when Dask computes them, in this process unless Dask's scheduler is ours
        (`shoal.util.dask`). Parameters: `meta` is an empty DataFrame with the columns (None: of the schema);
        `verify_meta` compares it with each partition.

        Example: `ds.to_dask().groupby("city").fare.mean().compute()`
        """
        frames = need("dask.dataframe", "to_dask", "dask[dataframe]")
        delayed = need("dask", "to_dask").delayed
        bundles = list(self._bundles())
        if meta is None:
            schema = self._schema()
            meta = None if schema is None else schema.empty_table().to_pandas()
        parts = [delayed(_frame)(bundle.ref) for bundle in bundles]
        return frames.from_delayed(parts, meta=meta, verify_meta=verify_meta)

    def to_modin(self) -> Any:
        """Return all rows as a DataFrame of modin. Needs modin.

        Example: `ds.to_modin()`
        """
        frames = need("modin.pandas", "to_modin", "modin")
        return frames.DataFrame(concat(list(self._blocks())).to_pandas())

    def to_daft(self) -> Any:
        """Return all rows as a DataFrame of Daft. Needs daft.

        Example: `ds.to_daft()`
        """
        daft = need("daft", "to_daft")
        return daft.from_arrow(concat(list(self._blocks())))

    def to_spark(self, spark: Any) -> Any:
        """Return all rows as a DataFrame of a session of Spark, to which they go as Arrow. Raises TypeError.

        Example: `ds.to_spark(SparkSession.builder.getOrCreate()).count()`
        """
        if not hasattr(spark, "createDataFrame"):
            raise TypeError(f"a SparkSession is needed, not {describe(spark)}")
        table = concat(list(self._blocks()))
        takes_arrow = int(str(spark.version).split(".")[0]) >= 4
        return spark.createDataFrame(table if takes_arrow else table.to_pandas())

    def to_random_access_dataset(self, key: str, num_workers: int | None = None) -> RandomAccessDataset:
        """Return what looks rows up by a column whose values are all different; they lie in actors' memory.

        Example: `ds.to_random_access_dataset("id").multiget([3, 5])`
        """
        from shoal.data.random_access_dataset import RandomAccessDataset

        return RandomAccessDataset(self, key, 2 if num_workers is None else num_workers)  # type: ignore[arg-type]

    def summary(
        self,
        columns: Sequence[str] | None = None,
        override_dtype_agg_mapping: Mapping[Any, Callable[[str], Sequence[AggregateFn]]] | None = None,
    ) -> DatasetSummary:
        """Return statistics of columns (None: of all), computed in one pass.

        Parameters: `override_dtype_agg_mapping` says for Arrow types which aggregates a column of that type gets, as
        functions of its name. Raises KeyError for a column that is not there, ValueError for a dataset without columns.

        Example: `ds.summary(["fare"]).to_pandas()`
        """
        schema = self._schema()
        if schema is None:
            raise ValueError("the dataset has no rows, so there is nothing to sum up")
        made = chosen_aggregates(schema, columns, override_dtype_agg_mapping)
        flat: list[AggregateFn] = []
        places: list[tuple[str, str]] = []
        for column, named in made.items():
            for statistic, each in named:
                places.append((column, statistic))
                each.name = f"{len(flat)}"  # names may repeat between columns
                flat.append(each)
        values = finish(list(self._states(tuple(flat))), flat)
        statistics: dict[str, dict[str, Any]] = {column: {} for column in made}
        for number, (column, statistic) in enumerate(places):
            statistics[column][statistic] = values[str(number)]
        return DatasetSummary(statistics, Schema(schema))

    def has_serializable_lineage(self) -> bool:
        """Tell whether the plan can be carried out in another session: it reads sources, and no blocks of this one."""
        return not any(isinstance(node, InputBlocks) for node in nodes(self._plan))

    def serialize_lineage(self) -> bytes:
        """Return the plan as bytes, for `deserialize_lineage` in any session that reaches the sources.

        Raises ValueError for a plan over blocks of this session.

        Example: `Path("plan").write_bytes(ds.serialize_lineage())`
        """
        import cloudpickle

        if not self.has_serializable_lineage():
            raise ValueError(
                "this dataset is made of blocks that lie in this session; write it to files instead"
            )
        made: bytes = cloudpickle.dumps((self._plan, self._context, self._name))
        return made

    @classmethod
    def deserialize_lineage(cls: type[D], serialized_ds: bytes) -> D:
        """Return the dataset of a plan. Bytes from strangers must not come here: they can run any code.

        Example: `Dataset.deserialize_lineage(Path("plan").read_bytes())`
        """
        import pickle

        plan, context, name = pickle.loads(serialized_ds)
        made = cls(plan, context)
        made._name = name
        return made

    @classmethod
    def copy(cls: type[D], ds: D) -> D:
        """Return another dataset of the same plan, with settings of its own.

        Example: `Dataset.copy(ds).context.max_errored_blocks = 3`
        """
        if not isinstance(ds, Converting):
            raise TypeError(f"a Dataset is needed, not {describe(ds)}")
        made = type(ds)(ds._plan, ds.context.copy())
        made._known_schema, made._name = ds._known_schema, ds._name
        return made

    def get_dataset_id(self) -> str:
        """Return what tells this dataset from all others: its name, if it has one, and an id.

        Example: `ds.get_dataset_id()`
        """
        if self._id is None:
            self._id = uuid.uuid4().hex[:12]
        return self._id if self._name is None else f"{self._name}_{self._id}"

    def iter_internal_ref_bundles(self) -> Iterator[Bundle]:
        """Yield for each block, while the rest is computed, its reference and what is known of it.

        Example: `[bundle.rows for bundle in ds.iter_internal_ref_bundles()]`
        """
        return self._bundles()

    def get_internal_block_refs(self) -> list[Any]:
        """Return references to the blocks.

        Example: `shoal.get(ds.get_internal_block_refs())`
        """
        return [bundle.ref for bundle in self._bundles()]


def _frame(ref: Any) -> Any:
    """A block as a DataFrame, where Dask computes it."""
    import shoal
    from shoal.data.block import to_batch

    return to_batch(shoal.get(ref, timeout=600.0), "pandas")
