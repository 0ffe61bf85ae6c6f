"""PPO learns, goes on from checkpoints exactly, and tells what is wrong."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from corridor import Corridor

import shoal
from shoal.errors import ConfigError
from shoal.rllib import register_env
from shoal.rllib.algorithms.ppo import PPO, PPOConfig
from shoal.rllib.algorithms.ppo.loss import Coefficients, ppo_loss
from shoal.rllib.modules.actor_critic import ActorCritic, ArrayPolicy
from shoal.rllib.modules.distributions import Choices, Normals, distribution_of
from shoal.rllib.sampling.advantages import generalised_advantages


def config(**environment: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment(Corridor, env_config=environment)
        .training(
            lr=3e-3,
            train_batch_size=400,
            minibatch_size=100,
            num_epochs=6,
            lambda_=0.95,
            gamma=0.99,
            model={"fcnet_hiddens": [16]},
        )
        .debugging(seed=1)
    )


def test_it_learns_to_walk_to_the_end() -> None:
    algorithm = config().build()
    first = algorithm.train()["episode_reward_mean"]
    for _ in range(14):
        result = algorithm.train()
    assert first < 0
    assert result["episode_reward_mean"] > 0.45, "the best is 0.6"
    assert result["training_iteration"] == 15
    assert result["num_env_steps_sampled_lifetime"] == 15 * 400
    assert algorithm.compute_single_action(np.zeros(1, np.float32), explore=False) == 1


def test_a_checkpoint_goes_on_exactly(tmp_path: Path) -> None:
    algorithm = config().build()
    algorithm.train()
    path = algorithm.save(tmp_path / "checkpoint")
    other = config().debugging(seed=7).build()
    other.restore(path)
    seen = [np.array([place / 5], np.float32) for place in range(5)] * 4
    assert [algorithm.compute_single_action(each) for each in seen] == [
        other.compute_single_action(each) for each in seen
    ]
    assert other.iteration == 1
    assert other.train()["training_iteration"] == 2


def test_checkpoints_of_others_are_refused(tmp_path: Path) -> None:
    algorithm = config().build()
    with pytest.raises(FileNotFoundError, match="holds no checkpoint"):
        algorithm.restore(tmp_path)
    path = Path(algorithm.save(tmp_path / "checkpoint"))
    wider = config().training(model={"fcnet_hiddens": [8]}).build()
    with pytest.raises(ConfigError, match="another network"):
        wider.restore(path)
    (path / "algorithm.json").write_text((path / "algorithm.json").read_text().replace("PPO", "SAC"))
    with pytest.raises(ConfigError, match="is of SAC, version 1; this is PPO"):
        algorithm.restore(path)


@pytest.mark.processes
def test_a_runner_that_dies_is_replaced() -> None:
    with shoal.init(num_cpus=2):
        algorithm = config().env_runners(num_env_runners=2, num_envs_per_env_runner=2).build()
        algorithm.train()
        shoal.kill(algorithm._runners._actors[0])
        assert algorithm.train()["num_env_steps_sampled_lifetime"] == 800
        algorithm.stop()


@pytest.mark.parametrize(
    ("family", "settings", "told"),
    [
        ("training", {"train_batchsize": 1}, "did you mean train_batch_size"),
        ("training", {"num_env_runners": 1}, r"is a setting of \.env_runners\(\)"),
        ("training", {"lr": -1}, "lr must be a number ≥ 0, not -1"),
        ("training", {"model": {"hiddens": [1]}}, "model has no setting hiddens"),
        ("framework", {"framework": "tf2"}, 'framework must be "torch"'),
        ("environment", {"env": 3}, None),
    ],
)
def test_wrong_settings_are_told(family: str, settings: dict[str, Any], told: str | None) -> None:
    if told is None:
        with pytest.raises(ConfigError, match="env must be a name"):
            getattr(PPOConfig(), family)(**settings).build()
        return
    with pytest.raises(ConfigError, match=told):
        getattr(PPOConfig(), family)(**settings)


def test_what_is_wrong_together_is_told_when_it_is_built() -> None:
    with pytest.raises(ConfigError, match="no environment is named"):
        PPOConfig().build()
    with pytest.raises(ConfigError, match="no environment is named 'Cartpole-v9'"):
        PPOConfig().environment("Cartpole-v9").build()
    with pytest.raises(ConfigError, match="minibatch_size=128 is more than train_batch_size=64"):
        PPOConfig().environment("CartPole-v1").training(train_batch_size=64).build()


def test_older_spellings_are_the_same_settings() -> None:
    made = PPOConfig().rollouts(num_rollout_workers=2).training(num_sgd_iter=3, sgd_minibatch_size=10)
    assert (made.num_env_runners, made.num_epochs, made.minibatch_size) == (2, 3, 10)
    assert made.num_sgd_iter == 3


def test_an_environment_that_gives_no_numbers_is_told_with_its_step() -> None:
    class Broken(Corridor):
        def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
            seen, reward, *rest = super().step(action)
            return seen, float("nan") if self.steps == 3 else reward, *rest

    with pytest.raises(ValueError, match=r"step 3 of an episode of .* gave the reward nan"):
        config().environment(Broken).build().train()


def test_environments_go_by_the_names_that_they_were_given() -> None:
    register_env("short-corridor", lambda given: Corridor({**given, "length": 2}))
    algorithm = config().environment("short-corridor").build()
    assert isinstance(algorithm, PPO)
    assert algorithm.train()["episode_len_mean"] < 20


def test_advantages_are_those_of_the_definition() -> None:
    random = np.random.default_rng(3)
    steps, gamma, lambda_ = 12, 0.9, 0.8
    rewards, values, next_values = random.normal(size=(3, steps, 1))
    terminated = np.zeros((steps, 1))
    ended = np.zeros((steps, 1))
    terminated[4], ended[4], ended[8] = 1, 1, 1  # one terminates, one is cut short
    found = generalised_advantages(rewards, values, next_values, terminated, ended, gamma, lambda_)
    deltas = rewards + gamma * next_values * (1 - terminated) - values
    for step in range(steps):
        expected, weight = 0.0, 1.0
        for later in range(step, steps):
            expected += weight * deltas[later, 0]
            weight *= gamma * lambda_
            if ended[later]:
                break
        assert found[step, 0] == pytest.approx(expected)


def test_the_array_policy_is_the_network() -> None:
    for shared in (False, True):
        module = ActorCritic(3, 2, (8, 8), "relu" if shared else "tanh", shared)
        seen = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
        inputs, values = ArrayPolicy(module.arrays())(seen)
        expected = module(torch.as_tensor(seen))
        assert np.allclose(inputs, expected[0].detach().numpy(), atol=1e-5)
        assert np.allclose(values, expected[1].detach().numpy(), atol=1e-5)


@pytest.mark.parametrize("space", [gymnasium.spaces.Discrete(3), gymnasium.spaces.Box(-1, 1, (2,))], ids=str)
def test_distributions_are_torchs(space: gymnasium.Space[Any]) -> None:
    ours = distribution_of(space)
    inputs, before = torch.randn(7, ours.inputs), torch.randn(7, ours.inputs)
    actions, logs = ours.sample(inputs.numpy(), np.random.default_rng(0))

    def theirs(given: Any) -> Any:
        if isinstance(ours, Choices):
            return torch.distributions.Categorical(logits=given)
        assert isinstance(ours, Normals)
        means, spreads = given.split(2, -1)
        return torch.distributions.Independent(torch.distributions.Normal(means, spreads.exp()), 1)

    expected = theirs(inputs).log_prob(torch.as_tensor(actions))
    assert torch.allclose(torch.as_tensor(logs, dtype=torch.float32), expected, atol=1e-4)
    assert torch.allclose(ours.log_probability(inputs, torch.as_tensor(actions)), expected, atol=1e-4)
    assert torch.allclose(ours.entropy(inputs), theirs(inputs).entropy(), atol=1e-4)
    divergence = torch.distributions.kl_divergence(theirs(before), theirs(inputs))
    assert torch.allclose(ours.divergence(before, inputs), divergence, atol=1e-3, rtol=1e-3)


def test_draws_have_the_frequencies_of_the_distribution() -> None:
    inputs = np.log(np.array([[0.2, 0.5, 0.3]], np.float32)).repeat(20_000, axis=0)
    actions, _ = Choices(3).sample(inputs, np.random.default_rng(0))
    assert np.bincount(actions) / 20_000 == pytest.approx([0.2, 0.5, 0.3], abs=0.015)


def test_the_loss_is_the_papers() -> None:
    """Against a plain transcription of equation 7 in the paper, row by row."""
    module = ActorCritic(2, 3, (4,))
    rows = 6
    batch = {
        "observations": torch.randn(rows, 2),
        "actions": torch.randint(3, (rows,)),
        "log_probabilities": torch.randn(rows) - 1,
        "inputs": torch.randn(rows, 3),
        "advantages": torch.randn(rows),
        "targets": 5 * torch.randn(rows),
    }
    weights = Coefficients(clip=0.2, value_clip=3.0, value=0.5, entropy=0.01, kl=0.2)
    loss, parts = ppo_loss(module, Choices(3), batch, weights)
    with torch.no_grad():
        logits, values = module(batch["observations"])
    expected = 0.0
    for row in range(rows):
        now, old = torch.distributions.Categorical(logits=logits[row]), batch["log_probabilities"][row]
        ratio = float(torch.exp(now.log_prob(batch["actions"][row]) - old))
        advantage = float(batch["advantages"][row])
        expected -= min(ratio * advantage, max(0.8, min(1.2, ratio)) * advantage) / rows
        expected += 0.5 * min(3.0, float(values[row] - batch["targets"][row]) ** 2) / rows
        expected -= 0.01 * float(now.entropy()) / rows
        before = torch.distributions.Categorical(logits=batch["inputs"][row])
        expected += 0.2 * float(torch.distributions.kl_divergence(before, now)) / rows
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)
    assert set(parts) == {"total_loss", "policy_loss", "vf_loss", "entropy", "mean_kl_loss"}


@pytest.mark.processes
def test_runners_of_a_second_algorithm_share_what_is_left() -> None:
    with shoal.init(num_cpus=2):
        first = config().env_runners(num_env_runners=4).build()
        second = config().env_runners(num_env_runners=4, sample_timeout_s=30).build()
        assert first.train()["training_iteration"] == second.train()["training_iteration"] == 1
        first.stop()
        second.stop()
