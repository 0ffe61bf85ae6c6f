"""Reinforcement learning: steps of environments a second with the learning from them, and how soon it is good."""

from __future__ import annotations

import importlib
import time
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.rllib_floors import BATCH, ENVIRONMENTS, EPOCHS, HIDDEN, MINIBATCH, SETTINGS

ROWS = Rows()
RUNNERS = 2
GOOD = 450.0  # of 500, the most that CartPole gives
PATIENCE = 150.0


def _config(bench: Bench, module: str, name: str) -> Any:
    made = getattr(importlib.import_module(f"{bench.api.__name__}.rllib.algorithms.{module}"), name)()
    model = {
        "fcnet_hiddens": list(HIDDEN),
        "fcnet_activation": "tanh",
        "vf_share_layers": False,
    }
    return made.environment("CartPole-v1").rl_module(model_config=model).debugging(seed=1)


def _ppo(bench: Bench) -> Any:
    return (
        _config(bench, "ppo", "PPOConfig")
        .env_runners(num_env_runners=RUNNERS, num_envs_per_env_runner=ENVIRONMENTS // RUNNERS)
        .training(
            **SETTINGS,
            lambda_=0.95,
            train_batch_size=BATCH,
            minibatch_size=MINIBATCH,
            num_epochs=EPOCHS,
            use_kl_loss=False,
            entropy_coeff=0.0,
            vf_loss_coeff=0.5,
            vf_clip_param=10_000.0,
            clip_param=0.2,
        )
    )


def _steps(result: dict[str, Any]) -> float:
    return float(result["env_runners"]["num_env_steps_sampled_lifetime"])


def _rate(algorithm: Any, iterations: int, warm: int = 1) -> Reading:
    """Steps a second of some iterations, after some that warm up."""
    try:
        for _ in range(warm):
            before = _steps(algorithm.train())
        began = time.perf_counter()
        for _ in range(iterations):
            result = algorithm.train()
        seconds = time.perf_counter() - began
        return Reading((_steps(result) - before) / seconds)
    finally:
        algorithm.stop()


@ROWS.row(
    "rllib: PPO on CartPole, steps",
    required=3,
    floor="Stable-Baselines3: PPO on CartPole, steps",
    share=1.0,
    seconds=180,
)
def ppo_steps(bench: Bench) -> Reading:
    """Steps a second of two runners with four environments each, ten epochs of minibatches from them."""
    return _rate(_ppo(bench).build_algo(), bench.size(4, 1))


@ROWS.row("rllib: PPO's build()", unit="s", less_is_better=True, required=5, seconds=120)
def build(bench: Bench) -> Reading:
    """Seconds until an algorithm with two runners is there."""
    _ppo(bench).build_algo().stop()  # what is imported once, is imported
    began = time.perf_counter()
    algorithm = _ppo(bench).build_algo()
    seconds = time.perf_counter() - began
    algorithm.stop()
    return Reading(seconds)


@ROWS.row(
    "rllib: PPO on CartPole, until the mean return is 450",
    unit="s",
    less_is_better=True,
    required=3,
    seconds=200,
    once=True,
)
def until_good(bench: Bench) -> Reading:
    """Seconds of training until the mean of the last episodes is 450."""
    algorithm = _ppo(bench).build_algo()
    try:
        began = time.perf_counter()
        while time.perf_counter() - began < PATIENCE:
            result = algorithm.train()
            if result["env_runners"].get("episode_return_mean", 0.0) >= (20.0 if bench.quick else GOOD):
                return Reading(time.perf_counter() - began, {"steps": _steps(result)})
        raise TimeoutError(f"not there after {PATIENCE:g} s: {result['env_runners']}")
    finally:
        algorithm.stop()


@ROWS.row("rllib: IMPALA on CartPole, steps", required=1, seconds=120)
def impala_steps(bench: Bench) -> Reading:
    """Steps a second of two runners that do not wait for the learner."""
    config = (
        _config(bench, "impala", "IMPALAConfig")
        .env_runners(num_env_runners=RUNNERS, num_envs_per_env_runner=5, rollout_fragment_length=50)
        .training(lr=5e-4, train_batch_size=500)
        .reporting(min_time_s_per_iteration=2)
    )
    return _rate(config.build_algo(), bench.size(3, 1))


@ROWS.row("rllib: DQN on CartPole, steps", required=3, seconds=180)
def dqn_steps(bench: Bench) -> Reading:
    """Steps a second in one process, with a batch of 32 learned from for every four steps."""
    config = (
        _config(bench, "dqn", "DQNConfig")
        .env_runners(num_env_runners=0, rollout_fragment_length=4)
        .training(lr=5e-4, train_batch_size=32, num_steps_sampled_before_learning_starts=500)
        .reporting(min_sample_timesteps_per_iteration=1000)
    )
    return _rate(config.build_algo(), bench.size(2, 1))
