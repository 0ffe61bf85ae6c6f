"""Episodes of one agent, the buffers they are made of, batches of steps, and what is computed of them."""

from __future__ import annotations

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoal.rllib.core.columns import Columns
from shoal.rllib.core.learner.minibatches import (
    MiniBatchCyclicIterator,
    ShardBatchIterator,
    ShardEpisodesIterator,
)
from shoal.rllib.core.learner.scheduler import Scheduler
from shoal.rllib.env.infinite_lookback_buffer import InfiniteLookbackBuffer
from shoal.rllib.env.single_agent_episode import SingleAgentEpisode
from shoal.rllib.policy.sample_batch import (
    MultiAgentBatch,
    SampleBatch,
    concat_samples,
    convert_ma_batch_to_sample_batch,
)
from shoal.rllib.postprocessing.episodes import (
    add_one_ts_to_episodes_and_truncate,
    remove_last_ts_from_episodes_and_restore_truncateds,
)
from shoal.rllib.postprocessing.value_predictions import compute_value_targets
from shoal.rllib.postprocessing.zero_padding import (
    create_mask_and_seq_lens,
    split_and_zero_pad,
    unpad_data_if_necessary,
)


def episode(steps: int, **more: Any) -> SingleAgentEpisode:
    """An episode that sees 0, 1, 2, …, does the negative of it and is given its half."""
    made = SingleAgentEpisode("e", action_space=gymnasium.spaces.Discrete(9), **more)
    made.add_env_reset(0.0, {"at": 0})
    for step in range(steps):
        made.add_env_step(step + 1.0, step, step / 2, {"at": step + 1}, extra_model_outputs={"v": step * 10})
    return made


@pytest.mark.parametrize("finalized", [False, True])
def test_buffers_look_back(finalized: bool) -> None:
    buffer = InfiniteLookbackBuffer([10, 11, 12, 13, 14], lookback=2, space=gymnasium.spaces.Discrete(20))
    if finalized:
        buffer.finalize()
    assert len(buffer) == 3
    assert list(buffer.get()) == [12, 13, 14]
    assert buffer.get(0) == 12
    assert buffer.get(-1) == 14
    assert buffer.get(-1, neg_index_as_lookback=True) == 11
    assert list(buffer.get(slice(-2, 1), neg_index_as_lookback=True)) == [10, 11, 12]
    assert list(buffer.get([0, 2])) == [12, 14]
    assert list(buffer.get(slice(-4, 0), neg_index_as_lookback=True, fill=0)) == [0, 0, 10, 11]
    assert buffer.get(0, one_hot_discrete=True)[12] == 1.0
    with pytest.raises(IndexError, match="index 3 of 3 items and 2"):
        buffer.get(3)
    buffer.set(99, at_indices=-1)
    buffer.append(15)
    assert list(buffer.get()) == [12, 13, 99, 15]
    buffer.pop(0)
    assert list(buffer.get()) == [13, 99, 15]
    again = InfiniteLookbackBuffer.from_state(buffer.get_state())
    assert list(again.get(slice(None))) == [13, 99, 15]


def test_an_episode_has_one_observation_more_than_steps() -> None:
    made = episode(3)
    assert len(made) == 3
    assert list(made.get_observations()) == [0.0, 1.0, 2.0, 3.0]
    assert list(made.get_actions()) == [0, 1, 2]
    assert made.get_actions(-1, one_hot_discrete=True)[2] == 1.0
    assert made.get_return() == pytest.approx(1.5)
    assert made.get_extra_model_outputs("v", -1) == 20
    assert made.get_infos(-1) == {"at": 3}
    with pytest.raises(ValueError, match="has begun already"):
        made.add_env_reset(0.0)
    made.is_terminated = True
    with pytest.raises(ValueError, match="is over"):
        made.add_env_step(1.0, 1, 1.0)
    with pytest.raises(TypeError, match="is sliced"):
        made[1]
    with pytest.raises(ValueError, match="2 actions and 1 rewards"):
        SingleAgentEpisode(observations=[1, 2], actions=[1, 2], rewards=[1], len_lookback_buffer=0)


@given(st.integers(1, 12), st.data())
def test_pieces_of_an_episode_put_together_are_the_episode(steps: int, data: st.DataObject) -> None:
    whole = episode(steps)
    at = data.draw(st.integers(0, steps))
    lookback = data.draw(st.integers(0, 5))
    first = whole[:at]
    rest = whole.slice(slice(at, steps), len_lookback_buffer=lookback)
    assert rest.observations.lookback == min(lookback, at)
    if at:
        assert rest.get_rewards(-1, neg_index_as_lookback=True) == (at - 1) / 2 if lookback else True
    if data.draw(st.booleans()):
        first.to_numpy(), rest.to_numpy()
    first.concat_episode(rest)
    assert list(first.get_observations()) == list(whole.get_observations())
    assert list(first.get_rewards()) == list(whole.get_rewards())
    assert list(first.get_extra_model_outputs("v")) == list(whole.get_extra_model_outputs("v"))
    assert (first.t_started, first.t) == (0, steps)
    state = pickle.loads(pickle.dumps(first.get_state()))
    assert list(SingleAgentEpisode.from_state(state).get_actions()) == list(range(steps))


def test_a_piece_that_is_cut_off_goes_on() -> None:
    first = episode(4)
    second = first.cut(len_lookback_buffer=2)
    assert (second.t_started, len(second)) == (4, 0)
    assert second.get_observations(-1) == 4.0
    assert list(second.get_observations(slice(-2, 0), neg_index_as_lookback=True)) == [2.0, 3.0]
    second.add_env_step(5.0, 4, 2.0, terminated=True, extra_model_outputs={"v": 40})
    first.concat_episode(second)
    assert first.is_terminated
    assert len(first) == 5
    with pytest.raises(ValueError, match="nothing goes on"):
        first.cut()


def test_one_step_more_and_back() -> None:
    episodes = [episode(3), episode(2).to_numpy()]
    before = add_one_ts_to_episodes_and_truncate(episodes)
    assert [len(each) for each in episodes] == [4, 3]
    assert all(each.is_truncated for each in episodes)
    remove_last_ts_from_episodes_and_restore_truncateds(episodes, before)
    assert [list(each.get_observations()) for each in episodes] == [[0, 1, 2, 3], [0, 1, 2]]
    assert not any(each.is_truncated for each in episodes)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.booleans()), min_size=1, max_size=4),
    st.floats(0, 1),
    st.floats(0, 1),
)
def test_targets_of_values_are_those_of_the_paper(
    lengths: list[tuple[int, bool]], gamma: float, lambda_: float
) -> None:
    random = np.random.default_rng(1)
    values, rewards, terminated, truncated, wanted = [], [], [], [], []
    for length, ends in lengths:
        v, r = random.normal(size=length + 1), random.normal(size=length)
        last = 0.0 if ends else v[length]
        nexts = [*v[1:length], last]
        errors = [r[t] + gamma * nexts[t] - v[t] for t in range(length)]
        # Equation 16 of Schulman et al. (2016), summed out.
        sums = [
            sum((gamma * lambda_) ** (k - t) * errors[k] for k in range(t, length)) for t in range(length)
        ]
        wanted += [a + b for a, b in zip(sums, v[:length], strict=True)] + [None]
        values += [*v]
        rewards += [*r, 0.0]
        terminated += [False] * (length - 1) + [ends] + [False]
        truncated += [False] * length + [True]
    found = compute_value_targets(
        np.array(values), np.array(rewards), np.array(terminated), np.array(truncated), gamma, lambda_
    )
    for ours, theirs in zip(found, wanted, strict=True):
        if theirs is not None:
            assert ours == pytest.approx(theirs, abs=1e-4)


@given(st.integers(1, 20), st.integers(1, 7))
def test_what_is_padded_is_unpadded(steps: int, size: int) -> None:
    parts = split_and_zero_pad(list(range(1, steps + 1)), size)
    masks, lengths = create_mask_and_seq_lens(steps, size)
    assert sum(lengths) == steps
    for part, mask in zip(parts, masks, strict=True):
        assert ((part != 0) == mask).all()
    assert list(unpad_data_if_necessary([steps], np.stack(parts))) == list(range(1, steps + 1))


def test_batches_are_sliced_split_and_put_together() -> None:
    batch = SampleBatch(
        {
            "obs": {"a": np.arange(6.0)},
            "rewards": np.ones(6),
            "eps_id": np.array([1, 1, 2, 2, 2, 3]),
            "terminateds": np.array([0, 1, 0, 0, 1, 0]),
        }
    )
    assert len(batch) == 6
    assert [len(each) for each in batch.split_by_episode()] == [2, 3, 1]
    assert [len(each) for each in batch.timeslices(size=4)] == [4, 2]
    assert list(batch[2:4]["obs"]["a"]) == [2.0, 3.0]
    assert len(concat_samples([batch, batch.copy()])) == 12
    shuffled = batch.copy().shuffle()
    assert sorted(shuffled["obs"]["a"]) == list(range(6))
    assert all(shuffled["eps_id"][n] == batch["eps_id"][int(shuffled["obs"]["a"][n])] for n in range(6))
    assert list(batch.copy().compress().decompress_if_needed()["obs"]["a"]) == list(range(6))
    assert pickle.loads(pickle.dumps(batch)).size_bytes() == batch.size_bytes()
    assert isinstance(batch.copy().to_device("cpu")["rewards"], torch.Tensor)
    several = batch.as_multi_agent()
    assert convert_ma_batch_to_sample_batch(several) is batch
    assert [each.env_steps() for each in MultiAgentBatch({"a": batch}, 6).timeslices(4)] == [4, 2]
    with pytest.raises(ValueError, match="must have equally many rows, not a: 1, b: 2"):
        SampleBatch({"a": [1], "b": [1, 2]})
    with pytest.raises(ValueError, match="have different columns: c"):
        concat_samples([SampleBatch({"a": [1]}), SampleBatch({"a": [1], "c": [1]})])


def test_stretches_are_padded_and_counted() -> None:
    batch = SampleBatch({"obs": np.arange(1.0, 6.0), "seq_lens": np.array([2, 3])})
    assert len(batch[0:1]) == 2
    batch.disable_slicing_by_batch_id()
    assert len(batch[0:1]) == 1
    padded = batch.copy().zero_pad(4)
    assert list(padded["obs"]) == [1, 2, 0, 0, 3, 4, 5, 0]
    with pytest.raises(ValueError, match="belong together"):
        batch.shuffle()


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 3), st.booleans())
def test_minibatches_use_all_rows_in_each_epoch(rows: int, size: int, epochs: int, shuffles: bool) -> None:
    batch = MultiAgentBatch({"a": SampleBatch({"x": np.arange(rows)})}, rows)
    parts = [
        part["a"]["x"]
        for part in MiniBatchCyclicIterator(
            batch, num_epochs=epochs, minibatch_size=size, shuffle_batch_per_epoch=shuffles
        )
    ]
    size = min(size, rows)
    assert {len(part) for part in parts} == {size}
    assert len(parts) == epochs * max(1, rows // size)
    one = np.concatenate(parts[: max(1, rows // size)])
    assert len(set(one)) == len(one)
    shards = [part["a"]["x"] for part in ShardBatchIterator(batch, 3)]
    assert sorted(np.concatenate(shards)) == list(range(rows))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=5), st.integers(1, 4))
def test_shards_of_episodes_have_all_steps_about_equally(lengths: list[int], count: int) -> None:
    parts = list(ShardEpisodesIterator([episode(length) for length in lengths], count))
    sizes = [sum(len(each) for each in part) for part in parts]
    assert sum(sizes) == sum(lengths)
    assert max(sizes) - min(sizes) <= 1
    assert sum(each.get_return() for part in parts for each in part) == pytest.approx(
        sum(episode(length).get_return() for length in lengths)
    )


def test_schedules_lie_between_their_points() -> None:
    schedule = Scheduler([[0, 1.0], [100, 0.0], [200, 0.5]])
    assert [schedule.update(step) for step in (0, 50, 100, 150, 900)] == pytest.approx([1, 0.5, 0, 0.25, 0.5])
    assert Scheduler(0.1).update(10) == 0.1
    for wrong in ([[1, 1.0], [2, 0.0]], [[0, 1.0]], "fast"):
        with pytest.raises(ValueError, match="must be a number or"):
            Scheduler.validate(wrong, "lr", "learning rate")


def test_columns_have_the_names_that_batches_have() -> None:
    made = episode(2)
    columns = made.get_data_dict()
    assert list(columns[Columns.NEXT_OBS]) == [1.0, 2.0]
    assert made.get_sample_batch().count == 2
