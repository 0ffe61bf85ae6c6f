"""The tree of an expression, and how it is computed: over a table, or by Arrow inside a reader."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import attrs
import pyarrow as pa
import pyarrow.compute as pc

from shoal.data.block import Block, to_column
from shoal.data.expressions.dates import DateNamespace
from shoal.data.expressions.nested import ArrayNamespace, ListNamespace, MapNamespace, StructNamespace
from shoal.data.expressions.operations import BINARY, Operation, as_it_is, fractions, is_text
from shoal.data.expressions.strings import StringNamespace
from shoal.errors import describe

Text: TypeAlias = str  # in Expr, `str` is what can be done with text


class Expr(ABC):
    """Something that is computed for every row. Made by `col` and `lit`, and by operators and methods on those.

    Nulls spread, as in SQL: what is computed with one is null, and a filter drops rows for which its expression is.

    Example: `(col("fare") / col("miles") > 3) & col("city").str.starts_with("S")`
    """

    __slots__ = ()
    __hash__ = object.__hash__  # `==` makes an expression

    @property
    @abstractmethod
    def parts(self) -> tuple[Expr, ...]:
        """The expressions that this one is made of."""

    @abstractmethod
    def compute(self, parts: Sequence[Any]) -> Any:
        """Return the value, of the values of the parts: arrays or scalars, or Arrow expressions."""

    @property
    def in_arrow(self) -> bool:
        """Whether Arrow can compute it inside a reader."""
        return all(part.in_arrow for part in self.parts)

    @property
    def name(self) -> Text | None:
        """The column that it is called after; None if it has no name."""
        return None

    def evaluate(self, table: Block) -> Any:
        """Return the value for each row of a table: an array, or a scalar for all rows. Raises KeyError or ValueError.

        Example: `(col("x") + 1).evaluate(pa.table({"x": [1, 2]}))`
        """
        return self.compute([part.evaluate(table) for part in self.parts])

    def columns(self) -> set[Text]:
        """Return the names of the columns that it reads.

        Example: `(col("a") + col("b")).columns()  # {"a", "b"}`
        """
        return set().union(*(part.columns() for part in self.parts))

    def to_pyarrow(self) -> Any:
        """Return it as an Arrow expression. Raises TypeError for one that holds a Python function.

        Example: `(col("x") > 3).to_pyarrow()`
        """
        if not self.in_arrow:
            raise TypeError(f"{self!r} cannot be an Arrow expression")
        return self.compute([part.to_pyarrow() for part in self.parts])

    def structurally_equals(self, other: Any) -> bool:
        """Tell whether both are built alike; `==` makes an expression instead.

        Example: `(col("x") + 1).structurally_equals(col("x") + 1)  # True`
        """
        return type(self) is type(other) and repr(self) == repr(other)

    def is_idempotent(self) -> bool:
        """Tell whether the same rows give the same values each time."""
        return all(part.is_idempotent() for part in self.parts)

    def get_type(self, input_schema: Any) -> Any:
        """Return the Arrow type of the values for rows of a schema: it is computed for no rows. Raises KeyError.

        Example: `(col("x") / 2).get_type(pa.schema({"x": pa.int64()}))  # double`
        """
        return self.evaluate(input_schema.empty_table()).type

    def nullable(self, input_schema: Any) -> bool:
        """Tell whether values may be null for rows of a schema: where a column that is read may be."""
        names = self.columns()
        return any(input_schema.field(name).nullable for name in names) if names else False

    def to_field(self, input_schema: Any) -> Any:
        """Return the Arrow field for rows of a schema. Raises ValueError for an expression without a name."""
        if self.name is None:
            raise ValueError(f'{self!r} needs a name: .alias("name")')
        return pa.field(self.name, self.get_type(input_schema), self.nullable(input_schema))

    def expand_projection(self, input_schema: Any) -> Sequence[Expr]:
        """Return the expressions that it stands for among the columns of an Arrow schema: itself, for most."""
        return [self]

    def alias(self, name: Text) -> Expr:
        """Return the same under a name.

        Example: `(col("x") * 2).alias("double")`
        """
        return AliasExpr(self, name)

    def cast(self, target_type: Any, *, safe: bool = True) -> Expr:
        """Return the value as another type: Arrow's, its name there, or a `DataType`. `safe` refuses to lose anything.

        Raises TypeError for what is no type.

        Example: `col("x").cast("float32")`
        """
        wanted = target_type
        if isinstance(wanted, Text):
            try:
                wanted = pa.type_for_alias(wanted)
            except ValueError:
                raise TypeError(
                    f"Arrow has no type {target_type!r}; there are int64, float32, string, …"
                ) from None
        elif hasattr(wanted, "to_arrow_dtype"):
            wanted = wanted.to_arrow_dtype()
        if not isinstance(wanted, pa.DataType):
            raise TypeError(
                f"a type of pyarrow is needed, such as pa.int64() or 'int64', not {describe(target_type)}"
            )
        return CallExpr("cast", (self,), pc.CastOptions(wanted) if safe else pc.CastOptions.unsafe(wanted))

    def is_null(self) -> Expr:
        """Tell of each row whether the value is null."""
        return UnaryExpr(Operation.IS_NULL, self)

    def is_not_null(self) -> Expr:
        """Tell of each row whether the value is there."""
        return UnaryExpr(Operation.IS_NOT_NULL, self)

    def is_in(self, values: Any) -> Expr:
        """Tell of each row whether the value is one of these.

        Example: `col("city").is_in(["Bern", "Basel"])`
        """
        return BinaryExpr(Operation.IN, self, to_expression(values))

    def not_in(self, values: Any) -> Expr:
        """Tell of each row whether the value is none of these."""
        return BinaryExpr(Operation.NOT_IN, self, to_expression(values))

    def power(self, exponent: Any) -> Expr:
        """Return the value to the power of an exponent."""
        return CallExpr("power", (self, to_expression(exponent)))

    def call(self, function: Text, *args: Any, options: Any = None) -> Expr:
        """Return what one of Arrow's compute functions makes of it.

        Example: `col("x").call("max_element_wise", 0)`
        """
        return CallExpr(function, (self, *map(to_expression, args)), options)

    def apply(self, fn: Callable[[Any], Any]) -> Expr:
        """Return what a Python function of Arrow arrays makes of it.

        Example: `col("x").apply(pc.rank)`
        """
        return UDFExpr(fn, (self,), {}, None, as_it_is)

    def abs(self) -> Expr:
        """Return the absolute value."""
        return self.call("abs")

    def acos(self) -> Expr:
        """Return the arc cosine."""
        return self.call("acos")

    def asin(self) -> Expr:
        """Return the arc sine."""
        return self.call("asin")

    def atan(self) -> Expr:
        """Return the arc tangent."""
        return self.call("atan")

    def ceil(self) -> Expr:
        """Return the least whole number that is not below."""
        return self.call("ceil")

    def cos(self) -> Expr:
        """Return the cosine."""
        return self.call("cos")

    def exp(self) -> Expr:
        """Return e to the power of the value."""
        return self.call("exp")

    def floor(self) -> Expr:
        """Return the greatest whole number that is not above."""
        return self.call("floor")

    def ln(self) -> Expr:
        """Return the natural logarithm."""
        return self.call("ln")

    def log10(self) -> Expr:
        """Return the logarithm to base 10."""
        return self.call("log10")

    def log2(self) -> Expr:
        """Return the logarithm to base 2."""
        return self.call("log2")

    def negate(self) -> Expr:
        """Return the value with the other sign."""
        return self.call("negate")

    def round(self) -> Expr:
        """Return the nearest whole number, halves to the even one."""
        return self.call("round")

    def sign(self) -> Expr:
        """Return -1, 0 or 1."""
        return self.call("sign")

    def sin(self) -> Expr:
        """Return the sine."""
        return self.call("sin")

    def tan(self) -> Expr:
        """Return the tangent."""
        return self.call("tan")

    def trunc(self) -> Expr:
        """Return the value without its fraction."""
        return self.call("trunc")

    @property
    def str(self) -> StringNamespace:
        """What can be done with text."""
        return StringNamespace(self)

    @property
    def dt(self) -> DateNamespace:
        """What can be done with dates and times."""
        return DateNamespace(self)

    @property
    def list(self) -> ListNamespace:
        """What can be done with lists."""
        return ListNamespace(self)

    @property
    def struct(self) -> StructNamespace:
        """What can be done with structs."""
        return StructNamespace(self)

    @property
    def map(self) -> MapNamespace:
        """What can be done with maps."""
        return MapNamespace(self)

    @property
    def arr(self) -> ArrayNamespace:
        """What can be done with tensors and lists of a fixed length."""
        return ArrayNamespace(self)

    def _with(self, operation: Operation, other: Any) -> Expr:
        return BinaryExpr(operation, self, to_expression(other))

    def __add__(self, other: Any) -> Expr:
        return self._with(Operation.ADD, other)

    def __radd__(self, other: Any) -> Expr:
        return to_expression(other)._with(Operation.ADD, self)

    def __sub__(self, other: Any) -> Expr:
        return self._with(Operation.SUB, other)

    def __rsub__(self, other: Any) -> Expr:
        return to_expression(other)._with(Operation.SUB, self)

    def __mul__(self, other: Any) -> Expr:
        return self._with(Operation.MUL, other)

    def __rmul__(self, other: Any) -> Expr:
        return to_expression(other)._with(Operation.MUL, self)

    def __truediv__(self, other: Any) -> Expr:
        return self._with(Operation.DIV, other)

    def __rtruediv__(self, other: Any) -> Expr:
        return to_expression(other)._with(Operation.DIV, self)

    def __floordiv__(self, other: Any) -> Expr:
        return self._with(Operation.FLOORDIV, other)

    def __rfloordiv__(self, other: Any) -> Expr:
        return to_expression(other)._with(Operation.FLOORDIV, self)

    def __mod__(self, other: Any) -> Expr:
        return self._with(Operation.MOD, other)

    def __rmod__(self, other: Any) -> Expr:
        return to_expression(other)._with(Operation.MOD, self)

    def __eq__(self, other: object) -> Expr:  # type: ignore[override]
        return self._with(Operation.EQ, other)

    def __ne__(self, other: object) -> Expr:  # type: ignore[override]
        return self._with(Operation.NE, other)

    def __lt__(self, other: Any) -> Expr:
        return self._with(Operation.LT, other)

    def __le__(self, other: Any) -> Expr:
        return self._with(Operation.LE, other)

    def __gt__(self, other: Any) -> Expr:
        return self._with(Operation.GT, other)

    def __ge__(self, other: Any) -> Expr:
        return self._with(Operation.GE, other)

    def __and__(self, other: Any) -> Expr:
        return self._with(Operation.AND, other)

    def __or__(self, other: Any) -> Expr:
        return self._with(Operation.OR, other)

    def __invert__(self) -> Expr:
        return UnaryExpr(Operation.NOT, self)

    def __bool__(self) -> bool:
        raise TypeError(
            f"{self!r} is not true or false by itself: join expressions by & | ~, not by and, or, not"
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(f"{self!r} cannot be iterated over")


@attrs.frozen(eq=False, repr=False)
class ColumnExpr(Expr):
    """A column."""

    column: str

    @property
    def parts(self) -> tuple[Expr, ...]:
        return ()

    @property
    def name(self) -> str:
        """The column's name."""
        return self.column

    def columns(self) -> set[str]:
        """Return the column's name."""
        return {self.column}

    def evaluate(self, table: Block) -> Any:
        """Return the column. Raises KeyError if it is not there."""
        if self.column not in table.column_names:
            raise KeyError(f"there is no column {self.column!r}; there are {', '.join(table.column_names)}")
        return table.column(self.column)

    def to_pyarrow(self) -> Any:
        """Return Arrow's reference to the column."""
        return pc.field(self.column)

    def compute(self, parts: Sequence[Any]) -> Any:
        raise AssertionError("a column has no parts")

    def __repr__(self) -> str:
        return f"col({self.column!r})"


@attrs.frozen(eq=False, repr=False)
class LiteralExpr(Expr):
    """A value that is the same for every row."""

    value: Any

    @property
    def parts(self) -> tuple[Expr, ...]:
        return ()

    def compute(self, parts: Sequence[Any]) -> Any:
        return pa.scalar(self.value)

    def to_pyarrow(self) -> Any:
        """Return Arrow's literal."""
        return pc.scalar(self.value)

    def __repr__(self) -> str:
        return f"lit({self.value!r})"


@attrs.frozen(eq=False, repr=False)
class AliasExpr(Expr):
    """An expression under a name."""

    expr: Expr
    alias_name: str

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.expr,)

    @property
    def name(self) -> str:
        """The name that it was given."""
        return self.alias_name

    def compute(self, parts: Sequence[Any]) -> Any:
        return parts[0]

    def __repr__(self) -> str:
        return f"{self.expr!r}.alias({self.alias_name!r})"


_COMPARISONS = (Operation.EQ, Operation.NE, Operation.LT, Operation.LE, Operation.GT, Operation.GE)


@attrs.frozen(eq=False, repr=False)
class BinaryExpr(Expr):
    """Two expressions and what stands between them.

    Division is Python's: `/` gives fractions, `//` and `%` go together.
    """

    op: Operation
    left: Expr
    right: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        # The values of `in` are not computed for each row.
        return (self.left,) if self.op in (Operation.IN, Operation.NOT_IN) else (self.left, self.right)

    @property
    def in_arrow(self) -> bool:
        """Whether Arrow can compute it inside a reader."""
        return self.op not in (Operation.FLOORDIV, Operation.MOD) and Expr.in_arrow.fget(self)  # type: ignore[attr-defined]

    def to_pyarrow(self) -> Any:
        """Return it as an Arrow expression; whole numbers that are compared are as narrow as they can be.

        Inside a reader Arrow compares a decimal column with no wider literal than that.
        """
        if self.op not in _COMPARISONS or not self.in_arrow:
            return super().to_pyarrow()
        return self.compute([_narrowest(part) for part in self.parts])

    def compute(self, parts: Sequence[Any]) -> Any:
        if self.op in (Operation.IN, Operation.NOT_IN):
            assert isinstance(self.right, LiteralExpr)
            found = pc.is_in(parts[0], options=pc.SetLookupOptions(pa.array(self.right.value)))
            return found if self.op is Operation.IN else pc.invert(found)
        left, right = parts
        if self.op is Operation.ADD and is_text(left):
            return pc.binary_join_element_wise(left, right, "")
        if self.op in BINARY:
            return getattr(pc, BINARY[self.op])(left, right)
        if self.op is Operation.DIV:
            return pc.divide(fractions(left), right)
        whole = pa.types.is_integer(left.type) and pa.types.is_integer(right.type)
        floor = pc.floor(pc.divide(fractions(left), right))
        floor = pc.cast(floor, pa.int64()) if whole else floor
        return floor if self.op is Operation.FLOORDIV else pc.subtract(left, pc.multiply(floor, right))

    def __repr__(self) -> str:
        return f"({self.left!r} {self.op.value} {self.right!r})"


@attrs.frozen(eq=False, repr=False)
class UnaryExpr(Expr):
    """An expression and what stands before it."""

    op: Operation
    operand: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.operand,)

    def compute(self, parts: Sequence[Any]) -> Any:
        called = {Operation.NOT: pc.invert, Operation.IS_NULL: pc.is_null, Operation.IS_NOT_NULL: pc.is_valid}
        return called[self.op](parts[0])

    def __repr__(self) -> str:
        return f"~{self.operand!r}" if self.op is Operation.NOT else f"({self.operand!r} {self.op.value})"


@attrs.frozen(eq=False, repr=False)
class CallExpr(Expr):
    """One of Arrow's compute functions."""

    function: str
    parts: tuple[Expr, ...]
    options: Any = None

    def __reduce__(self) -> tuple[Any, ...]:
        """Arrow's options refuse pickle, but they can be written as bytes."""
        options = None if self.options is None else self.options.serialize().to_pybytes()
        return _called, (self.function, self.parts, options)

    def compute(self, parts: Sequence[Any]) -> Any:
        if any(isinstance(part, pc.Expression) for part in parts):
            return pc.Expression._call(self.function, list(parts), self.options)
        return pc.call_function(self.function, list(parts), self.options)

    def __repr__(self) -> str:
        options = [] if self.options is None else [str(self.options)]
        return f"{self.function}({', '.join([*map(repr, self.parts), *options])})"


def _narrowest(part: Expr) -> Any:
    """Return an Arrow expression; of a whole number in its narrowest type."""
    if isinstance(part, LiteralExpr) and type(part.value) is int:
        for of_type in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32()):
            with contextlib.suppress(pa.ArrowException, OverflowError):
                return pc.scalar(pa.scalar(part.value, of_type))
    return part.to_pyarrow()


def _called(function: str, parts: tuple[Expr, ...], options: bytes | None) -> CallExpr:
    """Return a CallExpr of what its `__reduce__` gave."""
    return CallExpr(
        function, parts, None if options is None else pc.FunctionOptions.deserialize(pa.py_buffer(options))
    )


@attrs.frozen(eq=False, repr=False)
class UDFExpr(Expr):
    """A Python function over arrays of the whole block. `convert` makes its arguments of Arrow's arrays."""

    fn: Callable[..., Any]
    args: tuple[Expr, ...]
    kwargs: Mapping[str, Expr] = attrs.field(factory=dict)
    data_type: Any = None
    convert: Callable[[Any], Any] = as_it_is

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (*self.args, *self.kwargs.values())

    @property
    def in_arrow(self) -> bool:
        """Python functions run in tasks only."""
        return False

    def compute(self, parts: Sequence[Any]) -> Any:
        values = [self.convert(part) for part in parts]
        keywords = dict(zip(self.kwargs, values[len(self.args) :], strict=True))
        name = getattr(self.fn, "__name__", "the function")
        made = self.fn(*values[: len(self.args)], **keywords)
        if made is None:
            raise TypeError(f"{name} must return an array with a value for each row, not None")
        made = to_column(name, made)
        lengths = {len(part) for part in parts if isinstance(part, (pa.Array, pa.ChunkedArray))}
        if lengths and {len(made)} != lengths:
            raise ValueError(f"{name} returned {len(made)} values for {lengths.pop()} rows")
        return (
            made.cast(self.data_type) if self.data_type is not None and made.type != self.data_type else made
        )

    def __repr__(self) -> str:
        return f"{getattr(self.fn, '__name__', self.fn)}({', '.join(map(repr, self.parts))})"


def to_expression(value: Any) -> Expr:
    """Return an expression as it is, and anything else as a literal.

    Example: `to_expression(3)  # lit(3)`
    """
    return value if isinstance(value, Expr) else LiteralExpr(value)
