"""Columns of Python objects that Arrow has no form for: in a DataFrame as they are, in Arrow pickled."""

from __future__ import annotations

import pickle
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype


class ArrowConversionError(ValueError):
    """Values could not become an Arrow column. The message has their beginning, and the column if it is known."""

    MAX_DATA_STR_LEN = 200

    def __init__(self, data_str: str, column_name: str | None = None, pa_type: Any = None) -> None:
        shown = (
            data_str if len(data_str) <= self.MAX_DATA_STR_LEN else data_str[: self.MAX_DATA_STR_LEN] + "…"
        )
        where = "" if column_name is None else f" of column {column_name!r}"
        wanted = "" if pa_type is None else f" of type {pa_type}"
        super().__init__(f"the values{where} do not make an Arrow column{wanted}: {shown}")
        self.data_str = data_str
        self.column_name = column_name
        self.pa_type = pa_type

    def __reduce__(self) -> Any:
        return type(self), (self.data_str, self.column_name, self.pa_type)


class ArrowPythonObjectScalar(pa.ExtensionScalar):  # type: ignore[misc]
    """One object."""

    def as_py(self, **kwargs: Any) -> Any:
        """Return the object. It is unpickled: columns from strangers must not come here."""
        if not self.is_valid:
            return None
        return pickle.loads(self.value.as_py(**kwargs))


class ArrowPythonObjectType(pa.ExtensionType):  # type: ignore[misc]
    """Python objects, pickled. It is not known to Arrow, so that no file can smuggle pickles in."""

    def __init__(self) -> None:
        super().__init__(pa.large_binary(), "shoal.python_object")

    def to_pandas_dtype(self) -> Any:
        """Return the type of such a column in a DataFrame."""
        return PythonObjectDtype()

    def __arrow_ext_serialize__(self) -> bytes:
        return b""

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        return cls()

    def __arrow_ext_class__(self) -> Any:
        return ArrowPythonObjectArray

    def __arrow_ext_scalar_class__(self) -> Any:
        return ArrowPythonObjectScalar

    def __reduce__(self) -> Any:
        return type(self), ()

    def __hash__(self) -> int:
        return hash(type(self))


class ArrowPythonObjectArray(pa.ExtensionArray):  # type: ignore[misc]
    """A column of Python objects.

    Example: `ArrowPythonObjectArray.from_objects([object(), {1, 2}])`
    """

    @staticmethod
    def from_objects(objects: Iterable[Any]) -> Any:
        """Return a column of objects; None is null. Raises what pickling raises."""
        data = [None if each is None else pickle.dumps(each, protocol=5) for each in objects]
        return pa.ExtensionArray.from_storage(ArrowPythonObjectType(), pa.array(data, pa.large_binary()))

    def to_numpy(self, zero_copy_only: bool = False, writable: bool = False) -> Any:
        """Return an array of the objects. Raises ValueError for `zero_copy_only`: unpickling makes new objects."""
        if zero_copy_only:
            raise ValueError("objects are made anew of their pickles, so they cannot be had without a copy")
        made = np.empty(len(self), dtype=object)
        for number, each in enumerate(self.storage.to_pylist()):
            made[number] = None if each is None else pickle.loads(each)
        made.flags.writeable = writable or made.flags.writeable
        return made


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
