"""Evaluations play apart from the learning; callbacks are called at their moments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from corridor import Corridor

from shoal.errors import ConfigError
from shoal.rllib.algorithms.a2c import A2CConfig
from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.callbacks import RLlibCallback


def small(**evaluation: Any) -> A2CConfig:
    return (
        A2CConfig()
        .environment(Corridor)
        .training(lr=3e-3, train_batch_size=200, model={"fcnet_hiddens": [16]})
        .reporting(min_sample_timesteps_per_iteration=4000)
        .debugging(seed=1)
        .evaluation(**evaluation)
    )


def test_an_evaluation_takes_the_best_actions_and_teaches_nothing() -> None:
    algorithm = small(evaluation_duration=3).build()
    for _ in range(6):
        trained = algorithm.train()
    steps = trained["num_env_steps_sampled_lifetime"]
    told = algorithm.evaluate()
    assert told["env_runners"]["num_episodes"] == 3
    assert told["env_runners"]["hist_stats"]["episode_lengths"] == [5, 5, 5]
    assert told["episode_reward_mean"] == pytest.approx(0.6)
    assert algorithm.train()["num_env_steps_sampled_lifetime"] == steps + 4000
    assert "evaluation" not in trained


def test_evaluations_come_between_iterations_with_settings_of_their_own() -> None:
    config = small(
        evaluation_interval=2,
        evaluation_duration=50,
        evaluation_duration_unit="timesteps",
        evaluation_config={"env_config": {"length": 3}, "explore": True},
    )
    algorithm = config.build()
    results = [algorithm.train() for _ in range(4)]
    assert ["evaluation" in each for each in results] == [False, True, False, True]
    assert results[3]["evaluation"]["env_runners"]["num_env_steps_sampled"] == 50
    assert results[3]["evaluation"]["env_runners"]["episode_return_max"] <= 0.8 + 1e-6


class Notes(RLlibCallback):
    """Writes down what it is told."""

    seen: list[str]

    def on_algorithm_init(self, *, algorithm: Any, **more: Any) -> None:
        Notes.seen = [f"init {algorithm.iteration}"]

    def on_train_result(self, *, algorithm: Any, result: dict[str, Any], **more: Any) -> None:
        Notes.seen.append(f"trained {result['training_iteration']}")
        result["mine"] = 7

    def on_evaluate_end(self, *, algorithm: Any, evaluation_metrics: dict[str, Any], **more: Any) -> None:
        Notes.seen.append("evaluated")
        evaluation_metrics["mine"] = 8


def test_callbacks_are_called_at_their_moments(tmp_path: Path) -> None:
    loaded: list[int] = []
    config = small(evaluation_interval=1, evaluation_duration=1).callbacks(
        Notes, on_checkpoint_loaded=lambda algorithm, **more: loaded.append(algorithm.iteration)
    )
    algorithm = config.build()
    result = algorithm.train()
    assert (result["mine"], result["evaluation"]["mine"]) == (7, 8)
    assert Notes.seen == ["init 0", "evaluated", "trained 1"]
    algorithm.restore(algorithm.save(tmp_path / "checkpoint"))
    assert loaded == [1]


class Unheard(RLlibCallback):
    """Has a method that nobody calls."""

    def on_episode_ended(self, **more: Any) -> None:
        raise AssertionError


@pytest.mark.parametrize(
    ("family", "settings", "told"),
    [
        ("callbacks", {"callbacks_class": Unheard}, r"Unheard\.on_episode_ended would never be called"),
        ("callbacks", {"callbacks_class": int}, "must be a subclass of RLlibCallback"),
        ("callbacks", {"on_train_result": 3}, "on_train_result must be a function"),
        ("callbacks", {"on_train_end": print}, "did you mean on_train_result"),
        ("evaluation", {"evaluation_duration_unit": "hours"}, 'must be "episodes" or "timesteps"'),
        ("evaluation", {"evaluation_interval": 0}, "evaluation_interval must be a number ≥ 1"),
        (
            "evaluation",
            {"evaluation_config": {"lr": 1}},
            "evaluation_config has explore and env_config, not lr",
        ),
    ],
)
def test_what_cannot_be_is_told(family: str, settings: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        getattr(PPOConfig(), family)(**settings)
