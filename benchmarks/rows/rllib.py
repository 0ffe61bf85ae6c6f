"""Reinforcement learning: steps of environments a second with the learning from them, and how soon it is good."""

from __future__ import annotations

import importlib
import os
import time
from typing import Any

import numpy as np
from harness.declare import Rows
from harness.measure import Bench, Reading
from harness.processes import resident_mb

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


@ROWS.row(
    "rllib: PPO on CartPole, memory of all processes (PSS)",
    unit="MB",
    less_is_better=True,
    required=2,
    seconds=120,
)
def memory(bench: Bench) -> Reading:
    """What an algorithm with two runners takes after two iterations, with all that it runs on and this process."""
    algorithm = _ppo(bench).build_algo()
    try:
        for _ in range(2):
            algorithm.train()
        pss, rss, processes = resident_mb(os.getpid())
        return Reading(pss, {"RSS MB": rss, "processes": processes})
    finally:
        algorithm.stop()


@ROWS.row("rllib: prioritized replay, rows sampled", required=5, seconds=60)
def replay(bench: Bench) -> Reading:
    """Rows a second that are sampled and given new priorities, 32 at a time, of 50,000 steps of CartPole's shape."""
    rows, size = bench.size(50_000, 2_000), 32
    rounds = bench.size(2_000, 20)
    one = _replay_of_shoal if bench.api.__name__ == "shoal" else _replay_of_ray
    draw = one(rows, size)
    for _ in range(20):
        draw()
    began = time.perf_counter()
    for _ in range(rounds):
        draw()
    return Reading(rounds * size / (time.perf_counter() - began))


def _replay_of_shoal(rows: int, size: int) -> Any:
    from shoal.rllib.replay import PrioritizedReplayBuffer

    buffer = PrioritizedReplayBuffer(rows, alpha=0.6, beta=0.4, seed=1)
    random = np.random.default_rng(1)
    buffer.add(
        {
            "observations": random.random((rows, 4), np.float32),
            "next_observations": random.random((rows, 4), np.float32),
            "actions": random.integers(2, size=rows),
            "rewards": np.ones(rows, np.float32),
            "terminated": np.zeros(rows, np.float32),
        }
    )
    priorities = random.random(size)

    def draw() -> None:
        buffer.update(buffer.sample(size)["indices"], priorities)

    return draw


def _replay_of_ray(rows: int, size: int) -> Any:
    """The buffer that the reference's DQN has, which holds episodes."""
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode
    from ray.rllib.utils.replay_buffers import PrioritizedEpisodeReplayBuffer

    buffer = PrioritizedEpisodeReplayBuffer(capacity=rows, alpha=0.6)
    random = np.random.default_rng(1)
    steps = 100
    for _ in range(rows // steps):
        seen = list(random.random((steps + 1, 4), np.float32))
        buffer.add(
            SingleAgentEpisode(
                observations=seen,
                actions=list(random.integers(2, size=steps)),
                rewards=[1.0] * steps,
                terminated=True,
                len_lookback_buffer=0,
            )
        )
    priorities = random.random(size)

    def draw() -> None:
        buffer.sample(num_items=size, beta=0.4)
        buffer.update_priorities(priorities)

    return draw


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
