"""DQN and what made it better: losses against the papers, learning, limits of time, checkpoints, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import Corridor
from small_environments import Centre, Forever

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.apex_dqn import ApexDQNConfig
from shoal.rllib.algorithms.dqn import DQNConfig
from shoal.rllib.algorithms.dqn.loss import dqn_loss, projected
from shoal.rllib.algorithms.off_policy.schedule import at_step
from shoal.rllib.algorithms.rainbow import RainbowConfig
from shoal.rllib.modules.layers import NoisyLinear
from shoal.rllib.modules.q_network import QNetwork, QPolicy, QShape

SETTINGS: dict[str, Any] = {
    "lr": 3e-3,
    "train_batch_size": 32,
    "model": {"fcnet_hiddens": [16]},
    "hiddens": [],
    "epsilon": [(0, 1.0), (1000, 0.1)],
    "target_network_update_freq": 50,
    "num_steps_sampled_before_learning_starts": 100,
    "replay_buffer_config": {"capacity": 5000},
}


def config(kind: type[DQNConfig] = DQNConfig, env: Any = Corridor, **training: Any) -> DQNConfig:
    made = kind().environment(env, env_config={"terminates": False})
    return (
        made.training(**{**SETTINGS, **training})
        .debugging(seed=1)
        .reporting(min_sample_timesteps_per_iteration=400)
    )


@pytest.mark.parametrize(
    ("kind", "training"),
    [
        (DQNConfig, {}),
        (DQNConfig, {"dueling": False, "double_q": False, "replay_buffer_config": {"type": "ReplayBuffer"}}),
        (DQNConfig, {"n_step": 3, "td_error_loss_fn": "mse"}),
        (RainbowConfig, {"v_min": -5.0, "v_max": 2.0, "num_atoms": 31, "hiddens": [16]}),
    ],
    ids=["all", "plain", "steps", "rainbow"],
)
def test_it_learns_to_walk_to_the_end(kind: type[DQNConfig], training: dict[str, Any]) -> None:
    algorithm = config(kind, **training).build()
    for _ in range(6):
        result = algorithm.train()
    walked = [np.array([place / 5], np.float32) for place in range(5)]
    assert [algorithm.compute_single_action(each, explore=False) for each in walked] == [1] * 5
    assert result["episode_len_mean"] < 20
    assert result["num_env_steps_sampled_lifetime"] == 2400


@pytest.mark.parametrize(
    ("terminates", "n_step", "value"), [(False, 1, 10.0), (False, 3, 10.0), (True, 1, 1 / 0.55)]
)
def test_a_limit_of_time_is_no_end(terminates: bool, n_step: int, value: float) -> None:
    """A reward of 1 for ever is worth 1 / (1 - 0.9) = 10, however often a limit cuts it. Where every second step
    ends it, and nobody sees which, it is worth 1 + 0.9 v / 2."""
    made = config(env=Forever, gamma=0.9, n_step=n_step, td_error_loss_fn="mse", lr=1e-2)
    made.training(target_network_update_freq=8, replay_buffer_config={"type": "ReplayBuffer"})
    algorithm = made.environment(env_config={"terminates": terminates}).build()
    for _ in range(5):
        algorithm.train()
    found = float(algorithm.module["online"](torch.ones(1, 1)).detach().mean())
    assert found == pytest.approx(value, rel=0.12)


def test_a_checkpoint_goes_on_exactly(tmp_path: Path) -> None:
    """With the buffer in it, the other learns the same weights from the same batches, and draws the same actions."""
    algorithm = config(store_buffer_in_checkpoints=True).build()
    algorithm.train()
    path = algorithm.save(tmp_path / "checkpoint")
    other = config(store_buffer_in_checkpoints=True).debugging(seed=7).build()
    other.restore(path)
    seen = [np.array([place / 5], np.float32) for place in range(5)] * 8
    for explore in (True, False):
        drawn = [[each.compute_single_action(at, explore) for at in seen] for each in (algorithm, other)]
        assert drawn[0] == drawn[1]
    batches = [each.buffer.sample(32) for each in (algorithm, other)]
    assert all((batches[0][name] == batches[1][name]).all() for name in batches[0])
    for each, batch in zip((algorithm, other), batches, strict=True):
        each.learn(each.tensors(batch))
    weights = [torch.nn.utils.parameters_to_vector(each.module.parameters()) for each in (algorithm, other)]
    assert torch.equal(*weights)
    assert other.train()["training_iteration"] == 2
    bare = config().build()
    bare.restore(algorithm.save(tmp_path / "other"))


def test_without_the_buffer_a_checkpoint_goes_on_with_an_empty_one(tmp_path: Path) -> None:
    algorithm = config().build()
    algorithm.train()
    other = config().build()
    other.restore(algorithm.save(tmp_path))
    assert len(other.buffer) == 0
    assert other.train()["training_iteration"] == 2


@pytest.mark.processes
def test_runners_play_and_one_that_dies_is_replaced() -> None:
    with shoal.init(num_cpus=2):
        algorithm = config().env_runners(num_env_runners=2, rollout_fragment_length=20).build()
        algorithm.train()
        shoal.kill(algorithm._runners.actors[0])
        result = algorithm.train()
        assert result["num_env_steps_sampled_lifetime"] == 800
        algorithm.stop()


@pytest.mark.processes
def test_runners_shards_and_the_learner_wait_for_no_other() -> None:
    """Everything but the learner dies once, and it learns all the same; the shards' rows go into a checkpoint."""
    with shoal.init(num_cpus=2):
        made = config(ApexDQNConfig, training_intensity=8, n_step=1)
        made.training(replay_buffer_config={"num_shards": 2}, store_buffer_in_checkpoints=True)
        algorithm = made.env_runners(num_env_runners=2, rollout_fragment_length=20).build()
        algorithm.train()
        shoal.kill(algorithm._runners.actors[0])
        algorithm.train()
        shoal.kill(algorithm.buffer._actors[0])
        for _ in range(8):
            result = algorithm.train()
        walked = [np.array([place / 5], np.float32) for place in range(5)]
        assert [algorithm.compute_single_action(each, explore=False) for each in walked] == [1] * 5
        told = result["learners"]["default_policy"]
        assert told["num_module_steps_trained_lifetime"] == pytest.approx(8 * 4000, rel=0.25), "8 rows a step"
        assert told["policy_lag_mean"] > 0
        state = algorithm.buffer_state()
        assert [len(each["columns"]["rewards"]) > 0 for each in state] == [True, True]
        algorithm.stop()


def test_the_loss_is_the_papers() -> None:
    """Against plain transcriptions, row by row: double and not, over one value."""
    torch.manual_seed(0)
    shape = QShape(inputs=2, actions=3, hidden=(4,), activation="tanh", heads=(4,))
    online, target = QNetwork(shape), QNetwork(shape)
    batch = batch_of(6)
    for double in (True, False):
        loss, errors, _ = dqn_loss(online, target, batch, double=double, huber=True)
        expected = 0.0
        with torch.no_grad():
            for row in range(6):
                later = target(batch["next_observations"])[row]
                best = int((online(batch["next_observations"])[row] if double else later).argmax())
                wanted = batch["rewards"][row] + batch["discounts"][row] * later[best]
                error = float(online(batch["observations"])[row, batch["actions"][row]] - wanted)
                assert float(errors[row]) == pytest.approx(error, abs=1e-5)
                expected += float(batch["weights"][row]) * (
                    0.5 * error**2 if abs(error) < 1 else abs(error) - 0.5
                )
        assert float(loss.detach()) == pytest.approx(expected / 6, rel=1e-4)


def test_dueling_parts_are_a_value_and_advantages_whose_mean_is_nothing() -> None:
    network = QNetwork(QShape(inputs=2, actions=3, hidden=(4,), activation="relu"))
    seen = torch.randn(5, 2)
    assert network.value is not None
    value = network.value(network.body(seen))[:, 0]
    assert torch.allclose(network(seen).mean(1), value, atol=1e-6)


def test_the_projection_is_the_papers_algorithm() -> None:
    support = torch.linspace(-2, 3, 11)
    chances = torch.softmax(torch.randn(7, 11), -1)
    rewards, discounts = torch.randn(7) * 2, torch.rand(7) * torch.tensor([1.0, 1, 1, 0, 1, 0, 1])
    expected = torch.zeros(7, 11)
    for row in range(7):
        for place in range(11):
            moved = float((rewards[row] + discounts[row] * support[place]).clamp(-2, 3))
            at = (moved + 2) / 0.5
            below, above = int(np.floor(at)), int(np.ceil(at))
            if below == above:
                expected[row, below] += chances[row, place]
            else:
                expected[row, below] += chances[row, place] * (above - at)
                expected[row, above] += chances[row, place] * (at - below)
    found = projected(chances, rewards, discounts, support)
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(found.sum(1), torch.ones(7), atol=1e-5)


@pytest.mark.parametrize("sigma0", [0.0, 0.5])
@pytest.mark.parametrize("atoms", [1, 21])
def test_the_array_policy_is_the_network(sigma0: float, atoms: int) -> None:
    shape = QShape(
        inputs=3, actions=4, hidden=(8,), activation="tanh", heads=(6,), atoms=atoms, sigma0=sigma0
    )
    network = QNetwork(shape)
    network.make_noisy(False)
    seen = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    policy = QPolicy(network.arrays())
    expected = network(torch.as_tensor(seen)).detach().numpy()
    assert np.allclose(policy.values(seen), expected, atol=1e-4)
    random = np.random.default_rng(0)
    assert policy.actions(seen, random, explore=False).tolist() == expected.argmax(1).tolist()
    noisy = [policy.values(seen, random) for _ in range(2)]
    assert np.allclose(*noisy) == (sigma0 == 0)


def test_noise_has_the_spread_of_the_layer() -> None:
    layer = NoisyLinear(3, 2, sigma0=0.7)
    seen = torch.ones(1, 3)
    with torch.no_grad():
        drawn = torch.stack([layer(seen)[0] for _ in range(4000)])
        layer.noisy = False
        still = layer(seen)[0]
    # f(x) = sign(x) sqrt|x| has the variance E|x|; a factorised product has its square, the bias it itself.
    share = (2 / np.pi) ** 0.5
    expected = float(((3 * share**2 + share) * (0.7 * 3**-0.5) ** 2) ** 0.5)
    assert drawn.mean(0).tolist() == pytest.approx(still.tolist(), abs=0.06)
    assert drawn.std(0).tolist() == pytest.approx([expected] * 2, rel=0.12)


def test_epsilon_is_how_often_any_action_is_taken() -> None:
    policy = QPolicy(QNetwork(QShape(inputs=1, actions=4, hidden=(), activation="relu")).arrays(), 0.4)
    seen, random = np.ones((8000, 1), np.float32), np.random.default_rng(1)
    best = policy.actions(seen[:1], random, explore=False)[0]
    assert (policy.actions(seen, random) == best).mean() == pytest.approx(0.6 + 0.1, abs=0.02)
    assert at_step([(0, 1.0), (100, 0.2)], 50) == pytest.approx(0.6)
    assert at_step([(0, 1.0), (100, 0.2)], 5000) == pytest.approx(0.2)


def test_older_spellings_are_the_same_settings() -> None:
    made = DQNConfig().exploration(
        exploration_config={"type": "EpsilonGreedy", "final_epsilon": 0.02, "epsilon_timesteps": 500}
    )
    assert made.epsilon == [(0, 1.0), (500, 0.02)]
    made.training(
        replay_buffer_config={"type": "MultiAgentPrioritizedReplayBuffer", "prioritized_replay_alpha": 0.5}
    )
    assert (made.replay_buffer_config["alpha"], made.prioritised()) == (0.5, True)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"num_atom": 3}, "did you mean num_atoms"),
        ({"num_atoms": 0}, "num_atoms must be a whole number ≥ 1"),
        ({"epsilon": "much"}, "epsilon must be a number or pairs"),
        ({"n_step": 0}, "n_step must be a number ≥ 1"),
        ({"td_error_loss_fn": "l1"}, 'must be "huber" or "mse"'),
        ({"replay_buffer_config": {"capacty": 3}}, "did you mean capacity"),
        ({"replay_buffer_config": {"type": "Reservoir"}}, "type must be one of ReplayBuffer"),
        ({"replay_buffer_config": 3}, "must be a mapping"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        DQNConfig().training(**wrong)


def test_what_is_wrong_together_is_told_when_it_is_built() -> None:
    with pytest.raises(ConfigError, match="takes actions of Discrete"):
        config(env=Centre).build()
    with pytest.raises(ConfigError, match="capacity=10 is less than train_batch_size=32"):
        config(replay_buffer_config={"capacity": 10}).build()
    with pytest.raises(ConfigError, match="is more than the replay buffer's capacity"):
        config(num_steps_sampled_before_learning_starts=6000).build()
    with pytest.raises(ConfigError, match=r"v_min=3 must be less than v_max=1"):
        config(num_atoms=5, v_min=3, v_max=1).build()
    with pytest.raises(ConfigError, match="needs runners that are actors"):
        config(ApexDQNConfig).env_runners(num_env_runners=0).build()
    with pytest.raises(ConfigError, match="exploration_config has no setting 'eps'"):
        DQNConfig().exploration(exploration_config={"eps": 1})


def batch_of(rows: int) -> dict[str, Any]:
    return {
        "observations": torch.randn(rows, 2),
        "actions": torch.randint(3, (rows,)),
        "rewards": torch.randn(rows),
        "next_observations": torch.randn(rows, 2),
        "discounts": torch.rand(rows) * torch.randint(2, (rows,)),
        "weights": torch.rand(rows),
    }
