"""The normalizer: rows of length 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal.data.block import Block
from shoal.data.preprocessor import ColumnPreprocessor, with_columns
from shoal.data.preprocessors.statistics import from_floats, to_floats
from shoal.data.transforms import need_columns
from shoal.errors import describe

_NORMS: dict[str, Any] = {
    "l1": lambda rows: np.abs(rows).sum(axis=1),
    "l2": lambda rows: np.sqrt(np.square(rows).sum(axis=1)),
    "max": lambda rows: np.abs(rows).max(axis=1),
}


class Normalizer(ColumnPreprocessor):
    """Divides the columns of each row by the row's norm: "l1", "l2" or "max" (of absolute values).

    There is nothing to fit. A row of zeros stays, and one with a null becomes null.
    Raises ValueError for another norm.

    Example: `Normalizer(["x", "y"]).transform(ds)`
    """

    _is_fittable = False

    def __init__(
        self, columns: Sequence[str], norm: str = "l2", *, output_columns: Sequence[str] | None = None
    ) -> None:
        super().__init__(columns, output_columns)
        if norm not in _NORMS:
            raise ValueError(f"norm must be one of {', '.join(_NORMS)}, not {describe(norm)}")
        self._norm = norm

    @property
    def norm(self) -> str:
        """The norm that rows are divided by."""
        return self._norm

    def _transform_arrow(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, self._columns)
        rows = np.stack([to_floats(name, table.column(name)) for name in self._columns], axis=1)
        lengths = _NORMS[self._norm](rows)
        made = rows / np.where(lengths == 0, 1.0, lengths)[:, None]
        columns = {name: from_floats(made[:, place]) for place, name in enumerate(self._output_columns)}
        return with_columns(table, columns)
