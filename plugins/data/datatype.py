"""Types of columns, whichever library names them: Arrow's, NumPy's, or a class of Python."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, TypeAlias

import attrs
import numpy as np
import pyarrow as pa
from pyarrow import types

from shoal.data.checks import need
from shoal.errors import describe

Truth: TypeAlias = bool  # in DataType, `bool` makes a type


class TypeCategory(enum.Enum):
    """Families of types that `DataType.is_of` asks for."""

    LIST = "list"
    LARGE_LIST = "large_list"
    STRUCT = "struct"
    MAP = "map"
    TENSOR = "tensor"
    TEMPORAL = "temporal"


@attrs.frozen
class VariableShape:
    """What stands for tensors of one kind of number and any shape of so many dimensions (None: of any number)."""

    dtype: Any
    ndim: int | None = None


_TEMPORAL = {
    "timestamp": lambda unit, tz: pa.timestamp(unit or "us", tz=tz),
    "date32": lambda unit, tz: pa.date32(),
    "date64": lambda unit, tz: pa.date64(),
    "time32": lambda unit, tz: pa.time32(unit or "s"),
    "time64": lambda unit, tz: pa.time64(unit or "us"),
    "duration": lambda unit, tz: pa.duration(unit or "us"),
}


@attrs.frozen
class DataType:
    """A type of values: one of Arrow's, one of NumPy's, a class of Python, or none (to be found out).

    Example: `DataType.list(DataType.int64()).to_arrow_dtype()`
    """

    _physical_dtype: Any = attrs.field(default=None)

    def __attrs_post_init__(self) -> None:
        given = self._physical_dtype
        if given is not None and not isinstance(given, (pa.DataType, np.dtype, type, VariableShape)):
            raise TypeError(
                f"a type of Arrow or NumPy or a class of Python is needed, not {describe(given)}; from_dtype takes more"
            )

    # Making them

    @classmethod
    def from_arrow(cls, arrow_type: Any) -> DataType:
        """Return a type of Arrow's. Raises TypeError for anything else."""
        if not isinstance(arrow_type, pa.DataType):
            raise TypeError(f"a type of pyarrow is needed, not {describe(arrow_type)}")
        return cls(arrow_type)

    @classmethod
    def from_numpy(cls, numpy_dtype: Any) -> DataType:
        """Return a type of NumPy's, also by its name. Raises TypeError for what NumPy does not know."""
        return cls(np.dtype(numpy_dtype))

    @classmethod
    def from_cudf(cls, cudf_dtype: Any) -> DataType:
        """Return a type of cuDF's as Arrow's. Needs cudf where it is not one of NumPy's."""
        if isinstance(cudf_dtype, (np.dtype, str)):
            return cls.from_arrow(pa.from_numpy_dtype(np.dtype(cudf_dtype)))
        if hasattr(cudf_dtype, "to_arrow"):
            return cls.from_arrow(cudf_dtype.to_arrow())
        raise TypeError(f"a type of cuDF is needed, not {describe(cudf_dtype)}")

    @classmethod
    def from_dtype(cls, dtype: Any) -> DataType:
        """Return the type that anything of these names: a type of Arrow, NumPy, pandas or torch, a class, or its name.

        Raises TypeError for what names no type.

        Example: `DataType.from_dtype("int32")`
        """
        if isinstance(dtype, cls) or dtype is None:
            return cls() if dtype is None else dtype
        if isinstance(dtype, (pa.DataType, np.dtype, VariableShape)):
            return cls(dtype)
        if hasattr(dtype, "pyarrow_dtype"):
            return cls(dtype.pyarrow_dtype)
        if type(dtype).__module__.startswith("torch"):
            return cls.from_numpy(str(dtype).removeprefix("torch."))
        if isinstance(dtype, str):
            try:
                return cls(pa.type_for_alias(dtype))
            except ValueError:
                return cls.from_numpy(dtype)
        if isinstance(dtype, type):
            return cls.from_numpy(dtype) if issubclass(dtype, np.generic) else cls(dtype)
        if hasattr(dtype, "numpy_dtype"):
            return cls(np.dtype(dtype.numpy_dtype))
        raise TypeError(f"{describe(dtype)} names no type")

    @classmethod
    def infer_dtype(cls, value: Any) -> DataType:
        """Return the type of a value, as Arrow would store it; of what Arrow has no form for, its class.

        Example: `DataType.infer_dtype([1, 2])  # list of int64`
        """
        if isinstance(value, np.ndarray) and value.ndim:
            return cls.tensor(value.shape, cls.from_numpy(value.dtype))
        if isinstance(value, np.generic):
            return cls(value.dtype)
        try:
            return cls(pa.scalar(value).type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            return cls(type(value))

    @classmethod
    def list(cls, value_type: DataType) -> DataType:
        """Return lists of any length."""
        return cls(pa.list_(_arrow(value_type)))

    @classmethod
    def large_list(cls, value_type: DataType) -> DataType:
        """Return lists with offsets of 64 bits."""
        return cls(pa.large_list(_arrow(value_type)))

    @classmethod
    def fixed_size_list(cls, value_type: DataType, list_size: int) -> DataType:
        """Return lists of one length."""
        return cls(pa.list_(_arrow(value_type), list_size))

    @classmethod
    def struct(cls, fields: Sequence[tuple[str, DataType]]) -> DataType:
        """Return structs of named fields."""
        return cls(pa.struct([(name, _arrow(kind)) for name, kind in fields]))

    @classmethod
    def map(cls, key_type: DataType, value_type: DataType) -> DataType:
        """Return mappings."""
        return cls(pa.map_(_arrow(key_type), _arrow(value_type)))

    @classmethod
    def tensor(cls, shape: tuple[int, ...], dtype: DataType) -> DataType:
        """Return tensors of one shape."""
        return cls(pa.fixed_shape_tensor(_arrow(dtype), tuple(shape)))

    @classmethod
    def variable_shaped_tensor(cls, dtype: DataType, ndim: int | None = 2) -> DataType:
        """Return tensors of any shape with so many dimensions."""
        return cls(VariableShape(_arrow(dtype), ndim))

    @classmethod
    def temporal(cls, temporal_type: str, unit: str | None = None, tz: str | None = None) -> DataType:
        """Return a type of times: "timestamp", "date32", "date64", "time32", "time64" or "duration". Raises ValueError.

        Example: `DataType.temporal("timestamp", "ms", "UTC")`
        """
        if temporal_type not in _TEMPORAL:
            raise ValueError(
                f"temporal_type must be one of {', '.join(_TEMPORAL)}, not {describe(temporal_type)}"
            )
        if tz is not None and temporal_type != "timestamp":
            raise ValueError("only a timestamp has a time zone")
        return cls(_TEMPORAL[temporal_type](unit, tz))

    @classmethod
    def binary(cls) -> DataType:
        """Return bytes."""
        return cls(pa.binary())

    @classmethod
    def bool(cls) -> DataType:
        """Return True and False."""
        return cls(pa.bool_())

    @classmethod
    def float32(cls) -> DataType:
        """Return numbers of 32 bits with a fraction."""
        return cls(pa.float32())

    @classmethod
    def float64(cls) -> DataType:
        """Return numbers of 64 bits with a fraction."""
        return cls(pa.float64())

    @classmethod
    def int8(cls) -> DataType:
        """Return whole numbers of 8 bits."""
        return cls(pa.int8())

    @classmethod
    def int16(cls) -> DataType:
        """Return whole numbers of 16 bits."""
        return cls(pa.int16())

    @classmethod
    def int32(cls) -> DataType:
        """Return whole numbers of 32 bits."""
        return cls(pa.int32())

    @classmethod
    def int64(cls) -> DataType:
        """Return whole numbers of 64 bits."""
        return cls(pa.int64())

    @classmethod
    def uint8(cls) -> DataType:
        """Return whole numbers ≥ 0 of 8 bits."""
        return cls(pa.uint8())

    @classmethod
    def uint16(cls) -> DataType:
        """Return whole numbers ≥ 0 of 16 bits."""
        return cls(pa.uint16())

    @classmethod
    def uint32(cls) -> DataType:
        """Return whole numbers ≥ 0 of 32 bits."""
        return cls(pa.uint32())

    @classmethod
    def uint64(cls) -> DataType:
        """Return whole numbers ≥ 0 of 64 bits."""
        return cls(pa.uint64())

    @classmethod
    def string(cls) -> DataType:
        """Return text."""
        return cls(pa.string())

    # Turning them

    def to_arrow_dtype(self, values: Any = None) -> Any:
        """Return Arrow's type; where this says none, that of `values`. Raises TypeError where there is none."""
        given = self._physical_dtype
        if isinstance(given, pa.DataType):
            return given
        if given is None:
            if values is None:
                raise TypeError("this type is to be found out: give values to find it of")
            return pa.array(values).type
        if isinstance(given, VariableShape):
            return pa.struct([("data", pa.list_(given.dtype)), ("shape", pa.list_(pa.int64()))])
        if isinstance(given, np.dtype):
            return pa.string() if given.kind == "U" else pa.from_numpy_dtype(given)
        known = {str: pa.string(), bytes: pa.binary(), int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
        if given not in known:
            raise TypeError(
                f"Arrow has no type for {given.__name__}" + ("; give values" if values is None else "")
            )
        return known[given]

    def to_numpy_dtype(self) -> Any:
        """Return NumPy's type; "object" where it has none."""
        given = self._physical_dtype
        if isinstance(given, np.dtype):
            return given
        try:
            return np.dtype(self.to_arrow_dtype().to_pandas_dtype())
        except (TypeError, NotImplementedError, pa.ArrowNotImplementedError):
            return np.dtype(object)

    def to_python_type(self) -> Any:
        """Return the class of Python's values. Raises ValueError where there is none of its own."""
        if isinstance(self._physical_dtype, type):
            return self._physical_dtype
        tests: tuple[tuple[Any, Any], ...] = (
            (types.is_boolean, bool),
            (types.is_integer, int),
            (types.is_floating, float),
            (_is_text, str),
            (_is_bytes, bytes),
            (_is_list, list),
            (lambda kind: types.is_struct(kind) or types.is_map(kind), dict),
        )
        kind = self.to_arrow_dtype()
        for test, made in tests:
            if test(kind):
                return made
        raise ValueError(f"Python has no plain class for {kind}")

    def to_cudf_type(self) -> Any:
        """Return cuDF's type. Needs cudf."""
        return need("cudf", "a type of cuDF").utils.dtypes.cudf_dtype_from_pa_type(self.to_arrow_dtype())

    # Asking them

    def is_arrow_type(self) -> Truth:
        """Tell whether it is one of Arrow's."""
        return isinstance(self._physical_dtype, pa.DataType)

    def is_numpy_type(self) -> Truth:
        """Tell whether it is one of NumPy's."""
        return isinstance(self._physical_dtype, np.dtype)

    def is_python_type(self) -> Truth:
        """Tell whether it is a class of Python."""
        return isinstance(self._physical_dtype, type)

    def is_binary_type(self) -> Truth:
        """Tell whether values are bytes."""
        return self._is(_is_bytes)

    def is_boolean_type(self) -> Truth:
        """Tell whether values are True and False."""
        return self._is(types.is_boolean)

    def is_floating_type(self) -> Truth:
        """Tell whether values are numbers with a fraction."""
        return self._is(types.is_floating)

    def is_integer_type(self) -> Truth:
        """Tell whether values are whole numbers."""
        return self._is(types.is_integer)

    def is_uint64_type(self) -> Truth:
        """Tell whether values are whole numbers ≥ 0 of 64 bits."""
        return self._is(types.is_uint64)

    def is_numerical_type(self) -> Truth:
        """Tell whether values are numbers."""
        return self._is(
            lambda kind: types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
        )

    def is_list_type(self) -> Truth:
        """Tell whether values are lists."""
        return self._is(_is_list)

    def is_map_type(self) -> Truth:
        """Tell whether values are mappings."""
        return self._is(types.is_map)

    def is_struct_type(self) -> Truth:
        """Tell whether values are structs of named fields."""
        return not isinstance(self._physical_dtype, VariableShape) and self._is(types.is_struct)

    def is_nested_type(self) -> Truth:
        """Tell whether values are made of other values."""
        return self._is(types.is_nested)

    def is_null_type(self) -> Truth:
        """Tell whether there are no values but nulls."""
        return self._is(types.is_null)

    def is_string_type(self) -> Truth:
        """Tell whether values are text."""
        return self._is(_is_text)

    def is_temporal_type(self) -> Truth:
        """Tell whether values are dates, times or durations."""
        return self._is(types.is_temporal) or (
            isinstance(self._physical_dtype, np.dtype) and self._physical_dtype.kind in "mM"
        )

    def is_tensor_type(self) -> Truth:
        """Tell whether values are tensors."""
        return isinstance(self._physical_dtype, VariableShape) or self._is(
            lambda kind: isinstance(kind, pa.FixedShapeTensorType)
        )

    def is_of(self, category: TypeCategory | str) -> Truth:
        """Tell whether it belongs to a family of types. Raises ValueError for a family that there is not.

        Example: `DataType.from_dtype("timestamp[ms]").is_of("temporal")`
        """
        tests = {
            TypeCategory.LIST: self.is_list_type,
            TypeCategory.LARGE_LIST: lambda: self._is(types.is_large_list),
            TypeCategory.STRUCT: self.is_struct_type,
            TypeCategory.MAP: self.is_map_type,
            TypeCategory.TENSOR: self.is_tensor_type,
            TypeCategory.TEMPORAL: self.is_temporal_type,
        }
        return tests[TypeCategory(category)]()

    def _is(self, test: Any) -> Truth:
        """Whether a test of Arrow's types holds; False where there is no such type."""
        try:
            return bool(test(self.to_arrow_dtype()))
        except (TypeError, pa.ArrowNotImplementedError):
            return False

    def __repr__(self) -> str:
        return f"DataType({'to be found out' if self._physical_dtype is None else self._physical_dtype})"


def _arrow(kind: DataType) -> Any:
    if not isinstance(kind, DataType):
        raise TypeError(f"a DataType is needed, not {describe(kind)}")
    return kind.to_arrow_dtype()


def _is_list(kind: Any) -> bool:
    return any(test(kind) for test in (types.is_list, types.is_large_list, types.is_fixed_size_list))


def _is_text(kind: Any) -> bool:
    return bool(types.is_string(kind) or types.is_large_string(kind))


def _is_bytes(kind: Any) -> bool:
    return any(test(kind) for test in (types.is_binary, types.is_large_binary, types.is_fixed_size_binary))
