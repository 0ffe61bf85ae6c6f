"""Aggregates of groups, joined from what each block gave, against those of all rows together."""

from __future__ import annotations

import decimal
import math
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal.data
from shoal.data.aggregate import AggregateFn, AsList, Count, Max, Mean, Min, Quantile, Std, Sum
from shoal.data.block import concat
from shoal.data.combining import combine, finish_parts, join_parts, parts_of
from shoal.data.grouping import aggregate_groups

AGGREGATES: list[AggregateFn] = [
    Count(),
    Count("x", ignore_nulls=True),
    Sum("x"),
    Sum("x", ignore_nulls=False, alias_name="sum or null"),
    Min("word"),
    Max("x"),
    Mean("x"),
    Mean("x", ignore_nulls=False, alias_name="mean or null"),
    Std("x"),
    Std("x", ddof=0, ignore_nulls=False, alias_name="std or null"),
]
rows = st.tuples(st.sampled_from([1, 2, 3, None]), st.none() | st.integers(-9, 9), st.sampled_from("abc"))
blocks = st.lists(
    st.tuples(st.lists(rows, min_size=1, max_size=12), st.sampled_from([pa.int64(), pa.float64()])),
    min_size=1,
    max_size=4,
)


def table(of: list[Any], kind: Any) -> Any:
    keys, values, words = zip(*of, strict=True)
    # A column that holds nothing but nulls has no type, as readers of JSON and of Python's values give it.
    kind = pa.null() if all(value is None for value in values) else kind
    return pa.table({"key": pa.array(keys, pa.int64()), "x": pa.array(values, kind), "word": list(words)})


@settings(max_examples=200, deadline=None)
@given(made=blocks)
def test_joined_blocks_give_what_all_rows_together_give(made: list[tuple[list[Any], Any]]) -> None:
    tables = [table(of, kind) for of, kind in made]
    parts = [combine(each, ["key"], AGGREGATES) for each in tables]
    found = finish_parts(join_parts(concat(parts), ["key"], AGGREGATES), ["key"], AGGREGATES)
    wanted = aggregate_groups(concat(tables), ["key"], AGGREGATES)
    assert found.column_names == wanted.column_names
    for name in wanted.column_names:
        pairs = zip(found.column(name).to_pylist(), wanted.column(name).to_pylist(), strict=True)
        for got, want in pairs:
            same = (
                got == want
                if want is None or isinstance(want, str)
                else math.isclose(got, want, abs_tol=1e-9)
            )
            assert same, f"{name}: {got}, not {want}"


def test_a_mean_of_decimals_has_all_its_digits() -> None:
    cents = [decimal.Decimal(value) / 100 for value in (1, 2, 4)]
    tables = [pa.table({"key": [1], "x": pa.array([each], pa.decimal128(15, 2))}) for each in cents]
    parts = [combine(each, ["key"], [Mean("x")]) for each in tables]
    found = finish_parts(join_parts(concat(parts), ["key"], [Mean("x")]), ["key"], [Mean("x")])
    assert found.column("mean(x)").to_pylist() == [pytest.approx(0.07 / 3)]


def test_what_needs_a_whole_group_is_not_made_by_blocks() -> None:
    assert parts_of([Sum("x"), Quantile("x")]) is None
    assert parts_of([AsList("x")]) is None


@pytest.mark.usefixtures("inline")
def test_groups_are_made_where_rows_are_read() -> None:
    numbers = shoal.data.range(1000, override_num_blocks=10).map_batches(
        lambda batch: {"key": batch["id"] % 7, "id": batch["id"]}
    )
    totals = numbers.groupby("key").aggregate(Sum("id"), Mean("id"), Count())
    executed = totals.explain().split("As executed:")[1]
    assert "CombineGroups(key)" in executed
    assert [(row["key"], row["sum(id)"], row["count()"]) for row in totals.take_all()] == [
        (key, sum(range(key, 1000, 7)), len(range(key, 1000, 7))) for key in range(7)
    ]
    with pytest.raises(KeyError, match="there is no column 'fare'; there are key, id"):
        numbers.groupby("key").aggregate(Sum("fare")).take_all()
