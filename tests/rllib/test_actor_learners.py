"""IMPALA, APPO, A2C and A3C: V-trace is the paper's, they learn, go on from checkpoints and over deaths."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import Corridor
from hypothesis import given
from hypothesis import strategies as st

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.a2c import A2CConfig
from shoal.rllib.algorithms.a3c import A3CConfig
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.appo import APPOConfig
from shoal.rllib.algorithms.impala import IMPALA, IMPALAConfig, ImpalaConfig
from shoal.rllib.algorithms.impala.loss import tensors, values_after
from shoal.rllib.algorithms.impala.vtrace import vtrace
from shoal.rllib.environments import creator_of
from shoal.rllib.modules.actor_critic import ActorCritic
from shoal.rllib.sampling.fragments import FragmentRunner, beside
from shoal.rllib.sampling.runner import Play


def settled(config: Any, runners: int = 0, **training: Any) -> Any:
    config.environment(Corridor).debugging(seed=1)
    config.training(lr=3e-3, train_batch_size=200, gamma=0.99, model={"fcnet_hiddens": [16]}, **training)
    config.env_runners(num_env_runners=runners, num_envs_per_env_runner=2)
    config.reporting(min_time_s_per_iteration=0, min_sample_timesteps_per_iteration=2000)
    return config


def by_definition(seen: dict[str, Any], gamma: float, rho: float) -> tuple[Any, Any]:
    """V-trace as equation 1 of the paper has it, summed up for each step of one environment."""
    steps = len(seen["rewards"])
    following = [v * (1 - t) for v, t in zip(seen["next_values"], seen["terminated"], strict=True)]
    targets = []
    for start in range(steps):
        total, product = seen["values"][start], 1.0
        for at in range(start, steps):
            ratio = seen["ratios"][at]
            delta = min(rho, ratio) * (seen["rewards"][at] + gamma * following[at] - seen["values"][at])
            total += gamma ** (at - start) * product * delta
            product *= min(1.0, ratio)
            if seen["ended"][at]:
                break
        targets.append(total)
    advantages = []
    for at in range(steps):
        last = at == steps - 1 or seen["ended"][at]
        later = following[at] if last else targets[at + 1]
        advantages.append(
            min(1.0, seen["ratios"][at]) * (seen["rewards"][at] + gamma * later - seen["values"][at])
        )
    return targets, advantages


numbers = st.floats(-2, 2)
steps = st.tuples(st.floats(0.1, 3), numbers, numbers, numbers, st.sampled_from(["on", "end", "cut"]))


@given(
    st.lists(steps, min_size=1, max_size=12),
    st.sampled_from([0.0, 0.9, 1.0]),
    st.sampled_from([0.5, 1.0, 2.0]),
)
def test_vtrace_is_the_papers(rows: list[Any], gamma: float, rho: float) -> None:
    seen = {
        name: [row[place] for row in rows]
        for place, name in enumerate(("ratios", "rewards", "values", "next_values"))
    }
    seen["terminated"] = [float(row[4] == "end") for row in rows]
    seen["ended"] = [float(row[4] != "on") for row in rows]
    for at in range(len(rows) - 1):
        if not seen["ended"][at]:  # what comes after a step is what is acted on in the next
            seen["next_values"][at] = seen["values"][at + 1]
    given_as = {name: torch.tensor(value, dtype=torch.float64)[:, None] for name, value in seen.items()}
    traced = vtrace(**given_as, gamma=gamma, clip_rho=rho)
    targets, advantages = by_definition(seen, gamma, rho)
    np.testing.assert_allclose(traced.targets[:, 0].numpy(), targets, atol=1e-9)
    np.testing.assert_allclose(traced.advantages[:, 0].numpy(), advantages, atol=1e-9)


def test_an_episode_that_was_cut_short_is_worth_what_its_last_observation_is() -> None:
    """In a corridor without an end in reach every episode is cut short after three steps."""
    play = Play(
        make=creator_of(Corridor),
        config={"length": 100, "limit": 3},
        count=2,
        gamma=0.9,
        lambda_=1.0,
        clip_rewards=None,
        clip_actions=False,
        seed=1,
    )
    module = ActorCritic(1, 2, (8,))
    runner = FragmentRunner(play, 0)
    parts = [runner.sample(module.arrays(), 4), runner.sample(module.arrays(), 4)]
    seen = beside(parts)
    assert seen["observations"].shape == (4, 4, 1)
    assert [(step, place) for step, place, _ in seen["cuts"]] == [(2, 0), (2, 1), (1, 2), (1, 3)]
    assert seen["terminated"].sum() == 0
    given_as = tensors(seen, "cpu")
    with torch.no_grad():
        values = module(given_as["observations"])[1].reshape(4, 4)
        after = values_after(module, values, given_as)
        for step, place, observation in seen["cuts"]:
            assert after[step, place] == pytest.approx(float(module(torch.tensor(observation[None]))[1]))
            assert observation[0] == pytest.approx(np.clip(observation[0], 0, 0.03))
        np.testing.assert_allclose(after[0], values[1], atol=1e-6)
        np.testing.assert_allclose(after[3], module(given_as["last"])[1], atol=1e-6)


@pytest.mark.parametrize("kind", [A2CConfig, IMPALAConfig, APPOConfig])
def test_they_learn_to_walk_to_the_end(kind: type[AlgorithmConfig]) -> None:
    algorithm = settled(kind()).build()
    for _ in range(12):
        result = algorithm.train()
        if result["episode_reward_mean"] > 0.45:
            break
    assert result["episode_reward_mean"] > 0.45, "the best is 0.6"
    assert result["num_env_steps_sampled_lifetime"] == result["training_iteration"] * 2000
    assert algorithm.compute_single_action(np.zeros(1, np.float32), explore=False) == 1


@pytest.mark.parametrize("kind", [A2CConfig, IMPALAConfig, APPOConfig])
def test_a_checkpoint_goes_on_exactly_from_there(kind: type[AlgorithmConfig], tmp_path: Path) -> None:
    algorithm = settled(kind()).build()
    algorithm.train()
    path = algorithm.save(tmp_path / "checkpoint")
    other = settled(kind()).debugging(seed=7).build()
    other.restore(path)
    places = [np.array([place / 5], np.float32) for place in range(5)] * 4
    assert [algorithm.compute_single_action(each) for each in places] == [
        other.compute_single_action(each) for each in places
    ]
    for name, value in algorithm.learner_state()["optimizer"]["state"][0].items():
        assert torch.equal(value, other.learner_state()["optimizer"]["state"][0][name])
    assert other.train()["training_iteration"] == 2


@pytest.fixture
def cpus() -> Iterator[None]:
    """A session of real processes."""
    with shoal.init(num_cpus=2):
        yield


class Deadly(Corridor):
    """A corridor whose process dies once, in its 700th step."""

    def __init__(self, config: dict[str, Any]) -> None:
        super().__init__(config)
        self.mark, self.all_steps = Path(config["mark"]), 0

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.all_steps += 1
        if self.all_steps == 700:
            try:
                self.mark.touch(exist_ok=False)
            except FileExistsError:
                pass
            else:
                os.kill(os.getpid(), signal.SIGKILL)
        return super().step(action)


@pytest.mark.processes
@pytest.mark.parametrize("kind", [IMPALAConfig, A3CConfig])
def test_runners_play_on_while_it_learns_and_over_a_death(
    kind: type[AlgorithmConfig], cpus: None, tmp_path: Path
) -> None:
    config = settled(kind(), 2).environment(Deadly, env_config={"mark": str(tmp_path / "died")})
    algorithm = config.env_runners(rollout_fragment_length=50).build()
    try:
        for _ in range(12):
            result = algorithm.train()
            if result["episode_reward_mean"] > 0.3 and (tmp_path / "died").exists():
                break
        assert result["episode_reward_mean"] > 0.3
        assert (tmp_path / "died").exists()
        told = result["learners"]["default_policy"]
        assert told["num_updates"] > 5
        stale = told["staleness_max" if kind is IMPALAConfig else "staleness"]
        assert 0 <= stale < told["num_updates"]
    finally:
        algorithm.stop()


class Broken(Corridor):
    """A corridor that raises."""

    def step(self, action: int) -> Any:
        raise OSError("the floor is lava")


@pytest.mark.processes
def test_what_an_environment_raises_comes_out_of_the_pipeline(cpus: None) -> None:
    algorithm = settled(IMPALAConfig(), 1).environment(Broken).build()
    try:
        with pytest.raises(OSError, match="the floor is lava"):
            algorithm.train()
    finally:
        algorithm.stop()


def test_a3c_without_runners_is_told() -> None:
    with pytest.raises(ConfigError, match="A2C learns in one process"):
        settled(A3CConfig()).build()


def test_older_names_are_the_same() -> None:
    assert ImpalaConfig is IMPALAConfig
    assert IMPALAConfig.algo_class is IMPALA
    assert shoal.rllib.AlgorithmConfig is AlgorithmConfig


def test_settings_that_an_algorithm_has_no_use_for_are_told() -> None:
    with pytest.raises(ConfigError, match="has no setting 'minibatch_size'"):
        IMPALAConfig().training(minibatch_size=64)
    with pytest.raises(ConfigError, match="has no setting 'num_sgd_iter'"):
        A2CConfig().training(num_sgd_iter=3)
