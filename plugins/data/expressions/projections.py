"""Expressions that stand for several columns, and what a choice of columns makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.expressions.nested import StructNamespace
from shoal.data.expressions.tree import ColumnExpr, Expr
from shoal.errors import describe


@attrs.frozen(eq=False, repr=False)
class StarExpr(Expr):
    """All columns that there are."""

    @property
    def parts(self) -> tuple[Expr, ...]:
        return ()

    def compute(self, parts: Sequence[Any]) -> Any:
        raise TypeError("star() stands for all columns: use it in select_columns, not inside an expression")

    def expand_projection(self, input_schema: Any) -> list[Expr]:
        """Return the columns of an Arrow schema."""
        return [ColumnExpr(name) for name in input_schema.names]

    def __repr__(self) -> str:
        return "star()"


@attrs.frozen(eq=False, repr=False)
class UnnestExpr(Expr):
    """The fields of structs, each as a column of its own."""

    expr: Expr

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (self.expr,)

    def compute(self, parts: Sequence[Any]) -> Any:
        raise TypeError(
            "unnest() stands for several columns: use it in select_columns, not inside an expression"
        )

    def expand_projection(self, input_schema: Any) -> list[Expr]:
        """Return an expression for each field. Raises TypeError if the values are no structs."""
        kind = self.expr.get_type(input_schema)
        if not pa.types.is_struct(kind):
            raise TypeError(f"unnest takes structs apart; {self.expr!r} gives {kind}")
        struct = StructNamespace(self.expr)
        return [struct.field(field.name).alias(field.name) for field in kind]

    def __repr__(self) -> str:
        return f"unnest({self.expr!r})"


def star() -> StarExpr:
    """Return what stands for all columns.

    Example: `ds.select_columns([star(), (col("x") * 2).alias("double")])`
    """
    return StarExpr()


def unnest(expr: str | Expr) -> UnnestExpr:
    """Return what stands for the fields of structs, each a column of its own: of a column, or an expression.

    Raises TypeError for anything else.

    Example: `ds.select_columns(["id", unnest("address")])`
    """
    if not isinstance(expr, (str, Expr)):
        raise TypeError(f"unnest takes the name of a column or an expression, not {describe(expr)}")
    return UnnestExpr(ColumnExpr(expr) if isinstance(expr, str) else expr)


def expand_projection_exprs(exprs: Sequence[Expr], input_schema: Any) -> list[Expr]:
    """Return expressions with what stands for several columns replaced by these columns of an Arrow schema.

    Example: `expand_projection_exprs([star(), unnest("address")], schema)`
    """
    return [each for expr in exprs for each in expr.expand_projection(input_schema)]


def expand_star_exprs(exprs: Sequence[Expr], input_schema: Any) -> list[Expr]:
    """Return expressions with each `star()` replaced by the columns of an Arrow schema.

    Example: `expand_star_exprs([star(), (col("x") * 2).alias("y")], schema)`
    """
    made: list[Expr] = []
    for expr in exprs:
        made += expr.expand_projection(input_schema) if isinstance(expr, StarExpr) else [expr]
    return made


def exprlist_to_fields(exprs: Sequence[Expr], input_schema: Any) -> list[Any]:
    """Return the Arrow fields that expressions give for rows of a schema. Raises ValueError for one without a name.

    Example: `exprlist_to_fields([col("x"), (col("x") / 2).alias("half")], schema)`
    """
    return [expr.to_field(input_schema) for expr in expand_projection_exprs(exprs, input_schema)]
