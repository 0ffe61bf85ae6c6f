"""The imputer: values where there are none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from shoal.data.preprocessor import ColumnPreprocessor, Preprocessor
from shoal.data.preprocessors.statistics import NumberMean, ValueCounts, numbers, plain
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset


class SimpleImputer(ColumnPreprocessor):
    """Fills nulls and not-a-number with the column's "mean", its "most_frequent" value, or "constant": `fill_value`.

    Of equally frequent values the least one is taken. `stats_` has "mean(x)" or "most_frequent(x)". The mean makes a
    column one of floats; another value that the column's type cannot hold changes the type as well.
    Raises ValueError for another strategy, for a constant without `fill_value` and the reverse, and at a fit for a
    column without any value.

    Example: `SimpleImputer(["age"], strategy="mean").fit_transform(ds)`
    """

    def __init__(
        self,
        columns: Sequence[str],
        strategy: str = "mean",
        fill_value: str | int | float | None = None,
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        if strategy not in ("mean", "most_frequent", "constant"):
            raise ValueError(f"strategy must be mean, most_frequent or constant, not {describe(strategy)}")
        if (strategy == "constant") != (fill_value is not None):
            raise ValueError('fill_value is needed with strategy="constant", and has no meaning with another')
        self._strategy = strategy
        self._fill_value = fill_value

    @property
    def strategy(self) -> str:
        """What nulls are filled with."""
        return self._strategy

    @property
    def fill_value(self) -> str | int | float | None:
        """The constant, if that is the strategy."""
        return self._fill_value

    def fit_status(self) -> Preprocessor.FitStatus:
        """Return how far it is; a constant has nothing to fit."""
        if self._strategy == "constant":
            return Preprocessor.FitStatus.NOT_FITTABLE
        return super().fit_status()

    def _fit(self, dataset: Dataset) -> Any:
        if self._strategy == "mean":
            self.stat_computation_plan.add_aggregator(aggregator_fn=NumberMean, columns=self._columns)
        else:
            self.stat_computation_plan.add_aggregator(
                aggregator_fn=lambda name: ValueCounts(name, skip_nulls=True),
                post_process_fn=_most_frequent,
                post_key_fn=lambda name: f"most_frequent({name})",
                columns=self._columns,
            )
        return self

    def _learned(self, stats: dict[str, Any]) -> dict[str, Any]:
        for key, value in stats.items():
            if value is None:
                raise ValueError(
                    f"{key} is not known: the column has no value in any row, so nothing can fill it"
                )
        return stats

    def _column(self, name: str, column: Any) -> Any:
        if self._strategy == "mean":
            return numbers(name, column).fill_null(self.stats_[f"mean({name})"])
        constant = self._strategy == "constant"
        value = self._fill_value if constant else self.stats_[f"most_frequent({name})"]
        column = plain(column)
        fill = _exactly(value, column.type)
        if fill is None:
            fill = pa.scalar(value)
            try:
                column = column.cast(fill.type)
            except pa.ArrowException as error:
                raise TypeError(
                    f"column {name!r} of {column.type} cannot be filled with {describe(value)}: {error}"
                ) from error
        return column.fill_null(fill)


def _exactly(value: Any, kind: Any) -> Any:
    """The value as a scalar of a type; None if the type cannot hold it, as integers cannot hold 0.5."""
    try:
        fill = pa.scalar(value, type=kind)
    except (pa.ArrowException, TypeError):
        return None
    return fill if fill.as_py() == value else None


def _most_frequent(counts: dict[Any, int]) -> Any:
    return min(counts, key=lambda value: (-counts[value], value)) if counts else None
