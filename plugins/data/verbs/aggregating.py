"""Verbs that make one value of many."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.aggregate import AggregateFn, Max, Mean, Min, Quantile, Std, Sum
from shoal.data.block import Block
from shoal.data.grouping import finish
from shoal.data.plan.logical import Map
from shoal.data.transforms import Step, Transform
from shoal.data.verbs.base import Planned
from shoal.errors import describe


class Aggregating(Planned):
    """aggregate, sum, min, max, mean and std."""

    def aggregate(self, *aggs: AggregateFn) -> dict[str, Any]:
        """Return the values of aggregates over all rows, by their names.

        Example: `ds.aggregate(Sum("x"), Mean("x"))`
        """
        check_aggregates(aggs)
        return finish(list(self._states(aggs)), aggs)

    def _states(self, aggs: Sequence[AggregateFn]) -> Iterator[Any]:
        """The accumulators of each block."""
        for table in self._blocks(Map(self._plan, (_Accumulate(tuple(aggs)),))):
            yield from (pickle.loads(data) for data in table.column("states").to_pylist())

    def sum(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Any:
        """Return the sum of a column, or a dict of the sums of several.

        Example: `ds.sum("x")`
        """
        return self._each(on, lambda name: Sum(name, ignore_nulls))

    def min(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Any:
        """Return the least value of a column, or a dict for several.

        Example: `ds.min("x")`
        """
        return self._each(on, lambda name: Min(name, ignore_nulls))

    def max(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Any:
        """Return the greatest value of a column, or a dict for several.

        Example: `ds.max("x")`
        """
        return self._each(on, lambda name: Max(name, ignore_nulls))

    def mean(self, on: str | Sequence[str], ignore_nulls: bool = True) -> Any:
        """Return the mean of a column, or a dict of the means of several.

        Example: `ds.mean("x")`
        """
        return self._each(on, lambda name: Mean(name, ignore_nulls))

    def std(self, on: str | Sequence[str], ddof: int = 1, ignore_nulls: bool = True) -> Any:
        """Return the standard deviation of a column, or a dict for several.

        Example: `ds.std("x", ddof=0)`
        """
        return self._each(on, lambda name: Std(name, ddof, ignore_nulls))

    def quantile(self, on: str | Sequence[str], q: float = 0.5, ignore_nulls: bool = True) -> Any:
        """Return the value below which a share `q` of a column's values lie, or a dict for several columns.

        It counts each different value: for columns of very many of them, `ApproximateQuantile` is smaller.
        Raises ValueError for a share outside of 0 to 1.

        Example: `ds.quantile("fare", 0.9)`
        """
        return self._each(on, lambda name: Quantile(name, q, ignore_nulls))

    def _each(self, on: Any, make: Any) -> Any:
        names = [on] if isinstance(on, str) else list(on)
        values = self.aggregate(*[make(name) for name in names])
        return next(iter(values.values())) if isinstance(on, str) else values


def check_aggregates(aggregates: Sequence[Any]) -> None:
    """Raise TypeError or ValueError unless there are aggregates, all of different names.

    Example: `check_aggregates([Sum("x")])`
    """
    for each in aggregates:
        if not isinstance(each, AggregateFn):
            raise TypeError(f"an AggregateFn is needed, such as Sum('x'), not {describe(each)}")
    names = [each.name for each in aggregates]
    if not names or len(set(names)) != len(names):
        raise ValueError(
            f"aggregates of different names are needed, at least one, not {names}; alias_name gives one"
        )


@attrs.frozen(eq=False)
class _Accumulate(Transform):
    """Makes of all that one task sees a row with the accumulators; they are ours, so pickle is what carries them."""

    aggregates: tuple[AggregateFn, ...]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return "Aggregate(" + ", ".join(each.name for each in self.aggregates) + ")"

    def open(self) -> Step:
        """Return what does it."""

        def step(blocks: Iterator[Block]) -> Iterator[Block]:
            import cloudpickle

            for table in blocks:
                if table.num_rows:
                    states = [each.accumulate(table) for each in self.aggregates]
                    yield pa.table({"states": pa.array([cloudpickle.dumps(states)], pa.binary())})

        return step
