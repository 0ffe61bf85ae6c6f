"""Where the consumers of a split are, as plain values; plans that draw alike again."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

import shoal.data
from shoal.data.positions import ReaderProgress, SplitPosition, SplitProgress, united, without
from shoal.data.resuming import drawing_from
from shoal.data.sources.paths import FileShuffleConfig

INTERVALS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40)), max_size=12)


def numbers(intervals: list[tuple[int, int]]) -> set[int]:
    return {number for low, high in intervals for number in range(low, high)}


@given(INTERVALS)
def test_a_union_is_sorted_disjoint_and_whole(intervals: list[tuple[int, int]]) -> None:
    found = united(intervals)
    assert numbers(found) == numbers(intervals)
    assert all(low < high for low, high in found)
    assert all(left[1] < right[0] for left, right in itertools.pairwise(found))


@given(INTERVALS, st.integers(0, 40), st.integers(0, 40))
def test_what_is_left_of_a_block(intervals: list[tuple[int, int]], low: int, high: int) -> None:
    taken = united(intervals)
    assert numbers(without(low, high, taken)) == set(range(low, high)) - numbers(taken)


def test_an_epoch_is_over_when_it_is_for_all() -> None:
    progress = SplitProgress(SplitPosition(7, 2, {2: [(0, 4)]}), readers=2)
    progress.add(0, ReaderProgress({2: [(4, 8)]}, frozenset({2})))
    progress.add(0, ReaderProgress({3: [(0, 1)]}))
    at = progress.position()
    assert at == SplitPosition(7, 2, {2: [(0, 8)], 3: [(0, 1)]})
    assert SplitPosition.from_json(json.loads(json.dumps(at.to_json()))) == at
    progress.add(1, ReaderProgress({2: [(8, 9)]}, frozenset({2})))
    assert progress.position() == SplitPosition(7, 3, {3: [(0, 1)]})
    progress.add(1, ReaderProgress({2: [(10, 11)]}))  # of an epoch that is over
    assert progress.position() == SplitPosition(7, 3, {3: [(0, 1)]})


def test_a_plan_draws_alike_from_one_seed_and_else_from_another(tmp_path: Path, inline: None) -> None:
    for number in range(8):
        (tmp_path / f"{number}.csv").write_text(f"x\n{number}\n{number + 10}\n")

    def order(dataset: shoal.data.Dataset, *seed: int) -> list[int]:
        assert len(seed) == 2
        dataset._plan = drawing_from(dataset._plan, (seed[0], seed[1]))
        return [row["x"] for row in dataset.iter_rows()]

    def files(shuffle: object) -> shoal.data.Dataset:
        return shoal.data.read_csv(str(tmp_path), shuffle=shuffle)

    for make in (
        lambda: files("files"),
        lambda: files(FileShuffleConfig(seed=3)),
        lambda: files(None).random_shuffle(),
        lambda: files(None).random_sample(0.5),
    ):
        first, again, other = order(make(), 1, 0), order(make(), 1, 0), order(make(), 1, 1)
        assert first == again != other
    fixed = [
        order(files(FileShuffleConfig(seed=3, reseed_after_execution=False)), 1, epoch) for epoch in (0, 1)
    ]
    assert fixed[0] == fixed[1]
    mine = [order(files(FileShuffleConfig(seed=3)), run, 0) for run in (1, 2)]
    assert mine[0] == mine[1]
