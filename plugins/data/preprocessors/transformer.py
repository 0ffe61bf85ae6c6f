"""The power transformer: columns that are more like a normal distribution."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal.data.preprocessor import ColumnPreprocessor
from shoal.data.preprocessors.statistics import from_floats, to_floats
from shoal.errors import describe


class PowerTransformer(ColumnPreprocessor):
    """Applies a power to each column, by the method "yeo-johnson" or, for numbers above 0 only, "box-cox".

    There is nothing to fit: `power` is given. It does what scikit-learn's does without `standardize`.
    Raises ValueError for another method; "box-cox" raises it for numbers that are not above 0.

    Example: `PowerTransformer(["fare"], power=0.5).transform(ds)`
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        power: float,
        method: str = "yeo-johnson",
        *,
        output_columns: Sequence[str] | None = None,
    ) -> None:
        super().__init__(columns, output_columns)
        if method not in ("yeo-johnson", "box-cox"):
            raise ValueError(f"method must be yeo-johnson or box-cox, not {describe(method)}")
        if isinstance(power, bool) or not isinstance(power, (int, float)):
            raise TypeError(f"power must be a number, not {describe(power)}")
        self._power = power
        self._method = method

    @property
    def power(self) -> float:
        """The power that is applied."""
        return self._power

    @property
    def method(self) -> str:
        """How it is applied."""
        return self._method

    def _column(self, name: str, column: Any) -> Any:
        values = to_floats(name, column)
        if self._method == "box-cox":
            if (values <= 0).any():
                raise ValueError(
                    f"box-cox takes numbers above 0, and column {name!r} has {np.nanmin(values)}: "
                    "use yeo-johnson"
                )
            return from_floats(_power(values, self._power))
        positive, negative = values >= 0, values < 0
        made = np.full(len(values), np.nan)
        made[positive] = _power(values[positive] + 1, self._power)
        made[negative] = -_power(1 - values[negative], 2 - self._power)
        return from_floats(made)


def _power(values: Any, power: float) -> Any:
    """The power of numbers above 0, shifted and scaled so that the limit at 0 is the logarithm."""
    return np.log(values) if power == 0 else (np.power(values, power) - 1) / power
