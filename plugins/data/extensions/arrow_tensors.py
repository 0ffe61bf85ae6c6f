"""Arrow's types for tensors: of one shape, with offsets of 32 or 64 bits, and of a shape for each value."""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from shoal.data.extensions.objects import ArrowConversionError

FixedShapeTensorType = pa.FixedShapeTensorType  # Arrow's own, which datasets use


_pandas: dict[
    str, Callable[..., Any]
] = {}  # how the type of a DataFrame's column is made; said by its module


def say_pandas_dtype(make: Callable[..., Any]) -> None:
    """Say what makes the type of a DataFrame's column of tensors, of a shape and a type of numbers.

    Example: `say_pandas_dtype(TensorDtype)`
    """
    _pandas["dtype"] = make


class _TensorType(pa.ExtensionType):  # type: ignore[misc]
    """Tensors of one shape, as lists of their values."""

    OFFSET_DTYPE: ClassVar[Any] = pa.int32()
    _list: ClassVar[Any] = staticmethod(pa.list_)
    _name: ClassVar[str] = "shoal.tensor"

    def __init__(self, shape: Sequence[int], dtype: Any) -> None:
        self._shape = tuple(int(length) for length in shape)
        super().__init__(self._list(_arrow_type(dtype)), self._name)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of each tensor."""
        return self._shape

    @property
    def value_type(self) -> Any:
        """The Arrow type of the numbers in a tensor."""
        return self.storage_type.value_type

    def to_pandas_dtype(self) -> Any:
        """Return the type of such a column in a DataFrame."""
        return _pandas["dtype"](self._shape, self.value_type.to_pandas_dtype())

    def __arrow_ext_serialize__(self) -> bytes:
        return json.dumps(self._shape).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        return cls(json.loads(serialized), storage_type.value_type)

    def __arrow_ext_class__(self) -> Any:
        return ArrowTensorArray

    def __reduce__(self) -> Any:
        return type(self), (self._shape, self.value_type)

    def __hash__(self) -> int:
        return hash((self._name, self._shape, str(self.value_type)))


class ArrowTensorType(_TensorType):
    """Tensors of one shape in at most 2³¹ numbers a column.

    Example: `pa.schema({"image": ArrowTensorType((32, 32), pa.uint8())})`
    """


class ArrowTensorTypeV2(_TensorType):
    """Tensors of one shape in any number of numbers.

    Example: `pa.schema({"image": ArrowTensorTypeV2((32, 32), pa.uint8())})`
    """

    OFFSET_DTYPE = pa.int64()
    _list = staticmethod(pa.large_list)
    _name = "shoal.tensor_v2"


class ArrowTensorArray(pa.ExtensionArray):  # type: ignore[misc]
    """A column of tensors of one shape.

    Example: `pa.table({"image": ArrowTensorArray.from_numpy(np.zeros((10, 32, 32)))})`
    """

    @classmethod
    def from_numpy(cls, arr: Any, column_name: str | None = None) -> Any:
        """Return a column of an array whose first dimension are the rows, or of arrays.

        Arrays of unequal shapes become a column of variable-shaped tensors. Raises ArrowConversionError.
        """
        try:
            if not isinstance(arr, np.ndarray) or arr.dtype == object:
                parts = [np.asarray(each) for each in arr]
                if len({(part.shape, part.dtype) for part in parts}) > 1:
                    return ArrowVariableShapedTensorArray.from_numpy(parts)
                arr = np.stack(parts) if parts else np.empty((0,))
            rows, shape = len(arr), arr.shape[1:]
            values = pa.array(np.ascontiguousarray(arr).reshape(-1))
            kind = ArrowTensorTypeV2(shape, values.type)
            step = int(np.prod(shape, dtype=np.int64))
            offsets = pa.array(np.arange(rows + 1, dtype=np.int64) * step)
            storage = pa.LargeListArray.from_arrays(offsets, values)
        except (pa.ArrowException, ValueError, TypeError) as error:
            raise ArrowConversionError(str(arr), column_name) from error
        return pa.ExtensionArray.from_storage(kind, storage)

    def to_numpy_ndarray(self, zero_copy_only: bool = False) -> Any:
        """Return one array whose first dimension are the rows. Raises ValueError where tensors are missing."""
        if self.null_count:
            raise ValueError(
                f"{self.null_count} of the tensors are null, so they make no array; fill or drop them first"
            )
        values = self.storage.flatten().to_numpy(zero_copy_only=zero_copy_only)
        return values.reshape(len(self), *self.type.shape)

    def to_numpy(self, zero_copy_only: bool = True, writable: bool = False) -> Any:
        """Return one array, with `writable` one of its own memory."""
        found = self.to_numpy_ndarray(zero_copy_only=zero_copy_only and not writable)
        return found.copy() if writable else found

    def to_var_shaped_tensor_array(self, ndim: int) -> Any:
        """Return the same as tensors that may have any shape of so many dimensions. Raises ValueError for fewer."""
        array = self.to_numpy_ndarray()
        extra = ndim - (array.ndim - 1)
        if extra < 0:
            raise ValueError(f"tensors of {array.ndim - 1} dimensions do not become ones of {ndim}")
        return ArrowVariableShapedTensorArray.from_numpy(
            list(array.reshape(len(array), *[1] * extra, *array.shape[1:]))
        )


class ArrowVariableShapedTensorType(pa.ExtensionType):  # type: ignore[misc]
    """Tensors of any shape with so many dimensions: a list of numbers and a shape for each.

    Example: `ArrowVariableShapedTensorType(pa.float32(), 2)`
    """

    OFFSET_DTYPE: ClassVar[Any] = pa.int64()

    def __init__(self, dtype: Any, ndim: int) -> None:
        self._ndim = ndim
        fields = [("data", pa.large_list(_arrow_type(dtype))), ("shape", pa.list_(pa.int64()))]
        super().__init__(pa.struct(fields), "shoal.variable_shaped_tensor")

    @property
    def ndim(self) -> int:
        """How many dimensions each tensor has."""
        return self._ndim

    @property
    def shape(self) -> tuple[None, ...]:
        """None for each dimension: their lengths differ."""
        return (None,) * self._ndim

    @property
    def value_type(self) -> Any:
        """The Arrow type of the numbers in a tensor."""
        return self.storage_type.field("data").type.value_type

    def to_pandas_dtype(self) -> Any:
        """Return the type of such a column in a DataFrame."""
        return _pandas["dtype"](self.shape, self.value_type.to_pandas_dtype())

    def __arrow_ext_serialize__(self) -> bytes:
        return str(self._ndim).encode()

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type: Any, serialized: bytes) -> Any:
        return cls(storage_type.field("data").type.value_type, int(serialized))

    def __arrow_ext_class__(self) -> Any:
        return ArrowVariableShapedTensorArray

    def __reduce__(self) -> Any:
        return type(self), (self.value_type, self._ndim)

    def __hash__(self) -> int:
        return hash((self._ndim, str(self.value_type)))


class ArrowVariableShapedTensorArray(pa.ExtensionArray):  # type: ignore[misc]
    """A column of tensors, each of a shape of its own.

    Example: `ArrowVariableShapedTensorArray.from_numpy([np.zeros((2, 3)), np.zeros((4, 1))])`
    """

    SHAPES_ARRAY_TYPE: ClassVar[Any] = pa.list_(pa.int64())

    @classmethod
    def from_numpy(cls, arr: Iterable[Any]) -> Any:
        """Return a column of arrays, which must have as many dimensions and may have any shape. Raises ValueError."""
        parts = [np.asarray(each) for each in arr]
        dimensions = {part.ndim for part in parts}
        if len(dimensions) != 1:
            raise ValueError(
                f"tensors of one column have as many dimensions, not {sorted(dimensions) or 'none'}"
            )
        whole = np.concatenate([part.reshape(-1) for part in parts])
        ends = np.cumsum([0, *(part.size for part in parts)], dtype=np.int64)
        data = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(whole))
        shapes = pa.array([part.shape for part in parts], cls.SHAPES_ARRAY_TYPE)
        kind = ArrowVariableShapedTensorType(data.type.value_type, dimensions.pop())
        return pa.ExtensionArray.from_storage(
            kind, pa.StructArray.from_arrays([data, shapes], ["data", "shape"])
        )

    def to_numpy(self, zero_copy_only: bool = True) -> Any:
        """Return an array of arrays; each is a view of the column's memory."""
        made = np.empty(len(self), dtype=object)
        for number, (values, shape) in enumerate(
            zip(self.storage.field("data"), self.storage.field("shape"), strict=True)
        ):
            plain = values.values.to_numpy(zero_copy_only=zero_copy_only)
            made[number] = plain.reshape(shape.as_py())
        return made

    to_numpy_ndarray = to_numpy

    def to_var_shaped_tensor_array(self, ndim: int) -> Any:
        """Return the same with so many dimensions: ones are put in front. Raises ValueError for fewer."""
        extra = ndim - self.type.ndim
        if extra < 0:
            raise ValueError(f"tensors of {self.type.ndim} dimensions do not become ones of {ndim}")
        return type(self).from_numpy([each.reshape(*[1] * extra, *each.shape) for each in self.to_numpy()])


class FixedShapeTensorFormat(enum.Enum):
    """The types that tensors of one shape can have in Arrow."""

    V1 = "v1"
    V2 = "v2"
    ARROW_NATIVE = "arrow_native"

    def to_type(self) -> Any:
        """Return the class of the type."""
        return {"v1": ArrowTensorType, "v2": ArrowTensorTypeV2, "arrow_native": FixedShapeTensorType}[
            self.value
        ]


def create_arrow_fixed_shape_tensor_type(shape: Sequence[int], dtype: Any) -> Any:
    """Return the Arrow type that datasets give tensors of one shape: Arrow's own.

    Example: `create_arrow_fixed_shape_tensor_type((32, 32), np.uint8)`
    """
    return pa.fixed_shape_tensor(_arrow_type(dtype), tuple(shape))


def get_arrow_extension_tensor_types() -> tuple[type, ...]:
    """Return all classes of Arrow types that stand for tensors.

    Example: `isinstance(column.type, get_arrow_extension_tensor_types())`
    """
    return (ArrowTensorType, ArrowTensorTypeV2, ArrowVariableShapedTensorType, FixedShapeTensorType)


def _arrow_type(dtype: Any) -> Any:
    return dtype if isinstance(dtype, pa.DataType) else pa.from_numpy_dtype(np.dtype(dtype))


def register() -> None:
    """Make the types known to Arrow, so that files that have them are read as them. Again does nothing."""
    for kind in (
        ArrowTensorType((), pa.int8()),
        ArrowTensorTypeV2((), pa.int8()),
        ArrowVariableShapedTensorType(pa.int8(), 0),
    ):
        try:
            pa.register_extension_type(kind)
        except pa.ArrowKeyError:
            continue  # it is known


register()
