"""The functions that expressions are begun with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa

from shoal.data.block import to_numpy
from shoal.data.expressions.tree import ColumnExpr, LiteralExpr, UDFExpr, to_expression
from shoal.errors import describe


def col(name: str) -> ColumnExpr:
    """Return a column, for expressions. Raises TypeError for anything but a name.

    Example: `ds.filter(expr=col("fare") > 10)`
    """
    if not isinstance(name, str):
        raise TypeError(f"col takes the name of a column, not {describe(name)}")
    return ColumnExpr(name)


def lit(value: Any) -> LiteralExpr:
    """Return a value, for expressions.

    Example: `ds.with_column("source", lit("web"))`
    """
    return LiteralExpr(value)


def udf(return_dtype: Any = None) -> Callable[[Callable[..., Any]], Callable[..., UDFExpr]]:
    """Make an expression of a function of NumPy arrays: what it is called with are columns, whole blocks at a time.

    Parameters: `return_dtype` is the Arrow type of what it returns (None: as it comes).

    Example:
        @udf(pa.float64())
        def half(x): return x / 2
        ds.with_column("half", half(col("x")))
    """
    return _udf(return_dtype, _as_numpy)


def pyarrow_udf(return_dtype: Any = None) -> Callable[[Callable[..., Any]], Callable[..., UDFExpr]]:
    """Make an expression of a function of Arrow arrays; else as `udf`.

    Example: `pyarrow_udf(pa.string())(pc.utf8_upper)(col("name"))`
    """
    return _udf(return_dtype, lambda value: value)


def _udf(
    return_dtype: Any, convert: Callable[[Any], Any]
) -> Callable[[Callable[..., Any]], Callable[..., UDFExpr]]:
    def decorate(fn: Callable[..., Any]) -> Callable[..., UDFExpr]:
        def call(*args: Any, **kwargs: Any) -> UDFExpr:
            return UDFExpr(
                fn,
                tuple(map(to_expression, args)),
                {name: to_expression(value) for name, value in kwargs.items()},
                return_dtype,
                convert,
            )

        call.__name__ = getattr(fn, "__name__", "call")
        call.__doc__ = fn.__doc__
        return call

    return decorate


def _as_numpy(value: Any) -> Any:
    return to_numpy(value) if isinstance(value, (pa.Array, pa.ChunkedArray)) else value.as_py()
