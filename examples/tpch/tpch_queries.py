"""The 22 queries of TPC-H, written with datasets and expressions.

Each takes the tables and gives the answer with the columns and in the order that the specification asks for. Money
stays decimal, so answers are exact. Source: TPC Benchmark H, Standard Specification, revision 3.0.1, chapter 2.4, with
the values that it gives for validation.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa

import shoal.data
from shoal.data import Dataset, col, lit
from shoal.data.aggregate import Count, CountDistinct, Mean, Min, Sum
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


def q01(tables: Tables) -> Dataset:
    """Pricing summary: what was billed, shipped and returned."""
    lines = tables(
        "lineitem",
        "l_returnflag",
        "l_linestatus",
        "l_quantity",
        "l_extendedprice",
        "l_discount",
        "l_tax",
        "l_shipdate",
    )
    return (
        lines.filter(expr=col("l_shipdate") <= day("1998-09-02"))
        .with_columns({"disc_price": REVENUE, "charge": REVENUE * (ONE + narrow("l_tax"))})
        .groupby(["l_returnflag", "l_linestatus"])
        .aggregate(
            Sum("l_quantity", alias_name="sum_qty"),
            Sum("l_extendedprice", alias_name="sum_base_price"),
            Sum("disc_price", alias_name="sum_disc_price"),
            Sum("charge", alias_name="sum_charge"),
            Mean("l_quantity", alias_name="avg_qty"),
            Mean("l_extendedprice", alias_name="avg_price"),
            Mean("l_discount", alias_name="avg_disc"),
            Count(alias_name="count_order"),
        )
        .sort(["l_returnflag", "l_linestatus"])
    )


def q02(tables: Tables) -> Dataset:
    """Minimum cost supplier: who sells a part for the least in a region."""
    parts = tables("part", "p_partkey", "p_mfgr", "p_size", "p_type").filter(
        expr=(col("p_size") == 15) & col("p_type").str.ends_with("BRASS")
    )
    suppliers = tables(
        "supplier",
        "s_suppkey",
        "s_acctbal",
        "s_name",
        "s_address",
        "s_phone",
        "s_comment",
        "s_nationkey",
    ).join(of_nations(tables, "EUROPE"), "inner", on="s_nationkey", right_on="n_nationkey")
    offers = (
        tables("partsupp", "ps_partkey", "ps_suppkey", "ps_supplycost")
        .join(parts, "inner", on="ps_partkey", right_on="p_partkey")
        .join(suppliers, "inner", on="ps_suppkey", right_on="s_suppkey")
        .materialize()
    )
    least = offers.groupby("ps_partkey").aggregate(Min("ps_supplycost", alias_name="least"))
    return (
        offers.join(least, "left_semi", on=["ps_partkey", "ps_supplycost"], right_on=["ps_partkey", "least"])
        .rename_columns({"ps_partkey": "p_partkey"})
        .select_columns(
            ["s_acctbal", "s_name", "n_name", "p_partkey", "p_mfgr", "s_address", "s_phone", "s_comment"]
        )
        .sort(["s_acctbal", "n_name", "s_name", "p_partkey"], descending=[True, False, False, False])
        .limit(100)
    )


def q03(tables: Tables) -> Dataset:
    """Shipping priority: the unshipped orders of the highest value."""
    customers = tables("customer", "c_custkey", "c_mktsegment").filter(expr=col("c_mktsegment") == "BUILDING")
    orders = tables("orders", "o_orderkey", "o_custkey", "o_orderdate", "o_shippriority").filter(
        expr=col("o_orderdate") < day("1995-03-15")
    )
    return (
        tables("lineitem", "l_orderkey", "l_extendedprice", "l_discount", "l_shipdate")
        .filter(expr=col("l_shipdate") > day("1995-03-15"))
        .with_column("revenue", REVENUE)
        .join(
            orders.join(customers, "left_semi", on="o_custkey", right_on="c_custkey"),
            "inner",
            on="l_orderkey",
            right_on="o_orderkey",
        )
        .groupby(["l_orderkey", "o_orderdate", "o_shippriority"])
        .aggregate(Sum("revenue", alias_name="revenue"))
        .select_columns(["l_orderkey", "revenue", "o_orderdate", "o_shippriority"])
        .sort(["revenue", "o_orderdate"], descending=[True, False])
        .limit(10)
    )


def q04(tables: Tables) -> Dataset:
    """Order priority checking: orders of a quarter with a line that came late."""
    late = tables("lineitem", "l_orderkey", "l_commitdate", "l_receiptdate").filter(
        expr=col("l_commitdate") < col("l_receiptdate")
    )
    return (
        tables("orders", "o_orderkey", "o_orderdate", "o_orderpriority")
        .filter(expr=(col("o_orderdate") >= day("1993-07-01")) & (col("o_orderdate") < day("1993-10-01")))
        .join(late, "left_semi", on="o_orderkey", right_on="l_orderkey")
        .groupby("o_orderpriority")
        .aggregate(Count(alias_name="order_count"))
        .sort("o_orderpriority")
    )


def q05(tables: Tables) -> Dataset:
    """Local supplier volume: revenue within each nation of a region."""
    suppliers = tables("supplier", "s_suppkey", "s_nationkey").join(
        of_nations(tables, "ASIA"), "inner", on="s_nationkey", right_on="n_nationkey"
    )
    orders = (
        tables("orders", "o_orderkey", "o_custkey", "o_orderdate")
        .filter(expr=(col("o_orderdate") >= day("1994-01-01")) & (col("o_orderdate") < day("1995-01-01")))
        .join(tables("customer", "c_custkey", "c_nationkey"), "inner", on="o_custkey", right_on="c_custkey")
        .select_columns(["o_orderkey", "c_nationkey"])
    )
    return (
        tables("lineitem", "l_orderkey", "l_suppkey", "l_extendedprice", "l_discount")
        .with_column("revenue", REVENUE)
        .select_columns(["l_orderkey", "l_suppkey", "revenue"])
        .join(orders, "inner", on="l_orderkey", right_on="o_orderkey")
        .join(
            suppliers,
            "inner",
            on=["l_suppkey", "c_nationkey"],
            right_on=["s_suppkey", "s_nationkey"],
        )
        .groupby("n_name")
        .aggregate(Sum("revenue", alias_name="revenue"))
        .sort("revenue", descending=True)
    )


def q06(tables: Tables) -> Dataset:
    """Forecasting revenue change: what small discounts cost."""
    return (
        tables("lineitem", "l_extendedprice", "l_discount", "l_quantity", "l_shipdate")
        .filter(
            expr=(col("l_shipdate") >= day("1994-01-01"))
            & (col("l_shipdate") < day("1995-01-01"))
            & between(col("l_discount"), Decimal("0.05"), Decimal("0.07"))
            & (col("l_quantity") < 24)
        )
        .with_column("revenue", col("l_extendedprice") * narrow("l_discount"))
        .groupby(None)
        .aggregate(Sum("revenue", alias_name="revenue"))
    )


def q07(tables: Tables) -> Dataset:
    """Volume shipping: trade between two nations, by direction and year."""
    two = tables("nation", "n_nationkey", "n_name").filter(expr=col("n_name").is_in(["FRANCE", "GERMANY"]))
    sellers = tables("supplier", "s_suppkey", "s_nationkey").join(
        two.rename_columns({"n_name": "supp_nation"}), "inner", on="s_nationkey", right_on="n_nationkey"
    )
    buyers = tables("customer", "c_custkey", "c_nationkey").join(
        two.rename_columns({"n_name": "cust_nation"}), "inner", on="c_nationkey", right_on="n_nationkey"
    )
    orders = tables("orders", "o_orderkey", "o_custkey").join(
        buyers, "inner", on="o_custkey", right_on="c_custkey"
    )
    return (
        tables("lineitem", "l_orderkey", "l_suppkey", "l_extendedprice", "l_discount", "l_shipdate")
        .filter(expr=between(col("l_shipdate"), day("1995-01-01"), day("1996-12-31")))
        .with_columns({"l_year": col("l_shipdate").dt.year(), "volume": REVENUE})
        .join(sellers, "inner", on="l_suppkey", right_on="s_suppkey")
        .join(orders, "inner", on="l_orderkey", right_on="o_orderkey")
        .filter(expr=col("supp_nation") != col("cust_nation"))
        .groupby(["supp_nation", "cust_nation", "l_year"])
        .aggregate(Sum("volume", alias_name="revenue"))
        .sort(["supp_nation", "cust_nation", "l_year"])
    )


def q08(tables: Tables) -> Dataset:
    """National market share: a nation's part of a region's trade in one type of part."""
    parts = tables("part", "p_partkey", "p_type").filter(expr=col("p_type") == "ECONOMY ANODIZED STEEL")
    buyers = tables("customer", "c_custkey", "c_nationkey").join(
        of_nations(tables, "AMERICA"), "left_semi", on="c_nationkey", right_on="n_nationkey"
    )
    orders = (
        tables("orders", "o_orderkey", "o_custkey", "o_orderdate")
        .filter(expr=between(col("o_orderdate"), day("1995-01-01"), day("1996-12-31")))
        .join(buyers, "left_semi", on="o_custkey", right_on="c_custkey")
    )
    sellers = tables("supplier", "s_suppkey", "s_nationkey").join(
        tables("nation", "n_nationkey", "n_name"), "inner", on="s_nationkey", right_on="n_nationkey"
    )
    return (
        tables("lineitem", "l_orderkey", "l_partkey", "l_suppkey", "l_extendedprice", "l_discount")
        .join(parts, "left_semi", on="l_partkey", right_on="p_partkey")
        .join(orders, "inner", on="l_orderkey", right_on="o_orderkey")
        .join(sellers, "inner", on="l_suppkey", right_on="s_suppkey")
        .with_columns({"o_year": col("o_orderdate").dt.year(), "volume": REVENUE})
        .with_column("brazil", when(col("n_name") == "BRAZIL", col("volume"), col("volume") * Decimal(0)))
        .groupby("o_year")
        .aggregate(Sum("brazil", alias_name="brazil"), Sum("volume", alias_name="volume"))
        .with_column("mkt_share", col("brazil").cast(pa.float64()) / col("volume").cast(pa.float64()))
        .select_columns(["o_year", "mkt_share"])
        .sort("o_year")
    )


def q09(tables: Tables) -> Dataset:
    """Product type profit measure: profit on parts of a colour, by nation and year."""
    parts = tables("part", "p_partkey", "p_name").filter(expr=col("p_name").str.contains("green"))
    sellers = tables("supplier", "s_suppkey", "s_nationkey").join(
        tables("nation", "n_nationkey", "n_name"), "inner", on="s_nationkey", right_on="n_nationkey"
    )
    cost = col("ps_supplycost") * col("l_quantity").cast(pa.decimal128(6, 2))
    return (
        tables(
            "lineitem",
            "l_orderkey",
            "l_partkey",
            "l_suppkey",
            "l_quantity",
            "l_extendedprice",
            "l_discount",
        )
        .join(parts, "left_semi", on="l_partkey", right_on="p_partkey")
        .join(
            tables("partsupp", "ps_partkey", "ps_suppkey", "ps_supplycost"),
            "inner",
            on=["l_partkey", "l_suppkey"],
            right_on=["ps_partkey", "ps_suppkey"],
        )
        .join(sellers, "inner", on="l_suppkey", right_on="s_suppkey")
        .join(tables("orders", "o_orderkey", "o_orderdate"), "inner", on="l_orderkey", right_on="o_orderkey")
        .with_columns({"o_year": col("o_orderdate").dt.year(), "amount": REVENUE - cost})
        .rename_columns({"n_name": "nation"})
        .groupby(["nation", "o_year"])
        .aggregate(Sum("amount", alias_name="sum_profit"))
        .sort(["nation", "o_year"], descending=[False, True])
    )


def q10(tables: Tables) -> Dataset:
    """Returned item reporting: the customers whose returns cost the most."""
    orders = tables("orders", "o_orderkey", "o_custkey", "o_orderdate").filter(
        expr=(col("o_orderdate") >= day("1993-10-01")) & (col("o_orderdate") < day("1994-01-01"))
    )
    customers = tables(
        "customer", "c_custkey", "c_name", "c_acctbal", "c_address", "c_phone", "c_comment", "c_nationkey"
    ).join(tables("nation", "n_nationkey", "n_name"), "inner", on="c_nationkey", right_on="n_nationkey")
    returned = (
        tables("lineitem", "l_orderkey", "l_extendedprice", "l_discount", "l_returnflag")
        .filter(expr=col("l_returnflag") == "R")
        .with_column("revenue", REVENUE)
        .join(orders, "inner", on="l_orderkey", right_on="o_orderkey")
        .groupby("o_custkey")
        .aggregate(Sum("revenue", alias_name="revenue"))
    )
    return (
        customers.join(returned, "inner", on="c_custkey", right_on="o_custkey")
        .select_columns(
            ["c_custkey", "c_name", "revenue", "c_acctbal", "n_name", "c_address", "c_phone", "c_comment"]
        )
        .sort("revenue", descending=True)
        .limit(20)
    )


def q11(tables: Tables) -> Dataset:
    """Important stock identification: the parts that make up most of a nation's stock."""
    nation = tables("nation", "n_nationkey", "n_name").filter(expr=col("n_name") == "GERMANY")
    suppliers = tables("supplier", "s_suppkey", "s_nationkey").join(
        nation, "left_semi", on="s_nationkey", right_on="n_nationkey"
    )
    stock = (
        tables("partsupp", "ps_partkey", "ps_suppkey", "ps_supplycost", "ps_availqty")
        .join(suppliers, "left_semi", on="ps_suppkey", right_on="s_suppkey")
        .with_column("value", col("ps_supplycost") * col("ps_availqty"))
        .materialize()
    )
    least = stock.sum("value") * Decimal("0.0001")
    return (
        stock.groupby("ps_partkey")
        .aggregate(Sum("value", alias_name="value"))
        .filter(expr=col("value").cast(pa.float64()) > float(least))
        .sort("value", descending=True)
    )


def q12(tables: Tables) -> Dataset:
    """Shipping modes and order priority: whether cheap shipping delays urgent orders."""
    urgent = col("o_orderpriority").is_in(["1-URGENT", "2-HIGH"])
    return (
        tables("lineitem", "l_orderkey", "l_shipmode", "l_shipdate", "l_commitdate", "l_receiptdate")
        .filter(
            expr=col("l_shipmode").is_in(["MAIL", "SHIP"])
            & (col("l_commitdate") < col("l_receiptdate"))
            & (col("l_shipdate") < col("l_commitdate"))
            & (col("l_receiptdate") >= day("1994-01-01"))
            & (col("l_receiptdate") < day("1995-01-01"))
        )
        .join(
            tables("orders", "o_orderkey", "o_orderpriority"),
            "inner",
            on="l_orderkey",
            right_on="o_orderkey",
        )
        .with_columns({"high": when(urgent, 1, 0), "low": when(urgent, 0, 1)})
        .groupby("l_shipmode")
        .aggregate(Sum("high", alias_name="high_line_count"), Sum("low", alias_name="low_line_count"))
        .sort("l_shipmode")
    )


def q13(tables: Tables) -> Dataset:
    """Customer distribution: how many customers have how many orders."""
    orders = tables("orders", "o_orderkey", "o_custkey", "o_comment").filter(
        expr=~col("o_comment").str.match("%special%requests%")
    )
    return (
        tables("customer", "c_custkey")
        .join(orders, "left_outer", on="c_custkey", right_on="o_custkey")
        .groupby("c_custkey")
        .aggregate(Count("o_orderkey", ignore_nulls=True, alias_name="c_count"))
        .groupby("c_count")
        .aggregate(Count(alias_name="custdist"))
        .sort(["custdist", "c_count"], descending=[True, True])
    )


def q14(tables: Tables) -> Dataset:
    """Promotion effect: the promoted parts' share of a month's revenue, in percent."""
    return (
        tables("lineitem", "l_partkey", "l_extendedprice", "l_discount", "l_shipdate")
        .filter(expr=(col("l_shipdate") >= day("1995-09-01")) & (col("l_shipdate") < day("1995-10-01")))
        .join(tables("part", "p_partkey", "p_type"), "inner", on="l_partkey", right_on="p_partkey")
        .with_column("volume", REVENUE)
        .with_column(
            "promoted",
            when(col("p_type").str.starts_with("PROMO"), col("volume"), col("volume") * Decimal(0)),
        )
        .groupby(None)
        .aggregate(Sum("promoted", alias_name="promoted"), Sum("volume", alias_name="volume"))
        .with_column(
            "promo_revenue", col("promoted").cast(pa.float64()) * 100.0 / col("volume").cast(pa.float64())
        )
        .select_columns(["promo_revenue"])
    )


def q15(tables: Tables) -> Dataset:
    """Top supplier: who brought in the most in a quarter."""
    revenue = (
        tables("lineitem", "l_suppkey", "l_extendedprice", "l_discount", "l_shipdate")
        .filter(expr=(col("l_shipdate") >= day("1996-01-01")) & (col("l_shipdate") < day("1996-04-01")))
        .with_column("revenue", REVENUE)
        .groupby("l_suppkey")
        .aggregate(Sum("revenue", alias_name="total_revenue"))
        .materialize()
    )
    most = revenue.max("total_revenue")
    return (
        tables("supplier", "s_suppkey", "s_name", "s_address", "s_phone")
        .join(
            revenue.filter(expr=col("total_revenue") == most),
            "inner",
            on="s_suppkey",
            right_on="l_suppkey",
        )
        .sort("s_suppkey")
    )


def q16(tables: Tables) -> Dataset:
    """Parts/supplier relationship: how many suppliers without complaints sell which parts."""
    complained = tables("supplier", "s_suppkey", "s_comment").filter(
        expr=col("s_comment").str.match("%Customer%Complaints%")
    )
    parts = tables("part", "p_partkey", "p_brand", "p_type", "p_size").filter(
        expr=(col("p_brand") != "Brand#45")
        & ~col("p_type").str.starts_with("MEDIUM POLISHED")
        & col("p_size").is_in([49, 14, 23, 45, 19, 3, 36, 9])
    )
    return (
        tables("partsupp", "ps_partkey", "ps_suppkey")
        .join(complained, "left_anti", on="ps_suppkey", right_on="s_suppkey")
        .join(parts, "inner", on="ps_partkey", right_on="p_partkey")
        .groupby(["p_brand", "p_type", "p_size"])
        .aggregate(CountDistinct("ps_suppkey", alias_name="supplier_cnt"))
        .sort(["supplier_cnt", "p_brand", "p_type", "p_size"], descending=[True, False, False, False])
    )


def q17(tables: Tables) -> Dataset:
    """Small-quantity-order revenue: what would be lost without small orders, a year."""
    parts = tables("part", "p_partkey", "p_brand", "p_container").filter(
        expr=(col("p_brand") == "Brand#23") & (col("p_container") == "MED BOX")
    )
    lines = (
        tables("lineitem", "l_partkey", "l_quantity", "l_extendedprice")
        .join(parts, "left_semi", on="l_partkey", right_on="p_partkey")
        .materialize()
    )
    means = lines.groupby("l_partkey").aggregate(Mean("l_quantity", alias_name="mean"))
    return (
        lines.join(means, "inner", on="l_partkey")
        .filter(expr=col("l_quantity").cast(pa.float64()) < col("mean").cast(pa.float64()) * 0.2)
        .groupby(None)
        .aggregate(Sum("l_extendedprice", alias_name="total"))
        .with_column("avg_yearly", col("total").cast(pa.float64()) / 7.0)
        .select_columns(["avg_yearly"])
    )


def q18(tables: Tables) -> Dataset:
    """Large volume customer: the orders of more than 300 pieces."""
    large = (
        tables("lineitem", "l_orderkey", "l_quantity")
        .groupby("l_orderkey")
        .aggregate(Sum("l_quantity", alias_name="sum"))
        .filter(expr=col("sum") > 300)
    )
    return (
        tables("orders", "o_orderkey", "o_custkey", "o_orderdate", "o_totalprice")
        .join(large, "inner", on="o_orderkey", right_on="l_orderkey")
        .join(tables("customer", "c_custkey", "c_name"), "inner", on="o_custkey", right_on="c_custkey")
        .rename_columns({"o_custkey": "c_custkey"})
        .select_columns(["c_name", "c_custkey", "o_orderkey", "o_orderdate", "o_totalprice", "sum"])
        .sort(["o_totalprice", "o_orderdate"], descending=[True, False])
        .limit(100)
    )


def q19(tables: Tables) -> Dataset:
    """Discounted revenue: some parts, shipped by air and delivered in person."""

    def kind(brand: str, containers: list[str], least: int, size: int) -> Expr:
        return (
            (col("p_brand") == brand)
            & col("p_container").is_in(containers)
            & between(col("l_quantity"), least, least + 10)
            & between(col("p_size"), 1, size)
        )

    return (
        tables(
            "lineitem",
            "l_partkey",
            "l_quantity",
            "l_extendedprice",
            "l_discount",
            "l_shipmode",
            "l_shipinstruct",
        )
        .filter(
            expr=col("l_shipmode").is_in(["AIR", "AIR REG"]) & (col("l_shipinstruct") == "DELIVER IN PERSON")
        )
        .join(
            tables("part", "p_partkey", "p_brand", "p_container", "p_size"),
            "inner",
            on="l_partkey",
            right_on="p_partkey",
        )
        .filter(
            expr=kind("Brand#12", ["SM CASE", "SM BOX", "SM PACK", "SM PKG"], 1, 5)
            | kind("Brand#23", ["MED BAG", "MED BOX", "MED PKG", "MED PACK"], 10, 10)
            | kind("Brand#34", ["LG CASE", "LG BOX", "LG PACK", "LG PKG"], 20, 15)
        )
        .with_column("revenue", REVENUE)
        .groupby(None)
        .aggregate(Sum("revenue", alias_name="revenue"))
    )


def q20(tables: Tables) -> Dataset:
    """Potential part promotion: suppliers of a nation with more of a part in stock than half a year's sales."""
    forest = tables("part", "p_partkey", "p_name").filter(expr=col("p_name").str.starts_with("forest"))
    sold = (
        tables("lineitem", "l_partkey", "l_suppkey", "l_quantity", "l_shipdate")
        .filter(expr=(col("l_shipdate") >= day("1994-01-01")) & (col("l_shipdate") < day("1995-01-01")))
        .join(forest, "left_semi", on="l_partkey", right_on="p_partkey")
        .groupby(["l_partkey", "l_suppkey"])
        .aggregate(Sum("l_quantity", alias_name="sold"))
    )
    plenty = (
        tables("partsupp", "ps_partkey", "ps_suppkey", "ps_availqty")
        .join(sold, "inner", on=["ps_partkey", "ps_suppkey"], right_on=["l_partkey", "l_suppkey"])
        .filter(expr=col("ps_availqty").cast(pa.float64()) > col("sold").cast(pa.float64()) * 0.5)
    )
    nation = tables("nation", "n_nationkey", "n_name").filter(expr=col("n_name") == "CANADA")
    return (
        tables("supplier", "s_suppkey", "s_name", "s_address", "s_nationkey")
        .join(nation, "left_semi", on="s_nationkey", right_on="n_nationkey")
        .join(plenty, "left_semi", on="s_suppkey", right_on="ps_suppkey")
        .select_columns(["s_name", "s_address"])
        .sort("s_name")
    )


def q21(tables: Tables) -> Dataset:
    """Suppliers who kept orders waiting: the only late one of several suppliers of an order."""
    lines = tables("lineitem", "l_orderkey", "l_suppkey", "l_commitdate", "l_receiptdate")
    several = (
        lines.groupby("l_orderkey")
        .aggregate(CountDistinct("l_suppkey", alias_name="suppliers"))
        .filter(expr=col("suppliers") > 1)
    )
    late = lines.filter(expr=col("l_receiptdate") > col("l_commitdate")).materialize()
    alone = (
        late.groupby("l_orderkey")
        .aggregate(CountDistinct("l_suppkey", alias_name="suppliers"))
        .filter(expr=col("suppliers") == 1)
    )
    done = tables("orders", "o_orderkey", "o_orderstatus").filter(expr=col("o_orderstatus") == "F")
    nation = tables("nation", "n_nationkey", "n_name").filter(expr=col("n_name") == "SAUDI ARABIA")
    suppliers = tables("supplier", "s_suppkey", "s_name", "s_nationkey").join(
        nation, "left_semi", on="s_nationkey", right_on="n_nationkey"
    )
    return (
        late.join(suppliers, "inner", on="l_suppkey", right_on="s_suppkey")
        .join(done, "left_semi", on="l_orderkey", right_on="o_orderkey")
        .join(several, "left_semi", on="l_orderkey")
        .join(alone, "left_semi", on="l_orderkey")
        .groupby("s_name")
        .aggregate(Count(alias_name="numwait"))
        .sort(["numwait", "s_name"], descending=[True, False])
        .limit(100)
    )


def q22(tables: Tables) -> Dataset:
    """Global sales opportunity: customers with money and without orders, by country."""
    customers = (
        tables("customer", "c_custkey", "c_phone", "c_acctbal")
        .with_column("cntrycode", col("c_phone").str.slice(0, 2))
        .filter(expr=col("cntrycode").is_in(["13", "31", "23", "29", "30", "18", "17"]))
        .materialize()
    )
    mean = customers.filter(expr=col("c_acctbal") > 0).mean("c_acctbal")
    return (
        customers.filter(expr=col("c_acctbal").cast(pa.float64()) > float(mean))
        .join(tables("orders", "o_custkey"), "left_anti", on="c_custkey", right_on="o_custkey")
        .groupby("cntrycode")
        .aggregate(Count(alias_name="numcust"), Sum("c_acctbal", alias_name="totacctbal"))
        .sort("cntrycode")
    )


QUERIES: dict[int, Callable[[Tables], Dataset]] = {
    number: globals()[f"q{number:02d}"] for number in range(1, 23)
}
