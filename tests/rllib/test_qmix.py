"""QMIX and VDN: the mixer and the loss against the papers, memory, masks, what runners keep, settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import Corridor
from small_environments import Centre
from team_games import PAIR, Alone, Masked, Recall, Unlike

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.qmix import QMix, QMIXConfig, QMixConfig
from shoal.rllib.algorithms.qmix.loss import team_loss
from shoal.rllib.algorithms.vdn import VDNConfig
from shoal.rllib.examples import TwoStepGame
from shoal.rllib.modules.team_q import Apart, Monotonic, Sum, TeamQNetwork, TeamQPolicy
from shoal.rllib.multi_agent import make_multi_agent
from shoal.rllib.multi_agent.team_runner import TeamPlay, TeamRunner

SETTINGS: dict[str, Any] = {
    "lr": 1e-3,
    "max_seq_len": 2,
    "epsilon": 1.0,
    "target_network_update_freq": 100,
    "num_steps_sampled_before_learning_starts": 100,
    "training_intensity": 8,
    "model": {"fcnet_hiddens": [32]},
    "replay_buffer_config": {"capacity": 500},
}


def config(kind: type[QMIXConfig] = QMIXConfig, env: Any = TwoStepGame, **training: Any) -> QMIXConfig:
    return kind().environment(env).training(**{**SETTINGS, **training}).debugging(seed=1)


@pytest.mark.parametrize("states", [False, True])
def test_the_best_ending_is_found_by_a_mixer_and_not_by_a_sum(states: bool) -> None:
    """The two-step game of the paper (section 5): QMIX takes the 8, VDN cannot tell it and takes the sure 7."""
    for kind, value in ((QMIXConfig, 8.0), (VDNConfig, 7.0)):
        algorithm = config(kind).environment(env_config={"states": states}).build()
        for _ in range(4):
            algorithm.train()
        assert algorithm.evaluate()["episode_reward_mean"] == value


def test_agents_that_are_apart_learn_too() -> None:
    algorithm = config(mixer=None, epsilon=[(0, 1.0), (1500, 0.1)]).build()
    for _ in range(3):
        algorithm.train()
    assert algorithm.evaluate()["episode_reward_mean"] >= 7.0


@pytest.mark.parametrize("memory", [None, 16])
def test_only_agents_with_memory_know_what_they_saw(memory: int | None) -> None:
    training: dict[str, Any] = {"max_seq_len": 3, "rnn_hidden_dim": memory, "epsilon": 0.5, "lr": 3e-3}
    algorithm = config(VDNConfig, Recall, **training).build()
    for _ in range(4):
        algorithm.train()
    found = algorithm.evaluate()["episode_reward_mean"]
    assert found == 2.0 if memory else found < 1.9


def play_of(env: Any, length: int, **settings: Any) -> TeamPlay:
    return TeamPlay(
        make=env,
        config=settings,
        count=1,
        gamma=0.9,
        lambda_=1.0,
        clip_rewards=None,
        clip_actions=False,
        seed=1,
        length=length,
    )


def test_rows_are_steps_of_one_episode_and_filled_up() -> None:
    policy = TeamQPolicy(TeamQNetwork(2, 1, 3, (4,), "relu", memory=2).arrays(), epsilon=0.5)
    for ends in (False, True):
        got = TeamRunner(play_of(Masked, 3, ends=ends), 0).sample(policy, 10)
        rows = got["rows"]
        assert got["episodes"] == [(17.5, 5)] * 2
        assert rows["filled"].tolist() == [[1, 1, 1], [1, 1, 0]] * 2
        seen = [[[0, 0.1], [1, 1.1], [2, 2.1], [3, 3.1]], [[3, 3.1], [4, 4.1], [5, 5.1], [0, 0]]]
        assert rows["observations"].tolist() == pytest.approx(np.array(seen * 2, np.float32), abs=1e-6)
        assert rows["states"][..., 0].tolist() == [[0, 10, 20, 30], [30, 40, 50, 0]] * 2
        assert rows["rewards"][:, :, 0].tolist() == [[1, 2, 3], [4, 5, 0]] * 2
        assert rows["terminated"].sum() == (4 if ends else 0), "two agents, two episodes"
        assert not rows["memory"][[0, 2]].any(), "an episode begins with no memory"
        assert rows["memory"][[1, 3]].any()
        assert (rows["memory"][1, :, 2:].argmax(-1) == rows["actions"][0, 2]).all(), (
            "the last choice is remembered"
        )


def test_choices_that_may_not_be_taken_are_not() -> None:
    """The environment raises for them, in episodes and evaluations."""
    made = config(env=Masked, max_seq_len=3, num_steps_sampled_before_learning_starts=20)
    algorithm = made.reporting(min_sample_timesteps_per_iteration=100).build()
    assert algorithm.train()["episode_reward_mean"] == 17.5
    assert algorithm.evaluate()["episode_reward_mean"] == 17.5


@pytest.mark.parametrize("memory", [0, 5])
def test_the_array_policy_is_the_network(memory: int) -> None:
    torch.manual_seed(0)
    network = TeamQNetwork(agents=2, inputs=3, actions=4, hidden=(8,), activation="tanh", memory=memory)
    random = np.random.default_rng(0)
    seen = random.normal(size=(6, 4, 6)).astype(np.float32)
    actions = random.integers(4, size=(6, 4, 2))
    begun = random.normal(size=(6, 2, network.memory)).astype(np.float32)
    with torch.no_grad():
        expected = network(
            torch.as_tensor(seen).unflatten(-1, (2, 3)), torch.as_tensor(begun), torch.as_tensor(actions)
        ).numpy()
    policy = TeamQPolicy(network.arrays())
    remembered = begun
    for step in range(4):
        values, hidden = policy.values(seen[:, step], remembered)
        assert np.allclose(values, expected[:, step], atol=1e-5)
        if hidden is not None:
            remembered = np.concatenate([hidden, np.eye(4, dtype=np.float32)[actions[:, step]]], -1)


def test_the_mixer_is_the_papers() -> None:
    """It rises with each agent's value in every state, and is what figure 2a says."""
    torch.manual_seed(0)
    mixer = Monotonic(agents=3, state=4, width=5)
    values, states = torch.randn(20, 3, requires_grad=True), torch.randn(20, 4)
    mixed = mixer(values, states)
    [slopes] = torch.autograd.grad(mixed.sum(), values)
    assert (slopes >= 0).all()
    assert (slopes > 0).any()
    with torch.no_grad():
        for row in range(3):
            first = mixer.first(states[row]).abs().reshape(3, 5)
            bias, last = mixer.first_bias(states[row]), mixer.last(states[row]).abs()
            hidden = [torch.nn.functional.elu(values[row] @ first[:, unit] + bias[unit]) for unit in range(5)]
            wanted = sum(float(last[unit] * hidden[unit]) for unit in range(5)) + float(
                mixer.last_bias(states[row])
            )
            assert float(mixed[row]) == pytest.approx(wanted, abs=1e-4)
    assert Sum()(values, states).tolist() == values.sum(1, keepdim=True).tolist()


@pytest.mark.parametrize("double", [True, False])
@pytest.mark.parametrize("mixer", ["sum", "monotonic", "apart"])
def test_the_loss_is_the_papers(double: bool, mixer: str) -> None:
    """Against a plain transcription, step by step; steps after an end and masked choices count for nothing."""
    torch.manual_seed(0)

    def parts() -> Any:
        made = {"sum": Sum, "apart": Apart, "monotonic": lambda: Monotonic(2, 3)}[mixer]
        return {"network": TeamQNetwork(2, 2, 3, (4,), "tanh"), "mixer": made()}

    online, target, batch = parts(), parts(), batch_of(5, 3)
    states = torch.randn(5, 4, 3)
    loss, _, _ = team_loss(online, target, batch, states, gamma=0.9, double=double)
    errors = []
    with torch.no_grad():
        now = online["network"](batch["observations"].unflatten(-1, (2, 2)))
        after = target["network"](batch["observations"].unflatten(-1, (2, 2)))
        for row in range(5):
            for step in range(3):
                if not batch["filled"][row, step]:
                    continue
                taken, later = [], []
                for agent in range(2):
                    taken.append(now[row, step, agent, int(batch["actions"][row, step, agent])])
                    judge = (now if double else after)[row, step + 1, agent]
                    may = [choice for choice in range(3) if batch["masks"][row, step + 1, agent, choice]]
                    later.append(after[row, step + 1, agent, max(may, key=lambda c: float(judge[c]))])
                value = online["mixer"](torch.stack(taken), states[row, step])
                following = target["mixer"](torch.stack(later), states[row, step + 1])
                over = bool(batch["terminated"][row, step].all())
                wanted = batch["rewards"][row, step].sum() + (0.0 if over else 0.9) * following
                errors += [float(each) for each in value - wanted]
    assert float(loss.detach()) == pytest.approx(np.mean(np.square(errors)), rel=1e-4)


def batch_of(rows: int, steps: int) -> dict[str, Any]:
    filled = torch.ones(rows, steps)
    filled[::2, -1] = 0
    masks = torch.ones(rows, steps + 1, 2, 3)
    masks[:, 1:, 0, 1] = 0
    return {
        "observations": torch.randn(rows, steps + 1, 4),
        "actions": torch.randint(3, (rows, steps, 2)).float(),
        "rewards": torch.randn(rows, steps, 2),
        "masks": masks,
        "terminated": torch.randint(2, (rows, steps, 2)).float(),
        "memory": torch.zeros(rows, 2, 0),
        "filled": filled,
    }


def test_a_checkpoint_goes_on_exactly(tmp_path: Path) -> None:
    settings = {"rnn_hidden_dim": 8, "store_buffer_in_checkpoints": True}
    algorithm = config(**settings).build()
    algorithm.train()
    other = config(**settings).debugging(seed=7).build()
    other.restore(algorithm.save(tmp_path))
    for each in (algorithm, other):
        each.learn(each.tensors(each.buffer.sample(16)))
    weights = [torch.nn.utils.parameters_to_vector(each.module.parameters()) for each in (algorithm, other)]
    assert torch.equal(*weights)


@pytest.mark.processes
def test_runners_that_are_actors_play_teams() -> None:
    with shoal.init(num_cpus=2):
        algorithm = config(rnn_hidden_dim=8).env_runners(num_env_runners=2, num_envs_per_env_runner=2).build()
        try:
            assert algorithm.train()["num_env_steps_sampled_lifetime"] == 1008, "four steps of four at a time"
        finally:
            algorithm.stop()


def test_what_agents_are_asked_together() -> None:
    algorithm = config(rnn_hidden_dim=8).build()
    seen = {agent: np.eye(3, dtype=np.float32)[0] for agent in PAIR}
    actions, memory = algorithm.compute_actions({"first": seen["left"], "second": seen["right"]})
    assert set(actions) == {"first", "second"}
    assert memory.shape == (2, 10)
    again, _ = algorithm.compute_actions({"second": seen["right"]}, state=memory)
    assert set(again) == {"second"}
    with pytest.raises(ConfigError, match="use compute_actions"):
        algorithm.compute_single_action(seen["left"])


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"mixer": "sum"}, 'mixer must be "qmix", "vdn" or None'),
        ({"max_seq_len": 0}, "max_seq_len must be a whole number ≥ 1"),
        ({"rnn_hidden_dim": 1.5}, "rnn_hidden_dim must be a whole number"),
        ({"optim_alpha": 2}, "optim_alpha must be a number from 0"),
        ({"n_step": 3}, "has no setting 'n_step'"),
        ({"epsilon": "x"}, "epsilon must be a number or pairs"),
    ],
)
def test_wrong_settings_are_told(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        QMIXConfig().training(**wrong)


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ConfigError, match="a team needs a MultiAgentEnv"):
        config(env=Corridor).build()
    with pytest.raises(ConfigError, match="takes actions of Discrete"):
        config(env=make_multi_agent(Centre)).build()
    with pytest.raises(ConfigError, match="agents of QMIX share a network, and these differ"):
        config(env=Unlike).build()
    with pytest.raises(ConfigError, match=r"leave multi_agent\(\) out"):
        config().multi_agent(policies=["a"]).build()
    with pytest.raises(ConfigError, match="QMIX draws uniformly"):
        config(replay_buffer_config={"type": "PrioritizedReplayBuffer"}).build()
    with pytest.raises(ValueError, match="gave agent 'right' no observation and no end"):
        config(env=Alone, max_seq_len=3).build().train()
    assert QMixConfig is QMIXConfig
    assert QMIXConfig.algo_class is QMix
