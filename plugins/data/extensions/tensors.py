"""A DataFrame's column of tensors: one array whose first dimension are the rows, or arrays of different shapes."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import pyarrow as pa
from pandas.api.extensions import ExtensionArray, ExtensionDtype, register_extension_dtype

from shoal.data.extensions.arrow_tensors import (
    ArrowTensorArray,
    ArrowVariableShapedTensorArray,
    say_pandas_dtype,
)
from shoal.data.extensions.objects import as_objects
from shoal.errors import describe


@register_extension_dtype
class TensorDtype(ExtensionDtype):  # type: ignore[misc]
    """The type of a column of tensors: their shape (with None where lengths differ) and the type of their numbers.

    Example: `TensorDtype((32, 32), np.uint8)`
    """

    na_value = None

    def __init__(self, shape: Sequence[int | None], dtype: Any) -> None:
        self._shape = tuple(shape)
        self._dtype = np.dtype(dtype)

    @property
    def type(self) -> Any:
        """The class of values."""
        return TensorArrayElement

    @property
    def element_dtype(self) -> Any:
        """The type of the numbers in a tensor."""
        return self._dtype

    @property
    def element_shape(self) -> tuple[int | None, ...]:
        """The shape of each tensor."""
        return self._shape

    @property
    def is_variable_shaped(self) -> bool:
        """Whether tensors have shapes of their own."""
        return None in self._shape

    @property
    def name(self) -> str:
        """Its name, from which `construct_from_string` makes it again."""
        return f"shoal_tensor(shape={json.dumps(self._shape)}, dtype={self._dtype})"

    @classmethod
    def construct_from_string(cls, string: Any) -> TensorDtype:
        """Return the type by its name. Raises TypeError for another name."""
        found = re.fullmatch(r"shoal_tensor\(shape=(\[.*\]), dtype=(\S+)\)", string)
        if found is None:
            raise TypeError(f"{string!r} is no name of a {cls.__name__}")
        return cls(json.loads(found[1]), found[2])

    @classmethod
    def construct_array_type(cls) -> Any:
        """Return the class of columns."""
        return TensorArray

    def __from_arrow__(self, array: Any) -> TensorArray:
        chunks = array.chunks if isinstance(array, pa.ChunkedArray) else [array]
        parts = [chunk.to_numpy_ndarray() for chunk in chunks if len(chunk)]
        if not parts:
            return TensorArray(np.empty((0, *(length or 0 for length in self._shape)), dtype=self._dtype))
        return TensorArray(np.concatenate(parts))

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, str):
            return self.name == other
        return isinstance(other, TensorDtype) and (self._shape, self._dtype) == (other._shape, other._dtype)

    def __hash__(self) -> int:
        return hash((self._shape, self._dtype))


say_pandas_dtype(TensorDtype)


class _Arithmetic:
    """Operators of NumPy over what `_array` gives; what comes out is of the kind that went in."""

    __hash__ = None  # type: ignore[assignment]

    def _array(self) -> Any:
        raise NotImplementedError

    @staticmethod
    def _wrapped(array: Any) -> Any:
        raise NotImplementedError

    def _made(self, function: Callable[[Any, Any], Any], left: Any, right: Any) -> Any:
        return self._wrapped(function(_plain(left), _plain(right)))

    def __add__(self, other: Any) -> Any:
        return self._made(operator.add, self, other)

    def __sub__(self, other: Any) -> Any:
        return self._made(operator.sub, self, other)

    def __mul__(self, other: Any) -> Any:
        return self._made(operator.mul, self, other)

    def __truediv__(self, other: Any) -> Any:
        return self._made(operator.truediv, self, other)

    def __floordiv__(self, other: Any) -> Any:
        return self._made(operator.floordiv, self, other)

    def __mod__(self, other: Any) -> Any:
        return self._made(operator.mod, self, other)

    def __pow__(self, other: Any) -> Any:
        return self._made(operator.pow, self, other)

    def __and__(self, other: Any) -> Any:
        return self._made(operator.and_, self, other)

    def __or__(self, other: Any) -> Any:
        return self._made(operator.or_, self, other)

    def __xor__(self, other: Any) -> Any:
        return self._made(operator.xor, self, other)

    def __eq__(self, other: Any) -> Any:
        return self._made(operator.eq, self, other)

    def __ne__(self, other: Any) -> Any:
        return self._made(operator.ne, self, other)

    def __lt__(self, other: Any) -> Any:
        return self._made(operator.lt, self, other)

    def __le__(self, other: Any) -> Any:
        return self._made(operator.le, self, other)

    def __gt__(self, other: Any) -> Any:
        return self._made(operator.gt, self, other)

    def __ge__(self, other: Any) -> Any:
        return self._made(operator.ge, self, other)

    def __radd__(self, other: Any) -> Any:
        return self._made(operator.add, other, self)

    def __rsub__(self, other: Any) -> Any:
        return self._made(operator.sub, other, self)

    def __rmul__(self, other: Any) -> Any:
        return self._made(operator.mul, other, self)

    def __rtruediv__(self, other: Any) -> Any:
        return self._made(operator.truediv, other, self)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._made(operator.floordiv, other, self)

    def __rmod__(self, other: Any) -> Any:
        return self._made(operator.mod, other, self)

    def __rpow__(self, other: Any) -> Any:
        return self._made(operator.pow, other, self)

    def __rand__(self, other: Any) -> Any:
        return self._made(operator.and_, other, self)

    def __ror__(self, other: Any) -> Any:
        return self._made(operator.or_, other, self)

    @property
    def numpy_dtype(self) -> Any:
        """The type of the numbers."""
        return self._array().dtype

    @property
    def numpy_ndim(self) -> int:
        """How many dimensions there are."""
        return int(self._array().ndim)

    @property
    def numpy_shape(self) -> tuple[int, ...]:
        """The length of each dimension."""
        return tuple(self._array().shape)

    @property
    def numpy_size(self) -> int:
        """How many numbers there are."""
        return int(self._array().size)


class TensorArrayElement(_Arithmetic):
    """One tensor of a column. NumPy takes it as an array.

    Example: `np.asarray(series.iloc[0])`
    """

    def __init__(self, values: Any) -> None:
        self._tensor = np.asarray(values)

    def _array(self) -> Any:
        return self._tensor

    @staticmethod
    def _wrapped(array: Any) -> Any:
        return TensorArrayElement(array)

    def to_numpy(self) -> Any:
        """Return the array."""
        return self._tensor

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._tensor if dtype is None else self._tensor.astype(dtype)

    def __len__(self) -> int:
        return len(self._tensor)

    def __bool__(self) -> bool:
        return bool(self._tensor.all())

    def __repr__(self) -> str:
        return repr(self._tensor)


class TensorArray(_Arithmetic, ExtensionArray):  # type: ignore[misc]
    """A column of tensors.

    Parameters: `values` is an array whose first dimension are the rows, or a list of arrays, which may differ in shape.
    Raises TypeError for what is no numbers.

    Example: `pd.DataFrame({"image": TensorArray(np.zeros((10, 32, 32)))})`
    """

    SUPPORTED_REDUCERS: ClassVar[dict[str, Callable[..., Any]]] = {
        "sum": np.sum,
        "all": np.all,
        "any": np.any,
        "min": np.min,
        "max": np.max,
        "mean": np.mean,
        "median": np.median,
        "prod": np.prod,
        "std": np.std,
        "var": np.var,
    }

    def __init__(self, values: Any) -> None:
        if isinstance(values, _Arithmetic):
            values = values._array()
        if not (isinstance(values, np.ndarray) and values.dtype != object):
            parts = [_plain(each) for each in values]
            parts = [each if each is None else np.asarray(each) for each in parts]
            alike = len(
                {(each.shape, each.dtype) for each in parts if each is not None}
            ) == 1 and None not in [each if each is None else 0 for each in parts]
            values = np.stack(parts) if alike else as_objects(parts)
        if not isinstance(values, np.ndarray) or values.ndim == 0:
            raise TypeError(
                f"a column of tensors is made of an array or of arrays, not of {describe(values)}"
            )
        self._tensors: Any = values

    def _array(self) -> Any:
        return self._tensors

    @staticmethod
    def _wrapped(array: Any) -> Any:
        return TensorArray(array) if isinstance(array, np.ndarray) else array

    @classmethod
    def _from_sequence(cls, scalars: Any, *, dtype: Any = None, copy: bool = False) -> TensorArray:
        return cls(list(scalars) if not isinstance(scalars, (np.ndarray, TensorArray)) else scalars)

    @classmethod
    def _from_factorized(cls, values: Any, original: Any) -> TensorArray:
        return cls(values)

    @classmethod
    def _concat_same_type(cls, to_concat: Sequence[TensorArray]) -> TensorArray:
        if len({each._tensors.shape[1:] for each in to_concat}) == 1:
            return cls(np.concatenate([each._tensors for each in to_concat]))
        return cls([tensor for each in to_concat for tensor in each._tensors])

    @property
    def is_variable_shaped(self) -> bool:
        """Whether tensors have shapes of their own (or are missing)."""
        return bool(self._tensors.dtype == object)

    @property
    def dtype(self) -> TensorDtype:
        """The type of the column."""
        if not self.is_variable_shaped:
            return TensorDtype(self._tensors.shape[1:], self._tensors.dtype)
        there = [each for each in self._tensors if each is not None]
        if not there:
            return TensorDtype((None,), np.float64)
        return TensorDtype((None,) * there[0].ndim, np.result_type(*{each.dtype for each in there}))

    @property
    def nbytes(self) -> int:
        """How many bytes the numbers take."""
        if self.is_variable_shaped:
            return sum(each.nbytes for each in self._tensors if each is not None)
        return int(self._tensors.nbytes)

    def __getitem__(self, item: Any) -> Any:
        if isinstance(item, (int, np.integer)):
            value = self._tensors[item]
            return None if value is None else TensorArrayElement(value)
        return type(self)(self._tensors[pd.api.indexers.check_array_indexer(self, item)])

    def __setitem__(self, key: Any, value: Any) -> None:
        self._tensors[pd.api.indexers.check_array_indexer(self, key)] = _plain(value)

    def __len__(self) -> int:
        return len(self._tensors)

    def __contains__(self, item: Any) -> bool:
        if item is None:
            return bool(self.isna().any())
        wanted = np.asarray(_plain(item))
        return any(each is not None and np.array_equal(each, wanted) for each in self._tensors)

    def isna(self) -> Any:
        """Tell of each tensor whether it is missing, or all its numbers are no numbers."""
        if self.is_variable_shaped:
            return np.array([each is None for each in self._tensors], dtype=bool)
        if not np.issubdtype(self._tensors.dtype, np.inexact) or not self._tensors.size:
            return np.zeros(len(self), dtype=bool)
        return np.isnan(self._tensors).reshape(len(self), -1).all(axis=1)

    def take(self, indices: Any, allow_fill: bool = False, fill_value: Any = None) -> TensorArray:
        """Return the tensors at some positions; with `allow_fill`, -1 stands for `fill_value` (None: missing)."""
        places = np.asarray(indices, dtype=np.int64)
        if not allow_fill or not (places < 0).any():
            return type(self)(self._tensors[places])
        if (places < -1).any():
            raise ValueError("with allow_fill, positions are -1 or above")
        filler = None if fill_value is None or fill_value is pd.NA else _plain(fill_value)
        return type(self)([filler if place < 0 else self._tensors[place] for place in places])

    def copy(self) -> TensorArray:
        """Return the same tensors in memory of their own."""
        return type(self)(self._tensors.copy())

    def to_numpy(self, dtype: Any = None, copy: bool = False, na_value: Any = None) -> Any:
        """Return the array, or an array of arrays where they differ in shape; `na_value` for those that are missing."""
        made = self._tensors.copy() if copy or na_value is not None else self._tensors
        if na_value is not None:
            made[self.isna()] = na_value
        return made if dtype is None else made.astype(dtype)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self._tensors if dtype is None else self._tensors.astype(dtype)

    def astype(self, dtype: Any, copy: bool = True) -> Any:
        """Return tensors of other numbers, an array of objects, or text."""
        if isinstance(dtype, TensorDtype):
            return type(self)(self._tensors.astype(dtype.element_dtype, copy=copy))
        if pd.api.types.is_object_dtype(dtype):
            return as_objects([self[number] for number in range(len(self))])
        if pd.api.types.is_string_dtype(dtype):
            return np.array([str(each) for each in self._tensors], dtype=object)
        return type(self)(self._tensors.astype(np.dtype(dtype), copy=copy))

    def all(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Tell whether all numbers are true, of everything or along axes."""
        return self._reduced_along(np.all, axis, out, keepdims)

    def any(self, axis: Any = None, out: Any = None, keepdims: bool = False) -> Any:
        """Tell whether any number is true, of everything or along axes."""
        return self._reduced_along(np.any, axis, out, keepdims)

    def _reduced_along(self, function: Callable[..., Any], axis: Any, out: Any, keepdims: bool) -> Any:
        found = function(self._tensors, axis=axis, out=out, keepdims=keepdims)
        return (
            type(self)(found) if isinstance(found, np.ndarray) and found.ndim and axis is not None else found
        )

    def _reduce(self, name: str, *, skipna: bool = True, keepdims: bool = False, **kwargs: Any) -> Any:
        function = self.SUPPORTED_REDUCERS.get(name)
        if function is None:
            raise NotImplementedError(
                f"tensors have no {name!r}; there are {', '.join(self.SUPPORTED_REDUCERS)}"
            )
        kwargs.pop("min_count", None)  # pandas says it for sums of numbers, where too few make a null
        kept = self._tensors[~self.isna()] if skipna else self._tensors
        found = function(kept, axis=0, **kwargs)
        return type(self)(found[np.newaxis]) if keepdims else TensorArrayElement(found)

    def __arrow_array__(self, type: Any = None) -> Any:  # noqa: A002  pyarrow's name
        if self.is_variable_shaped:
            return ArrowVariableShapedTensorArray.from_numpy(self._tensors)
        return ArrowTensorArray.from_numpy(self._tensors)


def column_needs_tensor_extension(s: Any) -> bool:
    """Tell whether a Series holds arrays as objects, which a `TensorArray` would hold better.

    Example: `column_needs_tensor_extension(pd.Series([np.zeros(3), np.ones(3)]))  # True`
    """
    return bool(s.dtype == object and len(s) and isinstance(s.iloc[0], np.ndarray))


def _plain(value: Any) -> Any:
    if isinstance(value, _Arithmetic):
        return value._array()
    if isinstance(value, (pd.Series, pd.Index)):
        return _plain(value.array)
    return value
