"""Replay buffers against plain models, and the shares that priorities give."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import shoal
from shoal.errors import ConfigError
from shoal.rllib.replay import NStep, PrioritizedReplayBuffer, ReplayBuffer, ReplayShards, SumTree

# Machines that are at other work draw slowly.
patient = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)

counts = st.lists(st.integers(0, 9), min_size=1, max_size=12)


@patient
@given(st.integers(1, 40), st.lists(st.tuples(st.integers(0, 39), st.floats(0, 1e6)), max_size=60))
def test_a_sum_tree_is_a_list_of_numbers(capacity: int, changes: list[tuple[int, float]]) -> None:
    tree, model = SumTree(capacity), np.zeros(capacity)
    for place, value in changes:
        tree.set([place % capacity], [value])
        model[place % capacity] = value
    assert tree.total == pytest.approx(model.sum())
    assert tree.values(np.arange(capacity)).tolist() == model.tolist()
    if tree.total > 1e-3:
        marks = np.linspace(0, tree.total * 0.999, 50)
        found = tree.find(marks)
        assert (model[found] > 0).all()
        sums = np.concatenate([[0.0], model.cumsum()])
        slack = 1e-9 * model.sum()
        assert (sums[found] <= marks + slack).all()
        assert (marks <= sums[found + 1] + slack).all()


@patient
@given(st.integers(1, 20), st.lists(st.tuples(st.integers(0, 19), st.floats(0, 9)), max_size=400))
def test_many_leaves_at_once_are_as_one_by_one(capacity: int, changes: list[tuple[int, float]]) -> None:
    one, many = SumTree(capacity), SumTree(capacity)
    places = [place % capacity for place, _ in changes]
    for place, (_, value) in zip(places, changes, strict=True):
        one.set([place], [value])
    many.set(places, [value for _, value in changes])
    assert many.values(np.arange(capacity)).tolist() == one.values(np.arange(capacity)).tolist()
    assert many.total == pytest.approx(one.total)


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
@patient
@given(capacity=st.integers(1, 13), adds=counts)
def test_the_newest_rows_stay(kind: type[ReplayBuffer], capacity: int, adds: list[int]) -> None:
    buffer = kind(capacity, seed=0)
    model: list[int] = []
    for count in adds:
        fresh = np.arange(len(model), len(model) + count)
        assert buffer.add({"number": fresh, "pair": np.stack([fresh, -fresh], 1)}).tolist() == fresh.tolist()
        model += fresh.tolist()
    assert len(buffer) == min(capacity, len(model))
    if not model:
        with pytest.raises(ValueError, match="the buffer is empty"):
            buffer.sample(1)
        return
    drawn = buffer.sample(200)
    assert set(drawn["number"]) <= set(model[-capacity:])
    assert drawn["indices"].tolist() == drawn["number"].tolist(), "rows are named by their numbers"
    assert (drawn["pair"] == np.stack([drawn["number"], -drawn["number"]], 1)).all()
    if capacity <= 5:
        assert set(drawn["number"]) == set(model[-capacity:])


@patient
@given(
    st.lists(st.tuples(st.integers(0, 29), st.floats(0, 100)), max_size=50), st.sampled_from([0.0, 0.6, 1.0])
)
def test_priorities_are_those_of_a_plain_model(changes: list[tuple[int, float]], alpha: float) -> None:
    """Rows that are gone keep their priority from nobody: the model is a dictionary by number."""
    buffer = PrioritizedReplayBuffer(8, alpha=alpha, beta=1.0, eps=0.01, seed=1)
    model: dict[int, float] = {}
    greatest = 1.0
    for step, (number, priority) in enumerate(changes):
        model[step] = greatest
        buffer.add({"number": np.array([step])})
        buffer.update([number], [priority]) if number <= step else None
        if max(0, step - 7) <= number <= step:
            model[number] = (priority + 0.01) ** alpha
            greatest = max(greatest, model[number])
    if not changes:
        return
    alive = {number: value for number, value in model.items() if number >= len(changes) - 8}
    drawn = buffer.sample(4000)
    total = sum(alive.values())
    for number, value in alive.items():
        # One mark falls into each of 4,000 equal parts, so a share is off by two parts at most.
        assert (drawn["number"] == number).sum() == pytest.approx(4000 * value / total, abs=2)
    chances = np.array([alive[number] / total for number in drawn["number"]])
    weights = 1 / (len(alive) * chances)
    assert drawn["weights"] == pytest.approx(weights / weights.max(), rel=1e-4)


@pytest.mark.parametrize("kind", [ReplayBuffer, PrioritizedReplayBuffer])
def test_a_buffer_goes_on_from_its_state(kind: type[ReplayBuffer]) -> None:
    first, other = kind(10, seed=1), kind(10, seed=2)
    first.add({"number": np.arange(14)})
    if isinstance(first, PrioritizedReplayBuffer):
        first.update(np.arange(6, 12), np.arange(6.0))
    first.sample(3)
    other.set_state(first.state())
    for buffer in (first, other):
        buffer.add({"number": np.arange(3)})
    one, two = first.sample(50), other.sample(50)
    assert all((one[name] == two[name]).all() for name in one)
    with pytest.raises(ConfigError, match="of 10 rows, this has 11"):
        kind(11).set_state(first.state())


def test_wrong_rows_and_settings_are_told() -> None:
    buffer = PrioritizedReplayBuffer(4)
    with pytest.raises(ValueError, match="columns of one length"):
        buffer.add({"one": np.zeros(2), "two": np.zeros(3)})
    buffer.add({"one": np.zeros(2)})
    with pytest.raises(ValueError, match=r"rows have the columns \['other'\]"):
        buffer.add({"other": np.zeros(2)})
    with pytest.raises(ValueError, match="finite numbers"):
        buffer.update([0], [float("nan")])
    with pytest.raises(ConfigError, match="capacity must be a number of rows ≥ 1, not 0"):
        ReplayBuffer(0)
    with pytest.raises(ConfigError, match="alpha must be a number ≥ 0"):
        PrioritizedReplayBuffer(4, alpha=-1)


@settings(patient, max_examples=50)
@given(st.integers(1, 5), st.lists(st.tuples(st.floats(-3, 3), st.sampled_from("...tc")), max_size=25))
def test_n_step_transitions_are_the_definition(steps: int, seen: list[tuple[float, str]]) -> None:
    """Each step that is `steps` old, or whose episode ended, gives one transition: `t`erminated, or `c`ut short."""
    window, gamma = NStep(steps, 0.9), 0.9
    made: list[Any] = []
    for number, (reward, end) in enumerate(seen):
        made += window.add(number, -number, reward, number + 1, terminated=end == "t", truncated=end == "c")
    expected = []
    for first in range(len(seen)):
        total, weight = 0.0, 1.0
        for last in range(first, min(first + steps, len(seen))):
            reward, end = seen[last]
            total += weight * reward
            weight *= gamma
            if end != "." or last - first + 1 == steps:
                expected.append((first, -first, total, last + 1, 0.0 if end == "t" else weight))
                break
    assert [row[:2] + row[3:4] for row in made] == [row[:2] + row[3:4] for row in expected]
    assert [row[2::2] for row in made] == [pytest.approx(row[2::2]) for row in expected]


@pytest.mark.processes
def test_shards_take_rows_by_reference_and_give_batches() -> None:
    with shoal.init(num_cpus=2):
        shards = ReplayShards(100, 2, {"alpha": 1.0}, seed=1)
        rows = shoal.put({"number": np.arange(40), "priorities": np.r_[np.zeros(39), 1.0]})
        places = []
        for _ in range(4):
            place, size = shards.add(rows)
            places.append(place)
            assert shoal.get(size, timeout=60) <= 50, "each keeps its part of the capacity"
        assert places == [0, 1, 0, 1]
        place, ref = shards.sample(30)
        batch = shoal.get(ref, timeout=60)
        assert set(batch["number"]) == {39}, "the others have no priority to speak of"
        shards.update(place, batch["indices"], np.zeros(30))
        states = shoal.get(shards.states(), timeout=60)
        assert states[place]["priorities"].max() < states[1 - place]["priorities"].max()
        assert shoal.get(ReplayShards(10, 1).sample(5)[1], timeout=60) is None, "it has too few rows"
        shards.stop()
