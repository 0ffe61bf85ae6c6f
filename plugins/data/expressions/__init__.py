"""Expressions over columns: what is to be computed, as a value that readers and rules can look into."""

from shoal.data.expressions.dates import DateNamespace
from shoal.data.expressions.making import col, lit, pyarrow_udf, star, udf
from shoal.data.expressions.nested import ArrayNamespace, ListNamespace, MapNamespace, StructNamespace
from shoal.data.expressions.parse import parse, to_arrow
from shoal.data.expressions.strings import StringNamespace
from shoal.data.expressions.tree import (
    AliasExpr,
    BinaryExpr,
    CallExpr,
    ColumnExpr,
    Expr,
    LiteralExpr,
    Operation,
    StarExpr,
    UDFExpr,
    UnaryExpr,
    to_expression,
)

__all__ = [
    "AliasExpr",
    "ArrayNamespace",
    "BinaryExpr",
    "CallExpr",
    "ColumnExpr",
    "DateNamespace",
    "Expr",
    "ListNamespace",
    "LiteralExpr",
    "MapNamespace",
    "Operation",
    "StarExpr",
    "StringNamespace",
    "StructNamespace",
    "UDFExpr",
    "UnaryExpr",
    "col",
    "lit",
    "parse",
    "pyarrow_udf",
    "star",
    "to_arrow",
    "to_expression",
    "udf",
]
