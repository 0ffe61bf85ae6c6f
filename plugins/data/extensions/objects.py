"""A DataFrame's column of Python objects, which goes to Arrow as pickles and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype


@register_extension_dtype
class PythonObjectDtype(ExtensionDtype):  # type: ignore[misc]
    """The type of a column of Python objects.

    Example: `pd.Series(PythonObjectArray([{1}, {2}]))`
    """

    na_value = None

    @property
    def name(self) -> str:
        """Its name."""
        return "python_object()"

    @property
    def type(self) -> Any:
        """The class of values."""
        return object

    @classmethod
    def construct_from_string(cls, string: str) -> PythonObjectDtype:
        """Return the type by its name. Raises TypeError for another name."""
        if string != "python_object()":
            raise TypeError(f"{string!r} is no name of a {cls.__name__}")
        return cls()

    @classmethod
    def construct_array_type(cls) -> Any:
        """Return the class of columns."""
        return PythonObjectArray


class PythonObjectArray(ExtensionArray):  # type: ignore[misc]
    """A column of Python objects.

    Example: `PythonObjectArray([{1}, None])`
    """

    def __init__(self, values: Any) -> None:
        self.values = as_objects(values)

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> PythonObjectArray:
        return cls(scalars)

    @classmethod
    def _from_factorized(cls, values: Any, original: Any) -> PythonObjectArray:
        return cls(values)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[PythonObjectArray]) -> PythonObjectArray:
        return cls(np.concatenate([each.values for each in to_concat]))

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, (int, np.integer)):
            return self.values[item]
        return type(self)(self.values[pd.api.indexers.check_array_indexer(self, item)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self.values[pd.api.indexers.check_array_indexer(self, key)] = value

    def __len__(self) -> int:
        return len(self.values)

    def __eq__(self, other: Any) -> Any:
        return self.values == (other.values if isinstance(other, PythonObjectArray) else other)

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = None) -> Any:
        """Return an array of the objects, with `na_value` for those that are None."""
        made = self.values.copy() if copy or na_value is not None else self.values
        if na_value is not None:
            made[self.isna()] = na_value
        return made if dtype is None else made.astype(dtype)

    @property
    def dtype(self) -> PythonObjectDtype:
        """The type of the column."""
        return PythonObjectDtype()

    @property
    def nbytes(self) -> int:
        """How many bytes the references take; objects are not counted."""
        return int(self.values.nbytes)

    def isna(self) -> Any:
        """Tell of each object whether it is None."""
        return np.array([each is None for each in self.values], dtype=bool)

    def take(self, indices: Any, allow_fill: bool = False, fill_value: Any = None) -> PythonObjectArray:
        """Return the objects at some positions; with `allow_fill`, -1 stands for `fill_value`."""
        places = np.asarray(indices, dtype=np.int64)
        if not allow_fill:
            return type(self)(self.values[places])
        if (places < -1).any():
            raise ValueError("with allow_fill, positions are -1 or above")
        return type(self)([fill_value if place < 0 else self.values[place] for place in places])

    def copy(self) -> PythonObjectArray:
        """Return the same objects in another column."""
        return type(self)(self.values)

    def __arrow_array__(self, type: Any = None) -> Any:  # noqa: A002  pyarrow's name
        from shoal.data.extensions.arrow_objects import ArrowPythonObjectArray

        made = ArrowPythonObjectArray.from_objects(self.values)
        if type is not None and type != made.type:
            raise pa.ArrowTypeError(f"a column of Python objects cannot be {type}")
        return made


def as_objects(values: Sequence[Any]) -> Any:
    """Return an array of objects, also where these are lists, which NumPy would take for another dimension.

    Example: `as_objects([[1, 2], [3, 4]]).shape  # (2,)`
    """
    made = np.empty(len(values), dtype=object)
    for number, value in enumerate(values):
        made[number] = value
    return made
