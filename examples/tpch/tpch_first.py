"""The first eleven queries of TPC-H, written with datasets and expressions.

Each takes the tables and gives the answer with the columns and in the order that the specification asks for. Money
stays decimal, so answers are exact. Source: TPC Benchmark H, Standard Specification, revision 3.0.1, chapter 2.4, with
the values that it gives for validation.
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
from tpch_words import ONE, REVENUE, Tables, between, day, narrow, of_nations, when

from shoal.data import Dataset, col
from shoal.data.aggregate import Count, Mean, Min, Sum


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
