"""Expressions: what they compute, what is pushed into readers, and what is wrong with them."""

from __future__ import annotations

import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import shoal.data
from shoal.data import col, lit
from shoal.data.expressions import Expr, parse, pyarrow_udf, to_expression, udf
from shoal.data.plan.logical import Read
from shoal.data.plan.rules import optimise

pytestmark = pytest.mark.usefixtures("inline")
TABLE = pa.table(
    {
        "x": [7, -7, None, 0],
        "y": [2.0, 2.0, 2.0, 4.0],
        "s": ["Ab c", "", None, "xyz"],
        "l": [[3, 1], [], None, [5]],
        "t": pa.array([datetime.datetime(2024, 5, 6, 7, 8, 9)] * 4),
        "r": [{"a": 1}, {"a": 2}, {"a": 3}, {"a": 4}],
    }
)


def values(expression: Expr) -> list[Any]:
    value = expression.evaluate(TABLE)
    return value.to_pylist() if not isinstance(value, pa.Scalar) else [value.as_py()] * 4


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        (col("x") + 1, [8, -6, None, 1]),
        (1 - col("x"), [-6, 8, None, 1]),
        (col("x") / 2, [3.5, -3.5, None, 0.0]),
        (col("x") // 2, [3, -4, None, 0]),
        (col("x") % 2, [1, 1, None, 0]),
        ((col("x") > 0) & (col("y") > 1), [True, False, None, False]),
        ((col("x") > 0) | (col("y") > 1), [True, True, True, True]),
        (~(col("x") == 7), [False, True, None, True]),
        (col("x").is_null(), [False, False, True, False]),
        (col("x").is_in([0, 7]), [True, False, False, True]),
        (col("x").not_in([0, 7]), [False, True, True, False]),
        (col("x").abs().power(2), [49, 49, None, 0]),
        (col("y").cast(pa.int8()), [2, 2, 2, 4]),
        (col("y").cast("int16"), [2, 2, 2, 4]),
        (col("s") + "!", ["Ab c!", "!", None, "xyz!"]),
        (col("s").str.upper(), ["AB C", "", None, "XYZ"]),
        (col("s").str.len(), [4, 0, None, 3]),
        (col("s").str.contains("B", ignore_case=True), [True, False, None, False]),
        (col("s").str.replace("b", "-"), ["A- c", "", None, "xyz"]),
        (col("s").str.split(" "), [["Ab", "c"], [""], None, ["xyz"]]),
        (col("s").str.slice(0, 1), ["A", "", None, "x"]),
        (col("s").str.center(5, "*"), ["Ab c*", "*****", None, "*xyz*"]),
        (col("l").list.len(), [2, 0, None, 1]),
        (col("l").list.sort(), [[1, 3], [], None, [5]]),
        (col("l").list[0:1], [[3], [], None, [5]]),
        (col("t").dt.year(), [2024] * 4),
        (col("t").dt.strftime("%d.%m."), ["06.05."] * 4),
        (col("t").dt.floor("day"), [datetime.datetime(2024, 5, 6)] * 4),
        (col("r").struct["a"] * 10, [10, 20, 30, 40]),
        (lit("web"), ["web"] * 4),
    ],
    ids=lambda value: repr(value)[:60] if isinstance(value, Expr) else "",
)
def test_an_expression_computes_and_travels(expression: Expr, expected: list[Any]) -> None:
    assert values(cloudpickle.loads(cloudpickle.dumps(expression))) == expected
    assert values(expression) == expected


NUMBERS = st.recursive(
    st.sampled_from(["x", "y"]).map(col) | st.integers(-3, 3).map(to_expression),
    lambda inner: st.builds(
        lambda op, a, b: {"+": a + b, "-": a - b, "*": a * b}[op], st.sampled_from("+-*"), inner, inner
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(left=NUMBERS, right=NUMBERS, word=st.sampled_from(["<", "<=", "==", "!="]))
def test_arrow_filters_as_we_compute(left: Expr, right: Expr, word: str) -> None:
    wanted: Expr = {"<": left < right, "<=": left <= right, "==": left == right, "!=": left != right}[word]
    verdicts = values(wanted)
    rows = [row for row, keep in zip(TABLE.to_pylist(), verdicts, strict=True) if keep]
    assert TABLE.filter(wanted.to_pyarrow()).to_pylist() == rows


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x > 3 and y < 3", [True, False, None, False]),
        ("x in [7, 0] or s is None", [True, False, True, True]),
        ("not (x == 7)", [False, True, None, True]),
        ("-7 < x <= 7", [True, False, None, True]),
        ("x + 1 != 8", [False, True, None, True]),
        ("s == 'xyz'", [False, False, None, True]),
    ],
)
def test_expressions_may_be_text(text: str, expected: list[Any]) -> None:
    assert values(parse(text)) == expected


@pytest.mark.parametrize("number", [0, -5, 24, 200, -200, 40_000, 3_000_000_000, 10**13])
def test_decimals_are_compared_with_whole_numbers_in_a_reader(number: int) -> None:
    table = pa.table({"d": pa.array([Decimal("1.50"), Decimal("199.00"), None], pa.decimal128(15, 2))})
    for expression in (col("d") < number, lit(number) >= col("d"), col("d") == number, col("d") != number):
        assert table.filter(expression.to_pyarrow()) == table.filter(expression.evaluate(table))


@pytest.mark.parametrize("text", ["x.y > 3", "__import__('os')", "x >", "x is 3", "x in y", "lambda: 3"])
def test_text_that_is_no_expression_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no expression"):
        parse(text)


def test_functions_of_arrays_are_expressions_too() -> None:
    @udf(pa.float32())
    def half(x: Any) -> Any:
        return np.asarray(x) / 2

    made = half(col("y")).evaluate(TABLE)
    assert (made.type, made.to_pylist()) == (pa.float32(), [1.0, 1.0, 1.0, 2.0])
    assert values(pyarrow_udf()(pc.utf8_lower)(col("s"))) == ["ab c", "", None, "xyz"]
    with pytest.raises(ValueError, match="wrong returned 2 values for 4 rows"):
        udf()(_wrong)(col("y")).evaluate(TABLE)
    with pytest.raises(TypeError, match="cannot be an Arrow expression"):
        half(col("y")).to_pyarrow()


def _wrong(x: Any) -> Any:
    return [1, 2]


_wrong.__name__ = "wrong"


def test_what_is_wrong_is_said() -> None:
    with pytest.raises(TypeError, match="Arrow has no type 'int65'"):
        col("x").cast("int65")
    with pytest.raises(TypeError, match="a type of pyarrow is needed"):
        col("x").cast(3)
    with pytest.raises(TypeError, match=r"& \| ~"):
        bool(col("x") > 3)
    with pytest.raises(KeyError, match="no column 'z'; there are x, y"):
        values(col("z") + 1)
    dataset = shoal.data.from_arrow(TABLE)
    with pytest.raises(TypeError, match="expr must be an expression"):
        dataset.filter(expr=3)
    with pytest.raises(TypeError, match="true or false"):
        dataset.filter(expr=col("x") + 1).take_all()
    with pytest.raises(ValueError, match="needs a name"):
        dataset.with_columns(col("x") + 1)
    assert (col("x") + 1).structurally_equals(col("x") + 1)
    assert not (col("x") + 1).structurally_equals(col("x") + 2)


def test_columns_are_added_by_expressions() -> None:
    dataset = shoal.data.range(3).with_column("twice", col("id") * 2).with_columns({"one": lit(1)})
    assert dataset.filter(expr="twice >= 2").take_all() == [
        {"id": 1, "twice": 2, "one": 1},
        {"id": 2, "twice": 4, "one": 1},
    ]
    assert dataset.with_columns((col("id") + col("twice")).alias("id")).take(1) == [
        {"id": 0, "twice": 0, "one": 1}
    ]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in range(3):
        ids = list(range(number * 10, number * 10 + 10))
        table = pa.table({"id": ids, "a": [i * 2 for i in ids], "b": ["x"] * 10, "unused": [0] * 10})
        pq.write_table(table, tmp_path / f"{number}.parquet")
    return tmp_path


def read_of(dataset: shoal.data.Dataset) -> Any:
    node = optimise(dataset._plan)
    while not isinstance(node, Read):
        [node] = node.inputs
    return node


def test_filters_and_columns_go_into_the_reader(files: Path) -> None:
    dataset = (
        shoal.data.read_parquet(files)
        .with_column("c", col("a") + 1)
        .with_column("d", col("c") * 2)
        .with_column("e", col("unused"))
        .filter(expr=col("id") > 25)
        .filter(expr=col("d") < 1000)
        .select_columns(["d", "b"])
    )
    read = read_of(dataset)
    assert set(read.source.columns) == {"a", "b"} | ({"id"} & set(read.source.columns))
    assert "id > 25" in str(read.source.expression)
    assert dataset.take_all() == [{"d": (i * 2 + 1) * 2, "b": "x"} for i in range(26, 30)]
    plain = shoal.data.read_parquet(files).map_batches(lambda batch: batch, batch_format="pyarrow")
    assert dataset.count() == plain.filter(lambda row: row["id"] > 25).count()


def test_only_what_is_aggregated_is_read(files: Path) -> None:
    dataset = shoal.data.read_parquet(files).groupby("b").sum("a")
    assert set(read_of(dataset).source.columns) == {"a", "b"}
    assert dataset.take_all() == [{"b": "x", "sum(a)": sum(i * 2 for i in range(30))}]


def test_a_plan_shows_what_became_of_it(files: Path) -> None:
    text = shoal.data.read_parquet(files).filter(expr=col("id") > 25).select_columns("a").explain()
    written, executed = text.split("As executed:")
    assert "Filter" in written
    assert "columns: a" in executed
    assert "id > 25" in executed
