"""Scalers: numbers of each column on a common scale. Nulls and not-a-number are left out of a fit, and stay null."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from shoal.data.checks import check_count
from shoal.data.preprocessor import ColumnPreprocessor
from shoal.data.preprocessors.statistics import (
    NumberAbsMax,
    NumberMax,
    NumberMean,
    NumberMin,
    NumberStd,
    Quantiles,
    from_floats,
    to_floats,
)
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.dataset import Dataset


class _Scaler(ColumnPreprocessor):
    """A scaler takes an offset away and divides by a width; a column of one value has the width 1."""

    def _column(self, name: str, column: Any) -> Any:
        values = to_floats(name, column)
        offset, width = self._offset_and_width(name)
        if offset is None or width is None:  # no number was there when it was fitted
            return from_floats(np.full(len(values), np.nan))
        return from_floats((values - offset) / (width or 1.0))

    @abstractmethod
    def _offset_and_width(self, name: str) -> tuple[float | None, float | None]: ...


class StandardScaler(_Scaler):
    """Scales each column to mean 0 and standard deviation 1 (that of the population), as scikit-learn's does.

    `stats_` has "mean(x)" and "std(x)". A column of one value becomes 0.

    Example: `StandardScaler(["height", "weight"]).fit_transform(ds)`
    """

    def _fit(self, dataset: Dataset) -> Any:
        self.stat_computation_plan.add_aggregator(aggregator_fn=NumberMean, columns=self._columns)
        self.stat_computation_plan.add_aggregator(aggregator_fn=NumberStd, columns=self._columns)
        return self

    def _offset_and_width(self, name: str) -> tuple[float | None, float | None]:
        return self.stats_[f"mean({name})"], self.stats_[f"std({name})"]


class MinMaxScaler(_Scaler):
    """Scales each column so that what the fit saw lies from 0 to 1.

    `stats_` has "min(x)" and "max(x)". A column of one value becomes 0.

    Example: `MinMaxScaler(["height"]).fit_transform(ds)`
    """

    def _fit(self, dataset: Dataset) -> Any:
        self.stat_computation_plan.add_aggregator(aggregator_fn=NumberMin, columns=self._columns)
        self.stat_computation_plan.add_aggregator(aggregator_fn=NumberMax, columns=self._columns)
        return self

    def _offset_and_width(self, name: str) -> tuple[float | None, float | None]:
        low, high = self.stats_[f"min({name})"], self.stats_[f"max({name})"]
        return low, None if low is None else high - low


class MaxAbsScaler(_Scaler):
    """Divides each column by its greatest absolute value; 0 stays 0.

    `stats_` has "abs_max(x)".

    Example: `MaxAbsScaler(["height"]).fit_transform(ds)`
    """

    def _fit(self, dataset: Dataset) -> Any:
        self.stat_computation_plan.add_aggregator(aggregator_fn=NumberAbsMax, columns=self._columns)
        return self

    def _offset_and_width(self, name: str) -> tuple[float | None, float | None]:
        return 0.0, self.stats_[f"abs_max({name})"]


class RobustScaler(_Scaler):
    """Takes the median away from each column and divides by the distance of two quantiles: outliers hardly matter.

    Parameters: `quantile_range` are the two shares, and `quantile_precision` is how many values are kept at a time to
    find quantiles: they are exact for as many rows, and wrong by about 1/`quantile_precision` of the rows beyond.
    `stats_` has "low_quantile(x)", "median(x)" and "high_quantile(x)".
    Raises ValueError for shares that do not rise from 0 to 1.

    Example: `RobustScaler(["fare"], quantile_range=(0.1, 0.9)).fit_transform(ds)`
    """

    DEFAULT_QUANTILE_PRECISION: ClassVar[int] = 800

    def __init__(
        self,
        columns: Sequence[str],
        quantile_range: tuple[float, float] = (0.25, 0.75),
        output_columns: Sequence[str] | None = None,
        quantile_precision: int = DEFAULT_QUANTILE_PRECISION,
    ) -> None:
        super().__init__(columns, output_columns)
        if len(list(quantile_range)) != 2 or not 0 <= quantile_range[0] < quantile_range[1] <= 1:
            raise ValueError(f"quantile_range must be two rising shares, not {describe(quantile_range)}")
        check_count("quantile_precision", quantile_precision, 2, optional=False)
        self._quantile_range = (float(quantile_range[0]), float(quantile_range[1]))
        self._quantile_precision = quantile_precision

    @property
    def quantile_range(self) -> tuple[float, float]:
        """The shares below the lower and the upper quantile."""
        return self._quantile_range

    @property
    def quantile_precision(self) -> int:
        """How many values are kept at a time to find quantiles."""
        return self._quantile_precision

    def _fit(self, dataset: Dataset) -> Any:
        low, high = self._quantile_range
        self.stat_computation_plan.add_aggregator(
            aggregator_fn=lambda name: Quantiles(name, (low, 0.5, high), self._quantile_precision),
            columns=self._columns,
        )
        return self

    def _learned(self, stats: dict[str, Any]) -> dict[str, Any]:
        words = ("low_quantile", "median", "high_quantile")
        return {
            f"{word}({name})": value
            for name in self._columns
            for word, value in zip(words, stats[f"quantiles({name})"], strict=True)
        }

    def _offset_and_width(self, name: str) -> tuple[float | None, float | None]:
        low, high = self.stats_[f"low_quantile({name})"], self.stats_[f"high_quantile({name})"]
        return self.stats_[f"median({name})"], None if low is None else high - low
