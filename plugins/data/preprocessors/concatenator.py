"""The concatenator: columns as one vector, which is what models take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from shoal.data.block import Block, to_column, to_numpy
from shoal.data.checks import check_names
from shoal.data.preprocessor import SerializablePreprocessorBase, with_columns
from shoal.data.preprocessors.statistics import is_list, plain
from shoal.data.transforms import need_columns
from shoal.errors import describe


class Concatenator(SerializablePreprocessorBase):
    """Replaces columns by one column of vectors, in the order in which they are named.

    Parameters: `dtype` is numpy's type of the vectors (the widest one among the columns unless given). With
    `raise_if_missing` a column that is not there is an error; without it it is left out. With `flatten` columns of
    lists or vectors give all their numbers; without it they are an error. Null becomes not-a-number.
    There is nothing to fit.

    Example: `Concatenator(["height", "weight"], output_column_name="features", dtype=np.float32).transform(ds)`
    """

    _is_fittable = False

    def __init__(
        self,
        columns: Sequence[str],
        output_column_name: str = "concat_out",
        dtype: Any = None,
        raise_if_missing: bool = False,
        flatten: bool = False,
    ) -> None:
        self._columns = check_names("columns", columns)
        if not isinstance(output_column_name, str):
            raise TypeError(
                f"output_column_name must be the name of a column, not {describe(output_column_name)}"
            )
        self._output_columns = [output_column_name]
        self._dtype = None if dtype is None else np.dtype(dtype)
        self._raise_if_missing = raise_if_missing
        self._flatten = flatten

    @property
    def columns(self) -> list[str]:
        """The columns that are read, and left out."""
        return list(self._columns)

    @property
    def output_column_name(self) -> str:
        """The column that is written."""
        return self._output_columns[0]

    @property
    def dtype(self) -> Any:
        """The type of the vectors, if it was given."""
        return self._dtype

    @property
    def raise_if_missing(self) -> bool:
        """Whether a column that is not there is an error."""
        return self._raise_if_missing

    @property
    def flatten(self) -> bool:
        """Whether columns of lists or vectors give all their numbers."""
        return self._flatten

    def _transform_arrow(self, table: Block) -> Block:
        if not table.num_columns:
            return table
        if self._raise_if_missing:
            need_columns(table, self._columns)
        names = [name for name in self._columns if name in table.column_names]
        if not names:
            raise KeyError(
                f"none of {', '.join(self._columns)} is there; there are {', '.join(table.column_names)}"
            )
        parts = [self._part(name, table.column(name)) for name in names]
        made = np.concatenate(parts, axis=1, dtype=self._dtype, casting="unsafe")
        rest = table.drop_columns([name for name in names if name != self.output_column_name])
        return with_columns(rest, {self.output_column_name: to_column(self.output_column_name, made)})

    def _part(self, name: str, column: Any) -> Any:
        """A column as an array of two dimensions."""
        column = plain(column)
        array = to_numpy(column)
        if array.ndim == 1 and is_list(column.type):
            lengths = sorted({-1 if row is None else len(row) for row in array})
            if len(lengths) > 1 or -1 in lengths:
                shown = ", ".join("null" if length < 0 else str(length) for length in lengths)
                raise ValueError(
                    f"the lists of column {name!r} must be of one length to make vectors; there are {shown}"
                )
            array = np.stack(list(array)) if len(array) else np.zeros((0, 0))
        if array.ndim > 1 and not self._flatten:
            raise ValueError(
                f"column {name!r} is of vectors, not of numbers: flatten=True takes their numbers"
            )
        if array.dtype == object or array.dtype.kind not in "biuf":
            raise TypeError(f"column {name!r} must be of numbers, not of {column.type}")
        return (
            array.reshape(len(array), -1)
            if array.size
            else array.reshape(len(array), int(np.prod(array.shape[1:])))
        )
