"""The other eleven queries of TPC-H, written with datasets and expressions.

Each takes the tables and gives the answer with the columns and in the order that the specification asks for. Money
stays decimal, so answers are exact. Source: TPC Benchmark H, Standard Specification, revision 3.0.1, chapter 2.4, with
the values that it gives for validation.
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from tpch_words import REVENUE, Tables, between, day, when

from shoal.data import Dataset, col
from shoal.data.aggregate import Count, CountDistinct, Mean, Sum
from shoal.data.expressions import Expr


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
