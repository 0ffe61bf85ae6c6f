"""The feature hasher: many columns as one short vector."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shoal.data.block import Block, to_column
from shoal.data.checks import check_count, check_names
from shoal.data.preprocessor import SerializablePreprocessorBase, with_columns
from shoal.data.preprocessors.defaults import simple_hash
from shoal.data.preprocessors.statistics import to_floats
from shoal.data.transforms import need_columns
from shoal.errors import describe


class FeatureHasher(SerializablePreprocessorBase):
    """Adds a vector of `num_features` numbers, into each of which the columns are added whose names hash to it.

    There is nothing to fit, and different columns may meet in one place. Null adds nothing.
    Raises ValueError for a number below 1.

    Example: `FeatureHasher(["i", "like", "rain"], num_features=8, output_column="hashed").transform(ds)`
    """

    _is_fittable = False

    def __init__(self, columns: Sequence[str], num_features: int, output_column: str) -> None:
        self._columns = check_names("columns", columns)
        check_count("num_features", num_features, optional=False)
        if not isinstance(output_column, str):
            raise TypeError(f"output_column must be the name of a column, not {describe(output_column)}")
        self._num_features = num_features
        self._output_column = output_column

    @property
    def columns(self) -> list[str]:
        """The columns that are read."""
        return list(self._columns)

    @property
    def num_features(self) -> int:
        """How long the vectors are."""
        return self._num_features

    @property
    def output_column(self) -> str:
        """The column that is written."""
        return self._output_column

    def get_output_columns(self) -> list[str]:
        """Return the columns that are written."""
        return [self._output_column]

    def _transform_arrow(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        need_columns(table, self._columns)
        made = np.zeros((table.num_rows, self._num_features))
        for name in self._columns:
            made[:, simple_hash(name, self._num_features)] += np.nan_to_num(
                to_floats(name, table.column(name))
            )
        return with_columns(table, {self._output_column: to_column(self._output_column, made)})
