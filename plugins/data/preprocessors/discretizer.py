"""Discretizers: the number of the interval that a value lies in."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from shoal.data.checks import check_count
from shoal.data.preprocessor import ColumnPreprocessor
from shoal.data.preprocessors.statistics import NumberMax, NumberMin, to_floats
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset

_WIDER = 0.001  # by which share of the range the outermost interval is wider, so that the extremes lie in it


class _Discretizer(ColumnPreprocessor):
    """What cuts numbers as `pandas.cut` does. Null, and what lies in no interval, becomes null."""

    def __init__(
        self,
        columns: Sequence[str],
        bins: Any,
        right: bool = True,
        include_lowest: bool = False,
        duplicates: str = "raise",
        dtypes: Mapping[str, Any] | None = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        if duplicates not in ("raise", "drop"):
            raise ValueError(f"duplicates must be raise or drop, not {describe(duplicates)}")
        for word, given in (("bins", bins), ("dtypes", dtypes)):
            others = (
                [name for name in given if name not in self._columns] if isinstance(given, Mapping) else []
            )
            if others:
                raise ValueError(
                    f"{word} names {', '.join(others)}, which is none of {', '.join(self._columns)}"
                )
        if isinstance(bins, Mapping) and set(bins) != set(self._columns):
            lacking = [name for name in self._columns if name not in bins]
            raise ValueError(f"bins must have an entry for each of columns; {', '.join(lacking)} has none")
        self._bins = bins
        self._right = right
        self._include_lowest = include_lowest
        self._duplicates = duplicates
        self._dtypes = dict(dtypes or {})

    @property
    def bins(self) -> Any:
        """The bins that were given."""
        return self._bins

    @property
    def right(self) -> bool:
        """Whether intervals have their right edge in them, rather than the left one."""
        return self._right

    @property
    def include_lowest(self) -> bool:
        """Whether the first interval has its left edge in it as well."""
        return self._include_lowest

    @property
    def duplicates(self) -> str:
        """What becomes of edges that are there twice."""
        return self._duplicates

    @property
    def dtypes(self) -> dict[str, Any]:
        """The types of columns that were given."""
        return dict(self._dtypes)

    def _bins_of(self, name: str) -> Any:
        return self._bins[name] if isinstance(self._bins, Mapping) else self._bins

    @abstractmethod
    def _edges(self, name: str) -> Any: ...

    def _column(self, name: str, column: Any) -> Any:
        import pandas as pd

        values = to_floats(name, column)
        kind = self._dtypes.get(name)
        categorical = kind if isinstance(kind, pd.CategoricalDtype) else None
        edges = self._edges(name)
        if edges is None:  # no number was there when it was fitted
            return pa.nulls(len(values), pa.int64())
        labels: Any = False if categorical is None else list(categorical.categories)
        found = pd.cut(
            values,
            edges,
            right=self._right,
            labels=labels,
            include_lowest=self._include_lowest,
            duplicates=self._duplicates,
            ordered=True if categorical is None else bool(categorical.ordered),
        )
        if categorical is not None:
            return pa.array(pd.Series(found), from_pandas=True)
        # With intervals instead of edges pandas gives categories, whose codes are the numbers.
        numbers = getattr(found, "codes", found)
        missing = np.isnan(numbers) | (numbers < 0)
        whole = np.where(missing, 0, numbers).astype(np.int64)
        made = pa.array(whole, mask=missing)
        return made if kind is None else made.cast(pa.from_numpy_dtype(np.dtype(kind)))


class CustomKBinsDiscretizer(_Discretizer):
    """Replaces numbers by the number of the interval that they lie in, from 0 on.

    Parameters: `bins` are the edges of the intervals (or a `pandas.IntervalIndex`), for all columns or by column.
    `right` says that intervals have their right edge in them rather than the left one, `include_lowest` that the first
    has both; `duplicates` "drop" leaves edges out that are there twice, "raise" is an error. `dtypes` gives, by column,
    a `pandas.CategoricalDtype` whose categories name the intervals, or an integer type of numpy.
    There is nothing to fit. Null, and what lies in no interval, becomes null.

    Example: `CustomKBinsDiscretizer(["age"], bins=[0, 18, 65, 120], right=False).transform(ds)`
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        bins: Iterable[float] | Mapping[str, Iterable[float]],
        *,
        right: bool = True,
        include_lowest: bool = False,
        duplicates: str = "raise",
        dtypes: Mapping[str, Any] | None = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        given: Any = bins
        if isinstance(given, Mapping):
            given = {name: _kept(each) for name, each in given.items()}
        elif hasattr(given, "__iter__") and not isinstance(given, str):
            given = _kept(given)
        else:
            raise TypeError(f"bins must be edges, such as [0, 18, 65], not {describe(bins)}")
        super().__init__(columns, given, right, include_lowest, duplicates, dtypes, output_columns)

    def _edges(self, name: str) -> Any:
        return self._bins_of(name)


class UniformKBinsDiscretizer(_Discretizer):
    """Replaces numbers by the number of one of `bins` intervals of the same width, from the least to the greatest.

    Parameters: `bins` is their number, for all columns or by column; the further ones are those of
    `CustomKBinsDiscretizer`. The outermost interval is wider by a thousandth of the range, so that the extremes lie in
    it. `stats_` has "edges(x)". What lies in no interval becomes null.

    Example: `UniformKBinsDiscretizer(["age"], bins=4).fit_transform(ds)`
    """

    def __init__(
        self,
        columns: Sequence[str],
        bins: int | Mapping[str, int],
        *,
        right: bool = True,
        include_lowest: bool = False,
        duplicates: str = "raise",
        dtypes: Mapping[str, Any] | None = None,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        for number in bins.values() if isinstance(bins, Mapping) else [bins]:
            check_count("bins", number, optional=False)
        super().__init__(columns, bins, right, include_lowest, duplicates, dtypes, output_columns)

    def _fit(self, dataset: Dataset) -> Any:
        self.stat_computation_plan.add_aggregator(aggregator_fn=NumberMin, columns=self._columns)
        self.stat_computation_plan.add_aggregator(aggregator_fn=NumberMax, columns=self._columns)
        return self

    def _learned(self, stats: dict[str, Any]) -> dict[str, Any]:
        return {
            f"edges({name})": self._spread(stats[f"min({name})"], stats[f"max({name})"], self._bins_of(name))
            for name in self._columns
        }

    def _spread(self, low: float | None, high: float | None, bins: int) -> list[float] | None:
        if low is None or high is None:
            return None
        if low == high:  # as pandas does, an interval around the only value
            apart = abs(low) * _WIDER or _WIDER
            return [float(edge) for edge in np.linspace(low - apart, high + apart, bins + 1)]
        edges = [float(edge) for edge in np.linspace(low, high, bins + 1)]
        wider = (high - low) * _WIDER
        if self._right:
            edges[0] -= wider
        else:
            edges[-1] += wider
        return edges

    def _edges(self, name: str) -> Any:
        return self.stats_[f"edges({name})"]


def _kept(bins: Any) -> Any:
    """Edges as a list; intervals of pandas as they are."""
    return bins if hasattr(bins, "is_non_overlapping_monotonic") else list(bins)
