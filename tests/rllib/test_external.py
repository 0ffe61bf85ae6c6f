"""Environments that are elsewhere: a program plays, asks for actions over HTTP, and the policy gets better."""

from __future__ import annotations

import http.client
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from shoal.errors import GetTimeout
from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.external import ExternalEnvRunner, ExternalSpaces, PolicyClient

PLAYER = """
import sys
import gymnasium
from shoal.rllib.external.client import PolicyClient

env, client = gymnasium.make("CartPole-v1"), PolicyClient(sys.argv[1], sys.argv[2])
try:
    while True:
        seen, _ = env.reset()
        episode = client.start_episode()
        over = False
        while not over:
            seen_before = seen
            seen, reward, terminated, truncated, _ = env.step(client.get_action(episode, seen_before))
            client.log_returns(episode, reward)
            over = terminated or truncated
        client.end_episode(episode, seen, truncated)
except ConnectionError:
    pass
"""


def made(**settings: Any) -> Any:
    """PPO for a pole that is elsewhere."""
    env = gymnasium.make("CartPole-v1")
    return (
        PPOConfig()
        .environment(ExternalSpaces(env.observation_space, env.action_space))
        .env_runners(env_runner_cls=ExternalEnvRunner, **settings)
        .rl_module(model_config={"fcnet_hiddens": (32,)})
        .training(lr=1e-3, num_epochs=8, train_batch_size=500, minibatch_size=125, lambda_=0.95)
        .debugging(seed=1)
        .build()
    )


def test_a_program_elsewhere_plays_and_the_policy_gets_better(tmp_path: Path) -> None:
    algorithm = made()
    runner = algorithm.env_runner
    player = subprocess.Popen([sys.executable, "-c", PLAYER, runner.address, runner.token])
    try:
        results = [algorithm.train() for _ in range(10)]
        assert results[-1]["episode_reward_mean"] > 1.5 * results[0]["episode_reward_mean"]
        assert results[-1]["num_env_steps_sampled_lifetime"] >= 5000
    finally:
        algorithm.stop()
        assert player.wait(timeout=60) == 0  # it sees that nobody answers any more


def test_what_is_done_without_asking_is_learned_from_or_not() -> None:
    algorithm = made(sample_timeout_s=5.0)
    runner = algorithm.env_runner
    client = PolicyClient(runner.address, runner.token)
    seen = np.zeros(4, np.float32)
    try:
        client.start_episode("quiet", training_enabled=False)
        client.start_episode("mine")
        for episode in ("quiet", "mine"):
            for step in range(3):
                client.log_action(episode, seen + 0.1 * step, step % 2)
                client.log_returns(episode, 1.0)
                client.log_returns(episode, 0.5)
            client.end_episode(episode, seen, truncated=True)
        [episode] = runner.sample(num_timesteps=3)
        assert episode.id_ == "mine"
        assert episode.is_truncated
        assert list(episode.get_actions()) == [0, 1, 0]
        assert list(episode.get_rewards()) == [1.5, 1.5, 1.5]
        assert (np.asarray(episode.get_extra_model_outputs("action_logp")) < 0).all()
        with pytest.raises(GetTimeout, match=r"made a step within 4\.5 s"):
            runner.sample(num_timesteps=3)
    finally:
        client.close()
        algorithm.stop()


def test_what_is_wrong_is_told(tmp_path: Path) -> None:
    algorithm = made()
    runner = algorithm.env_runner
    client = PolicyClient(runner.address, runner.token)
    try:
        episode = client.start_episode()
        for ask, told in (
            (lambda: client.get_action("none", [0.0] * 4), "no open episode 'none'"),
            (lambda: client.get_action(episode, [0.0] * 3), "is not of Box"),
            (lambda: client.get_action(episode, "left"), "is not of Box"),
            (lambda: client.log_returns(episode, 1.0), "comes after an action"),
            (lambda: client.end_episode(episode, [0.0] * 4), "ends after an action"),
            (lambda: client.start_episode(episode), "there is an episode"),
            (lambda: client._ask("fly", {"a": 1}), "POST one of /start, /action"),
        ):
            with pytest.raises(RuntimeError, match=told):
                ask()
        with pytest.raises(RuntimeError, match="a wrong token"):
            PolicyClient(runner.address, "guess").start_episode()
        raw = http.client.HTTPConnection(runner.address.removeprefix("http://"), timeout=10)
        raw.request(
            "POST",
            "/start",
            headers={"Authorization": f"Bearer {runner.token}", "Content-Length": "99999999999"},
        )
        answer = raw.getresponse()
        assert answer.status == 413
        assert "bytes" in json.loads(answer.read())["error"]
        raw.close()
        assert client.get_action(episode, [0.0] * 4) in (0, 1)
    finally:
        client.close()
        algorithm.stop()
    assert not [each for each in threading.enumerate() if each.name == "shoal-policy-server"]
    with pytest.raises(ConnectionError, match="no answer from"):
        client.start_episode()
    with pytest.raises(ValueError, match="must be http"):
        PolicyClient("tcp://here", "x")
