"""Partitions that are divided on disk: the same rows come out as if they were reduced in one piece."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from shoal.data.aggregate import AsList, Mean, Sum
from shoal.data.block import concat
from shoal.data.exchanges import Aggregate, HashPartition, MapGroups, RandomShuffle, Sort
from shoal.data.external import reduce_large
from shoal.data.joining import KINDS, Join
from shoal.data.transforms import UserFunction

LIMIT = 4000  # bytes
ROWS = 3000


class Fetched:
    """Blocks, and what fetches them one at a time."""

    def __init__(self, blocks: Sequence[Any]) -> None:
        self.blocks = blocks

    @property
    def fetches(self) -> list[Callable[[], Any]]:
        return [lambda block=block: block for block in self.blocks]


def blocks(keys: Any, **columns: Any) -> Fetched:
    whole = pa.table({"key": keys, "at": np.arange(len(keys)), **columns})
    return Fetched([whole.slice(start, 100) for start in range(0, len(keys), 100)])


def skewed(rows: int = ROWS, seed: int = 1) -> Any:
    """Half of all keys are 7, and some are null."""
    random = np.random.default_rng(seed)
    keys = np.where(random.random(rows) < 0.5, 7, random.integers(0, 50, rows))
    return pa.array(keys, mask=random.random(rows) < 0.05)


def reduced(exchange: Any, *sides: Fetched) -> tuple[list[Any], list[Any]]:
    """What comes of a partition divided, and of all its rows at once."""
    divided = list(reduce_large(exchange, [side.fetches for side in sides], 0, LIMIT))
    whole = list(exchange.reduce_sides([side.blocks for side in sides], 0))
    return divided, whole


def rows_of(tables: Sequence[Any]) -> list[Any]:
    return concat(tables).to_pylist()


@pytest.mark.parametrize("down", [False, True])
def test_a_sort_whose_keys_are_half_the_same_keeps_their_order(down: bool) -> None:
    divided, whole = reduced(Sort(keys=(("key", down),)), blocks(skewed()))
    assert rows_of(divided) == rows_of(whole)
    assert max(table.nbytes for table in divided) <= LIMIT


def test_a_sort_by_several_keys_with_numbers_that_are_none() -> None:
    random = np.random.default_rng(2)
    second = pa.array(np.where(random.random(ROWS) < 0.2, np.nan, random.integers(0, 5, ROWS)))
    divided, whole = reduced(Sort(keys=(("key", False), ("second", True))), blocks(skewed(), second=second))
    assert str(rows_of(divided)) == str(rows_of(whole))


def test_sorted_groups_and_functions_of_groups_come_in_the_order_of_their_keys() -> None:
    for exchange in (
        HashPartition(keys=("key",), sort=True),
        Aggregate(keys=("key",), aggregates=(Sum("at"), Mean("at"))),
        Aggregate(keys=("key",), aggregates=(AsList("at"),)),
        MapGroups(
            keys=("key",),
            function=UserFunction(lambda group: {"n": [len(group["at"])], "first": group["at"][:1]}),
            batch_format="numpy",
        ),
    ):
        divided, whole = reduced(exchange, blocks(skewed()))
        assert rows_of(divided) == rows_of(whole), exchange.label
        assert len(divided) > 3


def test_a_shuffle_gives_each_row_once_in_another_order() -> None:
    divided, _ = reduced(RandomShuffle(seed=3), blocks(skewed()))
    places = concat(divided).column("at").to_pylist()
    assert sorted(places) == list(range(ROWS))
    assert sum(a + 1 == b for a, b in itertools.pairwise(places)) < 20


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_joins_with_a_key_that_does_not_fit(kind: str) -> None:
    join = Join(kind=kind, left_keys=("key",), right_keys=("key",), right_suffix="_r")
    left, right = blocks(skewed(800)), blocks(skewed(400, seed=5))
    divided, whole = reduced(join, left, right)
    assert Counter(map(str, rows_of(divided))) == Counter(map(str, rows_of(whole)))
    assert divided[0].column_names == whole[0].column_names


def test_blocks_of_different_columns_are_divided_too() -> None:
    drifting = Fetched(
        [
            pa.table({"key": pa.array([3, 1, 2] * 100), "a": ["x"] * 300}),
            pa.table({"key": pa.array([2.5, 1.0] * 200), "b": [1] * 400}),
        ]
    )
    divided, whole = reduced(Sort(keys=(("key", False),)), drifting)
    assert rows_of(divided) == rows_of(whole)
