"""Columns of categories (Arrow's dictionaries, pandas' categoricals) through what groups, sorts and joins."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import shoal.data
from shoal.data.aggregate import AbsMax

pytestmark = pytest.mark.usefixtures("inline")


def colors() -> shoal.data.Dataset:
    """Blocks whose dictionaries differ, with a null."""
    first = pd.DataFrame({"color": pd.Categorical(["red", "blue", None]), "x": [1, 2, 3]})
    second = pd.DataFrame({"color": pd.Categorical(["green", "blue"]), "x": [4, 5]})
    return shoal.data.from_arrow(
        [pa.Table.from_pandas(each, preserve_index=False) for each in (first, second)]
    )


def test_a_null_among_categories_stays_null_in_batches() -> None:
    batches = list(colors().iter_batches(batch_size=None))
    assert [list(batch["color"]) for batch in batches] == [["red", "blue", None], ["green", "blue"]]
    doubled = colors().map_batches(lambda batch: {"color": batch["color"], "x": np.asarray(batch["x"]) * 2})
    assert doubled.take_all()[2] == {"color": None, "x": 6}


def test_sorts_are_by_value_with_nulls_last() -> None:
    assert [row["color"] for row in colors().sort("color").take_all()] == [
        "blue",
        "blue",
        "green",
        "red",
        None,
    ]


def test_groups_meet_over_blocks_of_different_categories() -> None:
    expected = {"blue": 7, "green": 4, "red": 1, None: 3}
    sums = colors().groupby("color").sum("x").take_all()
    assert {row["color"]: row["sum(x)"] for row in sums} == expected
    greatest = colors().groupby("color").aggregate(AbsMax("x")).take_all()
    assert {row["color"]: row["abs_max(x)"] for row in greatest} == {"blue": 5, "green": 4, "red": 1, None: 3}
    whole = colors().groupby("color").map_groups(lambda group: {"sum": [int(group["x"].sum())]}).take_all()
    assert sorted(row["sum"] for row in whole) == sorted(expected.values())


def test_joins_are_by_value() -> None:
    other = shoal.data.from_items([{"name": "blue", "hex": "00f"}, {"name": "red", "hex": "f00"}])
    made = colors().join(other, "inner", on="color", right_on="name").take_all()
    assert sorted((row["color"], row["x"], row["hex"]) for row in made) == [
        ("blue", 2, "00f"),
        ("blue", 5, "00f"),
        ("red", 1, "f00"),
    ]
