"""What users' data and functions get wrong: each is said with what came, what is allowed, and where."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shoal.data
from shoal.data import col
from shoal.data.aggregate import Sum

pytestmark = pytest.mark.usefixtures("inline")


def told(raised: pytest.ExceptionInfo[BaseException]) -> str:
    """The error's text and its notes."""
    return str(raised.value) + "".join(getattr(raised.value, "__notes__", []))


def numbers(count: int = 10) -> shoal.data.Dataset:
    return shoal.data.range(count, override_num_blocks=3)


def test_files_whose_schemas_drift_are_read_together(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "b": ["x"]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"b": ["y"], "a": [2.5], "c": [True]}), tmp_path / "1.parquet")
    frame = shoal.data.read_parquet(tmp_path).to_pandas()
    assert frame["a"].tolist() == [1.0, 2.5]
    assert frame["c"].tolist()[1] is True
    assert pd.isna(frame["c"].tolist()[0])
    assert [row["a"] for row in shoal.data.read_parquet(tmp_path).sort("a", descending=True).take_all()] == [
        2.5,
        1,
    ]


def test_types_that_do_not_fit_are_named(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"a": ["text"]}), tmp_path / "1.parquet")
    with pytest.raises(ValueError, match="blocks of different columns or types") as raised:
        shoal.data.read_parquet(tmp_path).to_pandas()
    assert "a: int64" in told(raised)
    assert "a: string" in told(raised)


def test_empty_files_have_no_rows(tmp_path: Path) -> None:
    for ending in ("csv", "json", "parquet", "txt", "orc", "avro"):
        (tmp_path / f"empty.{ending}").write_bytes(b"")
    for read in (
        shoal.data.read_csv,
        shoal.data.read_json,
        shoal.data.read_parquet,
        shoal.data.read_orc,
        shoal.data.read_avro,
    ):
        assert read(tmp_path).take_all() == []
    (tmp_path / "head.csv").write_text("a,b\n")
    assert shoal.data.read_csv(tmp_path / "head.csv").columns() == ["a", "b"]


def test_what_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="ignore_missing_paths=True leaves it out"):
        shoal.data.read_csv(tmp_path / "none.csv")
    with pytest.raises(FileNotFoundError, match="no file matches"):
        shoal.data.read_csv(str(tmp_path / "*.csv"))
    with pytest.raises(ValueError, match=r"no file to read .*extensions: csv"):
        shoal.data.read_csv(tmp_path)
    (tmp_path / "a.csv").write_text("x\n1\n")
    there = [tmp_path / "a.csv", tmp_path / "none.csv"]
    assert shoal.data.read_csv(there, ignore_missing_paths=True).count() == 1
    with pytest.raises(ValueError, match="no filesystem is known"):
        shoal.data.read_csv("nonsense://bucket/a.csv")
    with pytest.raises(TypeError, match="unknown option num_cpu;"):
        shoal.data.read_csv(tmp_path, num_cpu=1)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("name", "content", "read"),
    [
        ("a.parquet", b"PAR1 nonsense", shoal.data.read_parquet),
        ("a.csv", b"a,b\n1,2\n3\n", shoal.data.read_csv),
        ("a.json", b'{"a": 1}\n{"a": \n', shoal.data.read_json),
        ("a.png", b"no picture", shoal.data.read_images),
        ("a.npy", b"no array", shoal.data.read_numpy),
        ("a.avro", b"no avro", shoal.data.read_avro),
        ("a.tar", b"no tar", shoal.data.read_webdataset),
        ("a.txt", b"\xff\xfe\xfa", shoal.data.read_text),
    ],
)
def test_damaged_files_are_named(name: str, content: bytes, read: Any, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(Exception) as raised:  # noqa: PT011  each reader has its own
        read(tmp_path / name).take_all()
    assert f"while reading {tmp_path / name}" in told(raised)


def test_bad_lines_and_pictures_may_be_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n3\n4,5\n")
    assert shoal.data.read_csv(tmp_path / "a.csv", on_bad_lines="skip").take_all() == [
        {"a": 1, "b": 2},
        {"a": 4, "b": 5},
    ]
    (tmp_path / "a.json").write_text('{"a": 1}\nnonsense\n[1]\n{"a": 2}\n')
    assert shoal.data.read_json(tmp_path / "a.json", on_bad_lines="skip").take_all() == [{"a": 1}, {"a": 2}]
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert shoal.data.read_images(tmp_path / "a.png", on_bad_files="skip").take_all() == []
    with pytest.raises(ValueError, match='"error" or "skip"'):
        shoal.data.read_csv(tmp_path / "a.csv", on_bad_lines="drop")


def test_rows_may_lack_values_and_columns_have_any_name() -> None:
    rows = [{"größe": 1, "名前": "a"}, {"größe": None}, {"名前": None, "": 3}]
    dataset = shoal.data.from_items(rows, override_num_blocks=1)
    assert dataset.take_all() == [
        {"größe": 1, "名前": "a", "": None},
        {"größe": None, "名前": None, "": None},
        {"größe": None, "名前": None, "": 3},
    ]
    assert dataset.sort("größe").take(1)[0]["größe"] == 1
    assert dataset.groupby("名前").count().count() == 2


def test_columns_of_nulls_go_through_everything() -> None:
    dataset = shoal.data.from_items([{"k": None, "v": None} for _ in range(6)], override_num_blocks=3)
    assert dataset.sort("k").count() == 6
    assert dataset.groupby("k").count().take_all() == [{"k": None, "count()": 6}]
    assert dataset.filter(expr=col("k").is_null()).count() == 6
    assert dataset.join(dataset, "inner", on="k", right_suffix="_r").count() == 0
    assert dataset.random_shuffle().count() == 6
    assert dataset.unique("k") == [None]


def test_values_of_many_types_are_no_column() -> None:
    with pytest.raises(ValueError, match="the values of column 'x' do not make one column"):
        shoal.data.from_items([{"x": 1}, {"x": "text"}], override_num_blocks=1).take_all()
    with pytest.raises(ValueError, match="arrays of different shapes"):
        numbers(2).map_batches(lambda batch: {"x": [np.zeros((2, 2)), np.zeros((3, 3))]}).take_all()


def test_a_huge_row_is_a_block_of_its_own() -> None:
    dataset = numbers(4).map(lambda row: {"data": b"x" * 2**22})
    dataset.context.target_max_block_size = 2**20
    assert [row["data"] for row in dataset.take_all()] == [b"x" * 2**22] * 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ds: ds.map(lambda row: None), "given to map must return a row.*not None"),
        (lambda ds: ds.map(lambda row: 3), "given to map must return a row.*not 3"),
        (lambda ds: ds.flat_map(lambda row: row), "given to flat_map must return a list of rows"),
        (lambda ds: ds.flat_map(lambda row: [1]), "a row must be a mapping.*not 1"),
        (lambda ds: ds.filter(lambda row: "yes"), "given to filter must return True or False, not 'yes'"),
        (lambda ds: ds.map_batches(lambda batch: None), "must return .*pyarrow.Table, not None"),
        (lambda ds: ds.map_batches(lambda batch: {"x": 3}), "column 'x' must be a list or an array, not 3"),
        (lambda ds: ds.map_batches(lambda batch: {1: [1]}), "names of columns must be text, not 1"),
        (lambda ds: ds.map_batches(lambda batch: {"x": [1], "y": [1, 2]}), "the same length, not x: 1, y: 2"),
        (lambda ds: ds.groupby("id").map_groups(lambda group: 3), "must return"),
        (lambda ds: ds.sort("none"), "no column 'none'; there are id"),
        (lambda ds: ds.groupby("none").count(), "no column 'none'; there are id"),
        (lambda ds: ds.groupby("id").sum("none"), "no column 'none'; there are id"),
        (lambda ds: ds.drop_columns("none"), "no column 'none'; there are id"),
        (lambda ds: ds.rename_columns({"none": "x"}), "no column 'none'; there are id"),
        (lambda ds: ds.filter(expr=col("none") > 1), "no column 'none'|none"),
    ],
)
def test_what_a_function_may_return_is_said(call: Any, message: str) -> None:
    with pytest.raises(Exception, match=message):
        call(numbers()).take_all()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda ds: ds.map(3), "a function or a class with __call__ is needed, not 3"),
        (
            lambda ds: ds.map_batches(int.__class__, batch_size=0),
            "batch_size must be a whole number ≥ 1, not 0",
        ),
        (lambda ds: ds.map_batches(len, batch_format="polar"), "batch_format must be one of"),
        (lambda ds: ds.map(len, num_gpu=1), "unknown option num_gpu"),
        (lambda ds: ds.map(len, fn_constructor_args=(1,)), "are for a class"),
        (lambda ds: ds.map(len, concurrency=(1, 2)), "is for a class"),
        (lambda ds: ds.limit(-1), "limit must be a whole number ≥ 0"),
        (lambda ds: ds.repartition(0), "num_blocks must be a whole number ≥ 1"),
        (lambda ds: ds.repartition(), "exactly one of num_blocks"),
        (lambda ds: ds.sort("id", descending=[True, False]), "descending must be"),
        (lambda ds: ds.random_shuffle(seed=-1), "seed must be a whole number ≥ 0"),
        (lambda ds: ds.random_sample(2), "fraction must be a number from 0 to 1"),
        (lambda ds: ds.aggregate(), "at least one"),
        (lambda ds: ds.aggregate(Sum("id"), Sum("id")), "of different names"),
        (lambda ds: ds.union(3), "a Dataset is needed, not 3"),
        (lambda ds: ds.filter(), "exactly one of fn and expr"),
        (lambda ds: ds.select_columns(["id", "id"]), "has a column twice"),
        (lambda ds: len(ds), "count"),
        (lambda ds: ds.num_blocks(), "materialize"),
        (lambda ds: ds.split_at_indices([5, 1]), "that rise"),
        (lambda ds: ds.train_test_split(10), "test_size must be"),
    ],
)
def test_wrong_parameters_are_refused_before_anything_runs(call: Any, message: str) -> None:
    def never(row: Any) -> Any:
        raise AssertionError("it ran")

    with pytest.raises((TypeError, ValueError, NotImplementedError), match=message):
        call(
            numbers()
            if "split" in message or "rise" in message or "test_size" in message
            else numbers().map(never)
        )
