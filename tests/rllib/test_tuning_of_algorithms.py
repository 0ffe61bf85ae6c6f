"""Algorithms as trials of shoal.tune."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corridor import Corridor

import shoal
from shoal import tune
from shoal.errors import ConfigError
from shoal.rllib import register_env
from shoal.rllib.algorithms.a2c import A2C, A2CConfig
from shoal.rllib.algorithms.ppo import PPO, PPOConfig
from shoal.rllib.tuning import AlgorithmTrainable, trainable_of


@pytest.fixture(scope="module", autouse=True)
def session() -> Iterator[None]:
    with shoal.init(num_cpus=2):
        yield


def settings() -> A2CConfig:
    return (
        A2CConfig()
        .environment(Corridor)
        .training(lr=tune.grid_search([1e-6, 3e-3]), train_batch_size=200, model={"fcnet_hiddens": [16]})
        .env_runners(num_env_runners=1)
        .reporting(min_sample_timesteps_per_iteration=2000)
        .debugging(seed=1)
    )


def run(trainable: Any, space: Any, folder: Path, iterations: int, **more: Any) -> Any:
    return tune.Tuner(
        trainable,
        param_space=space,
        tune_config=tune.TuneConfig(metric="episode_reward_mean", mode="max", **more),
        run_config=tune.RunConfig(storage_path=str(folder), stop={"training_iteration": iterations}),
    ).fit()


def test_a_search_finds_the_rate_that_learns_and_its_checkpoint_plays(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="lr: a space to search; hand the configuration to"):
        settings().build()
    results = run("A2C", settings(), tmp_path, 6)
    assert not results.errors
    best = results.get_best_result()
    assert best.config["lr"] == 3e-3
    assert best.metrics["episode_reward_mean"] > 0.2
    assert best.metrics["training_iteration"] == 6


def test_a_name_that_the_program_gave_an_environment_holds_in_trials(tmp_path: Path) -> None:
    class Short(Corridor):
        def __init__(self, config: dict[str, Any]) -> None:
            super().__init__({**config, "length": 2})

    tune.register_env("short", Short)
    results = run(PPO, {"env": "short", "train_batch_size": 200, "lr": 1e-3, "num_workers": 0}, tmp_path, 1)
    assert not results.errors
    assert results[0].metrics["num_env_steps_sampled_lifetime"] == 200
    register_env("shorter", Short)
    assert PPOConfig().environment("shorter").build().observation_space.shape == (1,)


def test_an_algorithm_goes_on_from_a_trials_checkpoint(tmp_path: Path) -> None:
    trainable = trainable_of(A2C)({**settings().training(lr=3e-3).to_dict(), "num_env_runners": 0})
    trainable.train()
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    trainable.save_checkpoint(str(folder))
    other = settings().training(lr=3e-3).env_runners(num_env_runners=0).build()
    other.restore(folder)
    assert other.iteration == 1
    trainable.cleanup()


def test_a_trial_holds_what_its_runners_need_and_never_more_than_there_is() -> None:
    asked = trainable_of(A2C).default_resource_request
    assert asked({"num_env_runners": 2}).required_resources == {"CPU": 2.0}
    assert asked({"num_env_runners": 0}).required_resources == {"CPU": 1.0}
    assert asked({"num_env_runners": 9}).required_resources == {"CPU": 2.0}


def test_what_cannot_be_is_told_before_a_trial_begins(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"libraries have: .*PPO"):
        tune.Tuner("PPOO", param_space={})
    with pytest.raises(ConfigError, match="did you mean train_batch_size"):
        run("PPO", {"env": "CartPole-v1", "train_batchsize": 3}, tmp_path, 1)
    assert issubclass(trainable_of(PPO), AlgorithmTrainable)
    assert trainable_of(PPO).config_class() is PPOConfig
