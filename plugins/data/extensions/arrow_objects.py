"""Arrow's type for Python objects that Arrow has no form for: pickled, for columns that stay in one program."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from typing import Any

import numpy as np
import pyarrow as pa


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
        from shoal.data.extensions.objects import PythonObjectDtype

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
