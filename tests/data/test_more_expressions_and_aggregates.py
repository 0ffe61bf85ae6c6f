"""Expressions that number, name, draw and download rows, and aggregates of a program's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

import shoal.data
from shoal.data import col, lit
from shoal.data.expressions import (
    download,
    expand_star_exprs,
    exprlist_to_fields,
    is_rename_expr,
    monotonically_increasing_id,
    random,
    star,
    uuid,
)
from shoal.data.own_aggregates import AggregateFnV2, ApproximateQuantile, ApproximateTopK

pytestmark = pytest.mark.usefixtures("session")


def test_rows_get_numbers_names_and_draws() -> None:
    ds = shoal.data.range(100, override_num_blocks=4).with_columns(
        {"row": monotonically_increasing_id(), "key": uuid(), "draw": random(seed=1), "again": random(seed=1)}
    )
    rows = ds.take_all()
    assert [row["row"] for row in rows] == sorted({row["row"] for row in rows})
    assert len({row["key"] for row in rows}) == 100
    assert all(0 <= row["draw"] < 1 for row in rows)
    assert len({row["draw"] for row in rows}) == 100
    assert [row["draw"] for row in rows] == [row["again"] for row in rows]
    assert [row["draw"] for row in ds.take_all()] == [row["draw"] for row in rows]
    assert not uuid().is_idempotent()
    assert not (random() + 1).is_idempotent()
    assert (col("x") + 1).is_idempotent()


def test_files_that_a_column_names_are_read(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_bytes(name.encode() * 3)
    uris = [str(tmp_path / "a"), (tmp_path / "b").as_uri(), None]
    ds = shoal.data.from_items([{"uri": uri} for uri in uris]).with_column("bytes", download("uri"))
    assert [row["bytes"] for row in ds.take_all()] == [b"aaa", b"bbb", None]
    missing = shoal.data.from_items([{"uri": str(tmp_path / "c")}]).with_column("bytes", download("uri"))
    with pytest.raises(FileNotFoundError):
        missing.take_all()


def test_expressions_know_their_types() -> None:
    schema = pa.schema([pa.field("x", pa.int64(), nullable=False), pa.field("s", pa.string())])
    assert (col("x") / 2).get_type(schema) == pa.float64()
    assert (col("x") / 2).alias("half").to_field(schema) == pa.field("half", pa.float64(), nullable=False)
    assert col("s").nullable(schema)
    assert not lit(3).nullable(schema)
    fields = exprlist_to_fields([star(), col("s").str.len().alias("n")], schema)
    assert [field.name for field in fields] == ["x", "s", "n"]
    assert len(expand_star_exprs([star(), star()], schema)) == 4
    assert is_rename_expr(col("x").alias("y"))
    assert not is_rename_expr((col("x") + 1).alias("y"))
    with pytest.raises(ValueError, match="needs a name"):
        (col("x") + 1).to_field(schema)


def test_options_of_arrow_pass_through() -> None:
    pytest.importorskip("pyarrow", minversion="20")  # older ones have no such option
    table = pa.table({"s": ["ab"]})
    assert col("s").str.center(5, "*", False).evaluate(table).to_pylist() == ["**ab*"]
    assert col("s").str.center(5, "*", lean_left_on_odd_padding=True).evaluate(table).to_pylist() == ["*ab**"]
    with pytest.raises(TypeError):
        col("s").str.contains("a", ignore="case")


class Longest(AggregateFnV2):
    def __init__(self, on: str) -> None:
        super().__init__(f"longest({on})", lambda: 0, on=on)

    def aggregate_block(self, block: Any) -> int:
        assert not block.column(self.on).null_count
        return int(pc.max(pc.utf8_length(block.column(self.on))).as_py())

    def combine(self, current_accumulator: int, new: int) -> int:
        return max(current_accumulator, new)


def test_aggregates_of_ones_own() -> None:
    items = [{"k": n % 2, "s": None if n == 5 else "x" * n} for n in range(6)]
    ds = shoal.data.from_items(items, override_num_blocks=3)
    assert ds.aggregate(Longest("s")) == {"longest(s)": 4}
    assert ds.groupby("k").aggregate(Longest("s")).sort("k").take_all() == [
        {"k": 0, "longest(s)": 4},
        {"k": 1, "longest(s)": 3},
    ]
    assert (Longest("s").get_agg_name(), Longest("s").get_target_column()) == ("longest(s)", "s")
    with pytest.raises(KeyError, match="no column 't'"):
        ds.aggregate(Longest("t"))


def test_sketches_come_near() -> None:
    pytest.importorskip("datasketches")
    ds = shoal.data.range(10_000, override_num_blocks=5)
    found = ds.aggregate(ApproximateQuantile("id", [0.1, 0.5]))["approx_quantile(id)"]
    assert found == pytest.approx([1000, 5000], abs=200)
    words = shoal.data.from_items(
        [{"w": word} for word in "a" * 50 + "b" * 30 + "cdefg"], override_num_blocks=3
    )
    top = words.aggregate(ApproximateTopK("w", k=2))["approx_topk(w)"]
    assert top == [{"w": "a", "count": 50}, {"w": "b", "count": 30}]
    lists = shoal.data.from_items([{"w": ["a", "b"]}, {"w": ["a"]}])
    assert lists.aggregate(ApproximateTopK("w", k=1, encode_lists=True))["approx_topk(w)"] == [
        {"w": "a", "count": 2}
    ]
    with pytest.raises(ValueError, match="shares from 0 to 1"):
        ApproximateQuantile("id", [2])
