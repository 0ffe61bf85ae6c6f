"""What the queries of TPC-H have in common: tables, and words of SQL as expressions."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

import shoal.data
from shoal.data import Dataset, col, lit
from shoal.data.expressions import Expr

ONE = lit(Decimal(1))
NAMES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")


class Tables:
    """The eight tables, each a folder or file of Parquet; only the columns that a query names are read.

    Example: `Tables(Path("tpch"))("nation", "n_name")`
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, table: str, *columns: str) -> Dataset:
        """Return a table's columns.

        Example: `tables("region", "r_regionkey", "r_name")`
        """
        return shoal.data.read_parquet(str(self.folder / f"{table}.parquet"), columns=list(columns))


def day(text: str) -> Expr:
    """Return a day as an expression.

    Example: `day("1998-09-02")`
    """
    return lit(datetime.date.fromisoformat(text))


def narrow(name: str) -> Expr:
    """Return a share (a discount, a tax) with no more digits than it has: products must fit into 38.

    Example: `ONE - narrow("l_discount")`
    """
    return col(name).cast(pa.decimal128(4, 2))


def between(expression: Expr, low: Any, high: Any) -> Expr:
    """Return whether a value lies between two others or equals one.

    Example: `between(col("p_size"), 1, 5)`
    """
    return (expression >= low) & (expression <= high)


def when(condition: Expr, then: Any, otherwise: Any) -> Expr:
    """Return one value where the condition holds, and another where it does not.

    Example: `when(col("nation") == "BRAZIL", col("volume"), 0)`
    """
    return condition.call("if_else", then, otherwise)


def of_nations(tables: Tables, region: str) -> Dataset:
    """Return the nations of a region.

    Example: `of_nations(tables, "EUROPE")`
    """
    regions = tables("region", "r_regionkey", "r_name").filter(expr=col("r_name") == region)
    nations = tables("nation", "n_nationkey", "n_name", "n_regionkey")
    return nations.join(regions, "left_semi", on="n_regionkey", right_on="r_regionkey").select_columns(
        ["n_nationkey", "n_name"]
    )


REVENUE = col("l_extendedprice") * (ONE - narrow("l_discount"))
