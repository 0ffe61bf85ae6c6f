"""Datasets: what they can do is in `verbs`; what makes further kinds of datasets is here."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import shoal
from shoal.data.aggregate import AggregateFn, Count, Max, Mean, Min, Std, Sum
from shoal.data.block import check_format, size_of
from shoal.data.checks import check_count, check_names
from shoal.data.compute import choose_compute, placement
from shoal.data.context import DataContext, NodeIdStr
from shoal.data.exchanges import Aggregate, MapGroups
from shoal.data.execution.barriers import slices_of
from shoal.data.execution.bundle import Bundle
from shoal.data.execution.worker import run_gather
from shoal.data.expressions import Expr, col, lit
from shoal.data.keywords import TaskKeywords
from shoal.data.plan.logical import AllToAll, InputBlocks, Node, Read, nodes
from shoal.data.splitting import DataIterator, WholeIterator, split_while_running
from shoal.data.transforms import Share, UserFunction, WithColumns
from shoal.data.verbs.aggregating import check_aggregates
from shoal.data.verbs.consuming import Consuming
from shoal.data.verbs.converting import Converting
from shoal.data.verbs.exchanging import Exchanging
from shoal.data.verbs.transforming import Transforming
from shoal.data.verbs.writing import Writing
from shoal.errors import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack

_TIMEOUT = 600.0  # seconds for cutting one block
_MARK = "__shoal_is_test"


class Dataset(Transforming, Exchanging, Converting, Consuming, Writing):
    """Rows in blocks, which are Arrow tables, and what is to be done with them.

    A dataset is a plan: it is immutable, each verb returns another one, and nothing runs before rows are asked for.
    Then blocks stream through all steps at once, in bounded memory. Made by the functions `read_…` and `from_…`.

    Example: `shoal.data.range(1000).map_batches(lambda batch: {"half": batch["id"] / 2}).take(3)`
    """

    def materialize(self) -> MaterializedDataset:
        """Execute the plan and return a dataset of the blocks, which stay in the object store while it lives.

        Example: `kept = ds.materialize()`
        """
        made = MaterializedDataset(InputBlocks(tuple(self._bundles())), self._context)
        made._stats, made._known_schema = self._stats, self._known_schema
        return made

    def groupby(self, key: str | Sequence[str] | None, num_partitions: int | None = None) -> GroupedData:
        """Group rows by one or more columns (None: all rows are one group), for what `GroupedData` offers.

        Example: `ds.groupby("city").mean("fare")`
        """
        return GroupedData(self, key, num_partitions)

    def num_blocks(self) -> int:
        """Return how many blocks there are. Raises NotImplementedError unless the dataset is materialized.

        Example: `ds.materialize().num_blocks()`
        """
        raise NotImplementedError("how many blocks there will be is not known; materialize() makes them")

    def split(self, n: int, *, equal: bool = False) -> list[MaterializedDataset]:
        """Return `n` datasets that together are this one; with `equal` of the same length, and rows too many left out.

        Example: `left, right = ds.split(2)`
        """
        check_count("n", n, optional=False)
        whole = self.materialize()
        rows = whole.count()
        if equal:
            return whole._cut([number * (rows // n) for number in range(n)], rows // n * n)
        return whole._cut([number * rows // n for number in range(n)], rows)

    def split_at_indices(self, indices: Sequence[int]) -> list[MaterializedDataset]:
        """Return the datasets between row numbers: before the first, between it and the next, … after the last.

        Raises ValueError for numbers that do not rise or are below 0.

        Example: `head, rest = ds.split_at_indices([100])`
        """
        places = list(indices)
        if (
            not places
            or not all(type(place) is int and place >= 0 for place in places)
            or places != sorted(places)
        ):
            raise ValueError(
                f"indices must be whole numbers ≥ 0 that rise, at least one, not {describe(indices)}"
            )
        whole = self.materialize()
        rows = whole.count()
        return whole._cut([0, *(min(place, rows) for place in places)], rows)

    def split_proportionately(self, proportions: Sequence[float]) -> list[MaterializedDataset]:
        """Return a dataset for each share, and one for what is left.

        Raises ValueError for shares that are not above 0 and below 1 together.

        Example: `train, valid, test = ds.split_proportionately([0.8, 0.1])`
        """
        shares = list(proportions)
        if not shares or any(share <= 0 for share in shares) or sum(shares) >= 1:
            raise ValueError(f"proportions must be above 0 and below 1 together, not {describe(proportions)}")
        whole = self.materialize()
        rows = whole.count()
        edges = [0]
        for share in shares:
            edges.append(min(rows, edges[-1] + int(rows * share)))
        return whole._cut(edges, rows)

    def train_test_split(
        self,
        test_size: int | float,
        *,
        shuffle: bool = False,
        seed: int | None = None,
        stratify: str | None = None,
    ) -> tuple[MaterializedDataset, MaterializedDataset]:
        """Return a dataset to train with and one to test with: a share below 1, or a number of rows.

        With `stratify`, a column, each of its values has the same share in both; this takes a share, and no shuffle.
        Raises ValueError for wrong parameters.

        Example: `train, test = ds.train_test_split(0.2, shuffle=True, seed=1)`
        """
        if stratify is not None:
            if shuffle or not 0 < test_size < 1:
                raise ValueError("stratify goes with a test_size above 0 and below 1, and without shuffle")
            marked = self.groupby(stratify).map_groups(_marked, fn_args=(test_size,), batch_format="pyarrow")
            kept = marked.materialize()
            parts = [kept.filter(expr=col(_MARK) == lit(side)).drop_columns(_MARK) for side in (False, True)]
            return parts[0].materialize(), parts[1].materialize()
        whole = (self.random_shuffle(seed=seed) if shuffle else self).materialize()
        rows = whole.count()
        is_share = isinstance(test_size, float) and 0 < test_size < 1
        if not is_share and (
            isinstance(test_size, bool) or not isinstance(test_size, int) or not 0 < test_size < rows
        ):
            raise ValueError(
                f"test_size must be a share above 0 and below 1, or a number of rows from 1 to {rows - 1}, "
                f"not {describe(test_size)}"
            )
        # As many as scikit-learn takes: what is left to train with is rounded down.
        test = -int(-rows * test_size // 1) if is_share else int(test_size)
        left, right = whole._cut([0, rows - test], rows)
        return left, right

    def streaming_train_test_split(
        self,
        test_size: float,
        *,
        split_type: Literal["hash", "random"] = "random",
        hash_column: str | None = None,
        seed: int | None = None,
        **ray_remote_kwargs: Unpack[TaskKeywords],
    ) -> tuple[Dataset, Dataset]:
        """Return a dataset to train with and one to test with, both lazy: nothing is computed or kept for the cut.

        Parameters: `test_size` is a share above 0 and below 1, which the number of rows comes near. With "hash" a row's
        side follows from the value of `hash_column` (and the seed) alone, so that equal values, and the same rows in
        another run, are on one side. With "random" rows are drawn; the two datasets are only disjoint while blocks keep
        their order (`preserve_order`), and while the plan before gives the same rows each time. `seed` None draws one.
        Raises ValueError for wrong parameters.

        Example: `train, test = ds.streaming_train_test_split(0.2, split_type="hash", hash_column="user")`
        """
        if not 0 < test_size < 1:
            raise ValueError(f"test_size must be a share above 0 and below 1, not {describe(test_size)}")
        if split_type not in ("hash", "random"):
            raise ValueError(f'split_type must be "hash" or "random", not {describe(split_type)}')
        if (split_type == "hash") != (hash_column is not None):
            raise ValueError('split_type="hash" needs a hash_column, and "random" takes none')
        if split_type == "random" and not self.context.execution_options.preserve_order:
            raise ValueError(
                'with preserve_order=False rows cannot be drawn twice alike; use split_type="hash"'
            )
        drawn = secrets.randbits(31) if seed is None else seed
        compute = choose_compute(None, None, None)
        train, test = (
            self._mapped(Share(test_size, side, drawn, hash_column), compute, ray_remote_kwargs)
            for side in (False, True)
        )
        return train, test

    def streaming_split(
        self, n: int, *, equal: bool = False, locality_hints: Sequence[NodeIdStr | None] | None = None
    ) -> list[DataIterator]:
        """Return `n` iterators for consumers in processes of their own, who share one execution of the plan.

        Each row goes to one of them: to who asks first, or with `equal` as many to each, where fewer than `n` rows at
        the end are left out. Each loop over an iterator is an epoch, for which the plan is executed again.
        Of the blocks that are there a consumer gets first those that its own node made. `locality_hints` are the
        identifiers of the consumers' nodes (each may be None), where they do not ask from there themselves.
        Raises ValueError for a wrong number of consumers or hints, TypeError for hints that are no text.

        Example: `left, right = ds.streaming_split(2, equal=True)`
        """
        check_count("n", n, optional=False)
        homes: list[NodeIdStr | None] = [None] * n if locality_hints is None else list(locality_hints)
        if len(homes) != n:
            raise ValueError(f"locality_hints must be one for each of the {n} consumers, not {len(homes)}")
        for home in homes:
            if home is not None and not isinstance(home, str):
                raise TypeError(f"a locality hint is a node's identifier, not {describe(home)}")
        return split_while_running(self, n, equal, homes, gathered)

    def iterator(self) -> DataIterator:
        """Return an iterator over all of this dataset, as consumers take it.

        Example: `ds.iterator().iter_batches(batch_size=32)`
        """
        return WholeIterator(self)

    def input_files(self) -> list[str]:
        """Return the paths of the files that the plan reads.

        Example: `shoal.data.read_csv("logs/").input_files()`
        """
        return sorted({path for node in nodes(self._plan) if isinstance(node, Read) for path in _files(node)})

    def set_name(self, name: str | None) -> None:
        """Give the dataset a name for messages and statistics.

        Example: `ds.set_name("train")`
        """
        self._name = name

    @property
    def name(self) -> str | None:
        """The name that it was given."""
        return self._name

    @classmethod
    def _made_of(cls, plan: Node, context: DataContext) -> Dataset:
        return Dataset(plan, context)


class MaterializedDataset(Dataset):
    """A dataset whose blocks exist.

    Example: `ds.materialize().num_blocks()`
    """

    def num_blocks(self) -> int:
        """Return how many blocks there are."""
        return len(self._existing())

    def count(self) -> int:
        """Return how many rows there are; nothing has to be computed."""
        return sum(bundle.rows for bundle in self._existing())

    def materialize(self) -> MaterializedDataset:
        """Return this dataset."""
        return self

    def _existing(self) -> tuple[Bundle, ...]:
        assert isinstance(self._plan, InputBlocks)
        return self._plan.bundles

    def _cut(self, starts: Sequence[int], end: int) -> list[MaterializedDataset]:
        """The stretches that begin at the given rows; whole blocks are shared, others are cut."""
        return [self._stretch(start, stop) for start, stop in zip(starts, [*starts[1:], end], strict=True)]

    def _stretch(self, start: int, stop: int) -> MaterializedDataset:
        bundles: list[Bundle] = []
        for bundle, low, high in slices_of(self._existing(), start, stop):
            if (low, high) == (0, bundle.rows):
                bundles.append(bundle)
                continue
            ref, facts = shoal.remote(num_returns=2)(_cut_block).remote(bundle.ref, low, high)
            made = shoal.get(facts, timeout=_TIMEOUT)
            bundles.append(Bundle(ref, made.rows, made.size, made.schema))
        part = MaterializedDataset(InputBlocks(tuple(bundles)), self._context)
        part._known_schema = self._known_schema
        return part


def _marked(group: Any, test_size: float) -> Any:
    """A group whose last rows are marked for the test: as many as scikit-learn takes, rounded to the nearest."""
    test = round(group.num_rows * test_size)
    marks = [number >= group.num_rows - test for number in range(group.num_rows)]
    return group.append_column(_MARK, [marks])


def gathered(blocks: Iterable[Any], context: DataContext) -> MaterializedDataset:
    """Return a dataset of blocks that this process has; they go to the object store.

    Example: `gathered([pa.table({"x": [1]})], DataContext.get_current())`
    """
    bundles = [Bundle(shoal.put(each), each.num_rows, size_of(each), each.schema) for each in blocks]
    return MaterializedDataset(InputBlocks(tuple(bundles)), context)


def _files(node: Read) -> tuple[str, ...]:
    return tuple(file.path for file in getattr(node.source, "files", ()))


def _cut_block(block: Any, low: int, high: int) -> tuple[Any, Any]:
    made, facts = run_gather([(low, high)], block)
    return made, facts


class GroupedData:
    """Rows grouped by keys. Each verb returns a dataset with a row for each group, in which groups have any order.

    Example: `ds.groupby("city").sum("rides")`
    """

    def __init__(
        self, dataset: Dataset, key: str | Sequence[str] | None, num_partitions: int | None = None
    ) -> None:
        check_count("num_partitions", num_partitions)
        self._dataset = dataset
        self._keys = () if key is None else tuple(check_names("key", key))
        self._partitions = num_partitions if self._keys else 1

    def aggregate(self, *aggs: AggregateFn) -> Dataset:
        """Aggregate each group.

        Example: `ds.groupby("city").aggregate(Sum("rides"), Mean("fare"))`
        """
        check_aggregates(aggs)
        return self._over(Aggregate(blocks=self._partitions, keys=self._keys, aggregates=tuple(aggs)))

    def count(self) -> Dataset:
        """Count the rows of each group, as "count()".

        Example: `ds.groupby("city").count()`
        """
        return self.aggregate(Count())

    def sum(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Dataset:
        """Add one or more columns up.

        Example: `ds.groupby("city").sum(["rides", "fare"])`
        """
        return self.aggregate(*[Sum(name, ignore_nulls) for name in check_names("on", on)])

    def min(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Dataset:
        """Find the least value of one or more columns.

        Example: `ds.groupby("city").min("fare")`
        """
        return self.aggregate(*[Min(name, ignore_nulls) for name in check_names("on", on)])

    def max(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Dataset:
        """Find the greatest value of one or more columns.

        Example: `ds.groupby("city").max("fare")`
        """
        return self.aggregate(*[Max(name, ignore_nulls) for name in check_names("on", on)])

    def mean(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Dataset:
        """Average one or more columns.

        Example: `ds.groupby("city").mean("fare")`
        """
        return self.aggregate(*[Mean(name, ignore_nulls) for name in check_names("on", on)])

    def std(self, on: str | Sequence[str], ddof: int = 1, ignore_nulls: bool = True) -> Dataset:
        """Find the standard deviation of one or more columns.

        Example: `ds.groupby("city").std("fare")`
        """
        return self.aggregate(*[Std(name, ddof, ignore_nulls) for name in check_names("on", on)])

    def map_groups(
        self,
        fn: Callable[..., Any],
        *,
        batch_format: str | None = "default",
        zero_copy_batch: bool = True,
        fn_args: Iterable[Any] | None = None,
        fn_kwargs: Mapping[str, Any] | None = None,
        fn_constructor_args: Iterable[Any] | None = None,
        fn_constructor_kwargs: Mapping[str, Any] | None = None,
        **options: Unpack[TaskKeywords],
    ) -> Dataset:
        """Replace each group by the batch that `fn(group)` returns; a group is one batch, whatever its size.

        A class is made once in each task, with `fn_constructor_args` and `fn_constructor_kwargs`. The other parameters
        are those of `map_batches`.

        Example: `ds.groupby("city").map_groups(lambda group: {"first": group["fare"][:1]})`
        """
        if not callable(fn):
            raise TypeError(f"a function is needed, not {describe(fn)}")
        if not isinstance(fn, type) and (fn_constructor_args or fn_constructor_kwargs):
            raise ValueError(
                "fn_constructor_args and fn_constructor_kwargs are for a class, not for a function"
            )
        function = UserFunction(
            fn,
            tuple(fn_args or ()),
            dict(fn_kwargs or {}),
            tuple(fn_constructor_args or ()),
            dict(fn_constructor_kwargs or {}),
        )
        kind = check_format(batch_format)
        exchange = MapGroups(
            blocks=self._partitions,
            keys=self._keys,
            function=function,
            batch_format=kind,
            zero_copy=zero_copy_batch,
        )
        return self._over(exchange, options)

    def with_column(self, column_name: str, expr: Expr, **ray_remote_args: Unpack[TaskKeywords]) -> Dataset:
        """Add (or replace) a column of an expression that is computed over each group by itself.

        Example: `ds.groupby("city").with_column("rank", col("fare").apply(pc.rank))`
        """
        if not isinstance(expr, Expr):
            raise TypeError(f"an expression is needed, such as col('x') * 2, not {describe(expr)}")
        add = WithColumns({column_name: expr}).add
        return self.map_groups(add, batch_format="pyarrow", **ray_remote_args)

    def _over(self, exchange: Aggregate | MapGroups, options: Mapping[str, Any] | None = None) -> Dataset:
        dataset = self._dataset
        return Dataset(AllToAll(dataset._plan, exchange, placement(options or {})), dataset.context)
