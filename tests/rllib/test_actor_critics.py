"""SAC, DDPG and TD3: losses against the papers, learning, checkpoints, settings."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from corridor import Corridor
from small_environments import Centre

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.apex_ddpg import ApexDDPGConfig
from shoal.rllib.algorithms.ddpg import DDPGConfig
from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig
from shoal.rllib.algorithms.sac import SACConfig
from shoal.rllib.algorithms.sac.loss import actor_loss, later_values
from shoal.rllib.algorithms.td3 import TD3Config
from shoal.rllib.modules.continuous import Critics, SquashedPolicy, critic_arrays, policy_layers, squashed
from shoal.rllib.modules.layers import ArrayLayers, arrays_of
from shoal.rllib.sampling.transitions import Actions

SETTINGS: dict[str, Any] = {
    "lr": 3e-3,
    "train_batch_size": 64,
    "model": {"fcnet_hiddens": [32], "fcnet_activation": "relu"},
    "tau": 0.02,
    "num_steps_sampled_before_learning_starts": 200,
    "replay_buffer_config": {"capacity": 5000},
}


def config(kind: Any, env: Any = Centre, **training: Any) -> Any:
    made = kind().environment(env).training(**{**SETTINGS, **training}).debugging(seed=1)
    return made.reporting(min_sample_timesteps_per_iteration=300)


@pytest.mark.parametrize("kind", [SACConfig, TD3Config, DDPGConfig])
def test_it_learns_to_move_to_the_middle(kind: type[OffPolicyConfig]) -> None:
    algorithm = config(kind).build()
    for _ in range(4):
        algorithm.train()
    for at in (-0.4, 0.0, 0.3):
        [move] = algorithm.compute_single_action(np.array([at], np.float32), explore=False)
        assert at + move == pytest.approx(0, abs=0.2), at


def test_it_learns_choices() -> None:
    algorithm = config(SACConfig, Corridor, target_entropy=0.1, gamma=0.95).build()
    for _ in range(6):
        algorithm.train()
    walked = [np.array([place / 5], np.float32) for place in range(5)]
    assert [algorithm.compute_single_action(each, explore=False) for each in walked] == [1] * 5


@pytest.mark.processes
def test_it_learns_from_runners_and_shards() -> None:
    with shoal.init(num_cpus=2):
        made = config(ApexDDPGConfig, training_intensity=32, n_step=1)
        made.training(replay_buffer_config={"num_shards": 2})
        algorithm = made.env_runners(num_env_runners=2, rollout_fragment_length=20).build()
        for _ in range(8):
            algorithm.train()
        [move] = algorithm.compute_single_action(np.zeros(1, np.float32), explore=False)
        assert move == pytest.approx(0, abs=0.25)
        algorithm.stop()


@pytest.mark.parametrize("kind", [SACConfig, TD3Config])
def test_a_checkpoint_goes_on_exactly(kind: type[OffPolicyConfig], tmp_path: Path) -> None:
    algorithm = config(kind, store_buffer_in_checkpoints=True).build()
    algorithm.train()
    other = config(kind, store_buffer_in_checkpoints=True).debugging(seed=7).build()
    path = algorithm.save(tmp_path)
    made = []
    for each in (algorithm, other):
        each.restore(path)
        seen = np.array([0.2], np.float32)
        acted = [float(each.compute_single_action(seen, explore)[0]) for explore in (True, True, False)]
        each.learn(each.tensors(each.buffer.sample(64)))
        made.append((acted, torch.nn.utils.parameters_to_vector(each.module.parameters()).tolist()))
    assert made[0] == made[1]


def test_squashed_densities_are_torchs() -> None:
    torch.manual_seed(0)
    outputs = torch.randn(50, 4, dtype=torch.float64).clamp(-1.5, 1.5)
    actions, logs = squashed(outputs)
    means, spreads = outputs.chunk(2, -1)
    theirs = torch.distributions.TransformedDistribution(
        torch.distributions.Normal(means, spreads.exp()), [torch.distributions.TanhTransform()]
    )
    inside = (actions.abs() < 0.9999).all(1)
    assert torch.allclose(logs[inside], theirs.log_prob(actions).sum(-1)[inside], atol=1e-4)


def test_several_critics_are_each_a_network() -> None:
    critics = Critics(2, 3, 1, (8, 8))
    seen = torch.randn(5, 3)
    assert critics(seen).shape == (2, 5, 1)
    found = ArrayLayers(critic_arrays(critics))(seen.numpy())
    assert np.allclose(found, critics(seen)[0].detach().numpy(), atol=1e-5)
    assert not torch.allclose(*critics(seen))


def test_sacs_losses_for_choices_are_expectations() -> None:
    """Against sums over the choices, written out."""
    torch.manual_seed(0)
    module = {
        "actor": policy_layers(2, 3, (4,), "relu"),
        "critics": Critics(2, 2, 3, (4,)),
        "target": Critics(2, 2, 3, (4,)),
    }
    batch = {"observations": torch.randn(6, 2), "next_observations": torch.randn(6, 2)}
    alpha = 0.3
    with torch.no_grad():
        later = later_values(module, batch, alpha, discrete=True)
        loss, _ = actor_loss(module, batch, alpha, discrete=True)
        assert_expectations(module, batch, alpha, later, loss)


def assert_expectations(module: Any, batch: dict[str, Any], alpha: float, later: Any, loss: Any) -> None:
    expected = 0.0
    for row in range(6):
        chances = torch.softmax(module["actor"](batch["next_observations"])[row], -1)
        values = module["target"](batch["next_observations"])[:, row].min(0).values
        wanted = sum(float(chances[a] * (values[a] - alpha * chances[a].log())) for a in range(3))
        assert float(later[row]) == pytest.approx(wanted, rel=1e-4)
        chances = torch.softmax(module["actor"](batch["observations"])[row], -1)
        values = module["critics"](batch["observations"])[:, row].min(0).values
        expected += sum(float(chances[a] * (alpha * chances[a].log() - values[a])) for a in range(3)) / 6
    assert float(loss) == pytest.approx(expected, rel=1e-4)


def test_td3s_targets_are_the_papers() -> None:
    algorithm = config(TD3Config, target_noise=0.0).build()
    module = algorithm.module
    with torch.no_grad():
        for each in module["critics_target"].parameters():
            each.add_(torch.randn_like(each) * 0.3)
    after = torch.randn(4, 1)
    batch = {
        "next_observations": after,
        "rewards": torch.randn(4),
        "discounts": torch.tensor([0.9, 0.9, 0.0, 0.9]),
    }
    acts = torch.tanh(module["actor_target"](after))
    both = module["critics_target"](torch.cat([after, acts], -1))[..., 0]
    expected = batch["rewards"] + batch["discounts"] * torch.minimum(both[0], both[1])
    assert torch.allclose(algorithm.targets(batch), expected, atol=1e-6)
    algorithm.config.training(target_noise=0.2)
    assert not torch.allclose(algorithm.targets(batch), expected, atol=1e-6), "targets are smoothed"


def test_a_delayed_policy_learns_every_second_batch() -> None:
    algorithm = config(TD3Config).build()
    for rows in algorithm._played(200):
        algorithm.buffer.add(rows)
    weights = []
    for _ in range(4):
        algorithm.learn(algorithm.tensors(algorithm.buffer.sample(64)))
        algorithm.after_learning()
        weights.append(torch.nn.utils.parameters_to_vector(algorithm.module["actor"].parameters()))
    same = [torch.equal(one, two) for one, two in itertools.pairwise(weights)]
    assert same == [True, False, True]


def test_actions_go_to_their_space_and_back() -> None:
    space = gymnasium.spaces.Box(np.array([-0.5, 0.0], np.float32), np.array([1.5, 4.0], np.float32))
    actions = Actions(space)
    assert actions.to_space([0.0, 1.0]).tolist() == [0.5, 4.0]
    assert actions.from_space(np.array([[0.5, 4.0]])).tolist() == [[0.0, 1.0]]
    with pytest.raises(ConfigError, match="must have finite ends"):
        Actions(gymnasium.spaces.Box(-np.inf, 1, (1,)))
    with pytest.raises(ConfigError, match="must be of Discrete or of Box"):
        Actions(gymnasium.spaces.MultiBinary(3))


def test_the_array_policy_is_the_network() -> None:
    network = policy_layers(2, 4, (8,), "tanh")
    seen = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    random = np.random.default_rng(0)
    expected = torch.tanh(network(torch.as_tensor(seen))[:, :2]).detach().numpy()
    policy = SquashedPolicy(arrays_of(network))
    assert np.allclose(policy.actions(seen, random, explore=False), expected, atol=1e-5)
    assert (np.abs(SquashedPolicy(arrays_of(network), uniform=True).actions(seen, random)) <= 1).all()


def test_older_spellings_are_the_same_settings() -> None:
    made = TD3Config().exploration(
        exploration_config={"type": "GaussianNoise", "stddev": 0.3, "random_timesteps": 7}
    )
    assert (made.noise, made.num_steps_sampled_before_learning_starts) == (0.3, 7)
    made = SACConfig().training(optimization_config={"actor_learning_rate": 0.1})
    assert (made.rate("actor_lr"), made.rate("critic_lr")) == (0.1, 3e-4)
    assert SACConfig().training(lr=0.2).rate("alpha_lr") == 0.2


@pytest.mark.parametrize(
    ("kind", "wrong", "told"),
    [
        (SACConfig, {"initial_alfa": 3}, "did you mean initial_alpha"),
        (SACConfig, {"initial_alpha": 0}, "must be more than 0"),
        (SACConfig, {"target_entropy": "some"}, 'must be a number or "auto"'),
        (SACConfig, {"optimization_config": {"lr": 1}}, "optimization_config has no setting 'lr'"),
        (TD3Config, {"policy_delay": 0}, "policy_delay must be a number ≥ 1"),
        (DDPGConfig, {"noise": -1}, "noise must be a number ≥ 0"),
    ],
)
def test_wrong_settings_are_told(kind: Any, wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        kind().training(**wrong)


def test_choices_are_refused_by_what_moves_real_actions() -> None:
    with pytest.raises(ConfigError, match="DDPG takes actions of Box"):
        config(DDPGConfig, Corridor).build()
