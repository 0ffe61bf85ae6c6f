"""Columns are chosen by names and by expressions, of which some stand for several columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shoal.data
from shoal.data import col
from shoal.data.expressions import expand_projection_exprs, lit, star, unnest

pytestmark = pytest.mark.usefixtures("inline")


@pytest.fixture
def people() -> shoal.data.Dataset:
    address = [{"city": "Bern", "zip": 3000}, {"city": "Basel", "zip": None}]
    return shoal.data.from_arrow(pa.table({"id": [1, 2], "x": [1.5, 2.5], "address": address}))


def test_a_star_is_all_columns_and_what_comes_later_replaces(people: shoal.data.Dataset) -> None:
    chosen = people.drop_columns("address").select_columns(
        [star(), (col("x") * 2).alias("x"), lit("web").alias("of")]
    )
    assert chosen.take_all() == [{"id": 1, "x": 3.0, "of": "web"}, {"id": 2, "x": 5.0, "of": "web"}]


def test_structs_are_taken_apart(people: shoal.data.Dataset) -> None:
    chosen = people.select_columns(["id", unnest("address")])
    assert chosen.take_all() == [
        {"id": 1, "city": "Bern", "zip": 3000},
        {"id": 2, "city": "Basel", "zip": None},
    ]
    schema = pa.schema({"address": pa.struct({"city": pa.string()}), "id": pa.int64()})
    names = [expr.name for expr in expand_projection_exprs([star(), unnest(col("address"))], schema)]
    assert names == ["address", "id", "city"]


def test_expressions_and_new_names_come_in_the_order_asked_for(people: shoal.data.Dataset) -> None:
    chosen = people.select_columns([(col("x") + col("id")).alias("sum"), "id", col("id").alias("number")])
    assert chosen.take_all() == [{"sum": 2.5, "id": 1, "number": 1}, {"sum": 4.5, "id": 2, "number": 2}]
    assert people.select_columns(col("x").alias("y")).columns() == ["y"]


def test_only_what_is_needed_is_read(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": [2], "c": [3]}), tmp_path / "a.parquet")
    chosen = shoal.data.read_parquet(tmp_path).select_columns([(col("a") * 2).alias("twice"), "b"])
    assert "columns: a, b)" in chosen.explain()
    assert chosen.take_all() == [{"twice": 2, "b": 2}]


@pytest.mark.parametrize(
    ("cols", "error", "told"),
    [
        ([col("x") * 2], ValueError, "needs a name"),
        (["id", col("id")], ValueError, "twice: id, id"),
        ([star(), 4], TypeError, "not 4"),
        ([unnest("x")], TypeError, "unnest takes structs apart; col('x') gives double"),
        ([unnest("address").alias("a")], TypeError, "use it in select_columns"),
    ],
)
def test_what_cannot_be_chosen_is_told(
    people: shoal.data.Dataset, cols: Any, error: type[Exception], told: str
) -> None:
    with pytest.raises(error, match=told.replace("(", r"\(").replace(")", r"\)")):
        people.select_columns(cols).take_all()


def test_unnest_takes_a_name_or_an_expression() -> None:
    with pytest.raises(TypeError, match="not 3"):
        unnest(3)  # type: ignore[arg-type]


def test_a_chosen_column_can_be_written(people: shoal.data.Dataset, tmp_path: Path) -> None:
    people.select_columns([unnest("address"), "id"]).write_json(tmp_path)
    [file] = tmp_path.glob("*.json*")
    assert [json.loads(line)["city"] for line in file.read_text().splitlines()] == ["Bern", "Basel"]
