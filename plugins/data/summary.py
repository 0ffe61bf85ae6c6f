"""What the columns of a dataset look like: counts, means, extremes, in one pass over the rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa

from shoal.data.aggregate import (
    AggregateFn,
    Count,
    Max,
    Mean,
    Min,
    MissingValuePercentage,
    Std,
    ZeroPercentage,
)
from shoal.data.schema import Schema
from shoal.errors import describe

_Made = tuple[tuple[str, AggregateFn], ...]


class DatasetSummary:
    """Statistics of columns, by their names. Made by `ds.summary()`.

    Example: `ds.summary().get_column_stats("fare")["mean"]`
    """

    STATISTIC_COLUMN = "statistic"

    def __init__(self, statistics: Mapping[str, Mapping[str, Any]], dataset_schema: Schema) -> None:
        self._statistics = {name: dict(values) for name, values in statistics.items()}
        self.dataset_schema = dataset_schema
        self.columns = list(self._statistics)

    def get_column_stats(self, column: str) -> dict[str, Any]:
        """Return the statistics of one column, by their names. Raises KeyError for a column that has none.

        Example: `summary.get_column_stats("fare")`
        """
        if column not in self._statistics:
            raise KeyError(
                f"no statistics of column {column!r}; there are those of {', '.join(self.columns)}"
            )
        return dict(self._statistics[column])

    def to_pandas(self) -> Any:
        """Return a DataFrame with a row for each statistic and a column for each column; what is not there is None.

        Example: `print(ds.summary().to_pandas())`
        """
        import pandas as pd

        names = list(dict.fromkeys(name for values in self._statistics.values() for name in values))
        columns: dict[str, Any] = {self.STATISTIC_COLUMN: names}
        for column, values in self._statistics.items():
            columns[column] = pd.Series([values.get(name) for name in names], dtype=object)
        return pd.DataFrame(columns)

    def __repr__(self) -> str:
        return str(self.to_pandas())


def default_aggregates(name: str, kind: Any) -> _Made:
    """Return the statistics of a column of an Arrow type: more for numbers than for text.

    Example: `default_aggregates("fare", pa.float64())`
    """
    basic: _Made = (("count", Count(name)), ("missing_pct", MissingValuePercentage(name)))
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        more = (("mean", Mean(name)), ("min", Min(name)), ("max", Max(name)), ("std", Std(name, ddof=0)))
        return (*basic, *more, ("zero_pct", ZeroPercentage(name)))
    if pa.types.is_temporal(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return (*basic, ("min", Min(name)), ("max", Max(name)))
    return basic


def chosen_aggregates(
    schema: Any,
    columns: Sequence[str] | None,
    overrides: Mapping[Any, Callable[[str], Sequence[AggregateFn]]] | None,
) -> dict[str, _Made]:
    """Return the statistics of each column that is asked for; `overrides` are by Arrow types.

    Raises KeyError for a column that is not there.

    Example: `chosen_aggregates(schema, ["fare"], {pa.float64(): lambda name: [Max(name)]})`
    """
    missing = [name for name in columns or () if name not in schema.names]
    if missing:
        raise KeyError(
            f"there is no column {', '.join(map(repr, missing))}; there are {', '.join(schema.names)}"
        )
    made: dict[str, _Made] = {}
    for name in columns or schema.names:
        kind = schema.field(name).type
        given = (overrides or {}).get(kind)
        if given is None:
            made[name] = default_aggregates(name, kind)
            continue
        found = list(given(name))
        if not all(isinstance(each, AggregateFn) for each in found):
            raise TypeError(f"what an override returns must be aggregates, not {describe(found)}")
        made[name] = tuple((each.name.partition("(")[0], each) for each in found)
    return made
