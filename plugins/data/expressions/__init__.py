"""Expressions over columns: what is to be computed, as a value that readers and rules can look into."""

from shoal.data.expressions.dates import DateNamespace
from shoal.data.expressions.making import col, lit, pyarrow_udf, udf
from shoal.data.expressions.nested import ArrayNamespace, ListNamespace, MapNamespace, StructNamespace
from shoal.data.expressions.operations import Operation
from shoal.data.expressions.parse import parse, to_arrow
from shoal.data.expressions.projections import (
    StarExpr,
    UnnestExpr,
    expand_projection_exprs,
    expand_star_exprs,
    exprlist_to_fields,
    star,
    unnest,
)
from shoal.data.expressions.special import (
    DownloadExpr,
    MonotonicallyIncreasingIdExpr,
    RandomExpr,
    UUIDExpr,
    download,
    is_rename_expr,
    monotonically_increasing_id,
    random,
    uuid,
)
from shoal.data.expressions.strings import StringNamespace
from shoal.data.expressions.tree import (
    AliasExpr,
    BinaryExpr,
    CallExpr,
    ColumnExpr,
    Expr,
    LiteralExpr,
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
    "DownloadExpr",
    "Expr",
    "ListNamespace",
    "LiteralExpr",
    "MapNamespace",
    "MonotonicallyIncreasingIdExpr",
    "Operation",
    "RandomExpr",
    "StarExpr",
    "StringNamespace",
    "StructNamespace",
    "UDFExpr",
    "UUIDExpr",
    "UnaryExpr",
    "UnnestExpr",
    "col",
    "download",
    "expand_projection_exprs",
    "expand_star_exprs",
    "exprlist_to_fields",
    "is_rename_expr",
    "lit",
    "monotonically_increasing_id",
    "parse",
    "pyarrow_udf",
    "random",
    "star",
    "to_arrow",
    "to_expression",
    "udf",
    "unnest",
    "uuid",
]
