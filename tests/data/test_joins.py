"""Joins of every kind, beside what pandas makes of the same rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shoal.data

pytestmark = pytest.mark.usefixtures("session")

LEFT = [{"key": k, "a": f"a{n}"} for n, k in enumerate([1, 2, 2, 3, None, 5, 7, 7, 7])]
RIGHT = [{"key": k, "b": float(n)} for n, k in enumerate([2, 2, 3, 4, None, 7, 1, 1])]


def datasets() -> tuple[shoal.data.Dataset, shoal.data.Dataset]:
    return (
        shoal.data.from_items(LEFT, override_num_blocks=3),
        shoal.data.from_items(RIGHT, override_num_blocks=2),
    )


def as_set(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    plain = [tuple(None if pd.isna(value) else value for _, value in sorted(row.items())) for row in rows]
    return sorted(plain, key=str)


def by_pandas(how: str) -> list[tuple[Any, ...]]:
    left, right = pd.DataFrame(LEFT), pd.DataFrame(RIGHT)
    if how.endswith("_outer") or how == "inner":
        # pandas joins null keys with each other; SQL and we do not.
        left_null, right_null = left[left.key.isna()], right[right.key.isna()]
        joined = left.dropna().merge(
            right.dropna(), on="key", how=how.replace("_outer", "").replace("full", "outer")
        )  # type: ignore[arg-type]
        parts = [joined]
        parts += [left_null] if how in ("left_outer", "full_outer") else []
        parts += [right_null] if how in ("right_outer", "full_outer") else []
        found = pd.concat(parts)
    else:
        side, other = (left, right) if how.startswith("left") else (right, left)
        match = side.key.isin(other.key.dropna())
        found = side[match if how.endswith("semi") else ~match]
    return as_set(found.to_dict("records"))


@pytest.mark.parametrize(
    "kind",
    [
        *("inner", "left_outer", "right_outer", "full_outer"),
        *("left_semi", "right_semi", "left_anti", "right_anti"),
    ],
)
@pytest.mark.parametrize("partitions", [1, 4])
def test_each_kind_of_join_gives_what_pandas_gives(kind: str, partitions: int) -> None:
    left, right = datasets()
    rows = left.join(right, kind, num_partitions=partitions, on="key").take_all()
    assert as_set(rows) == by_pandas(kind)


def test_keys_may_have_other_names_and_types() -> None:
    left = shoal.data.from_arrow(pa.table({"x": pa.array([1, 2, 3], pa.int32()), "v": [1, 2, 3]}))
    right = shoal.data.from_arrow(pa.table({"y": pa.array([3.0, 1.0]), "v": [30, 10]}))
    rows = left.join(right, "inner", on="x", right_on="y", right_suffix="_right").take_all()
    assert as_set(rows) == [(1, 10, 1), (3, 30, 3)]
    with pytest.raises(ValueError, match="both sides have a column 'v'"):
        left.join(right, "inner", on="x", right_on="y").take_all()


def test_columns_of_any_type_come_along() -> None:
    left = shoal.data.from_blocks([{"id": np.arange(4), "picture": np.arange(16.0).reshape(4, 2, 2)}])
    right = shoal.data.from_items([{"id": 1, "words": ["a", "b"]}, {"id": 9, "words": []}])
    [row] = left.join(right, "inner", on="id").take_all()
    assert row["words"] == ["a", "b"]
    assert row["picture"].tolist() == [[4.0, 5.0], [6.0, 7.0]]


def test_a_side_without_rows_is_a_side_all_the_same() -> None:
    left, right = datasets()
    nothing = right.filter(lambda row: False)
    assert left.join(nothing, "inner", on="key").take_all() == []
    assert len(left.join(nothing, "left_outer", on="key").take_all()) == len(LEFT)
    assert len(left.join(shoal.data.from_items([]), "left_anti", on="key").take_all()) == len(LEFT)
    assert len(nothing.join(left, "full_outer", on="key").take_all()) == len(LEFT)


def test_what_is_wrong_is_said_at_once() -> None:
    left, right = datasets()
    with pytest.raises(ValueError, match=r"join_type must be one of inner, .*not 'outer'"):
        left.join(right, "outer", on="key")
    with pytest.raises(ValueError, match="as many columns"):
        left.join(right, "inner", on=["key"], right_on=["key", "b"])
    with pytest.raises(ValueError, match="no column 'none'; there are key, a"):
        left.join(right, "inner", on="none", right_on="key", validate_schemas=True)
    with pytest.raises(KeyError, match="no column 'none'"):
        left.join(right, "inner", on="key", right_on="none").take_all()
    text = right.map(lambda row: {"key": "text"})
    with pytest.raises(ValueError, match="cannot be compared"):
        left.join(text, "inner", on="key").take_all()
