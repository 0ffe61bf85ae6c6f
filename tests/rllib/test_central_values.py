"""MADDPG and MAPPO: policies that act by themselves, learned with values that see all agents."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from corridor import Corridor
from small_environments import Centre
from team_games import PAIR, Masked

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.maddpg import MADDPGConfig
from shoal.rllib.algorithms.maddpg.loss import actor_loss, critic_loss
from shoal.rllib.algorithms.mappo import MAPPOConfig
from shoal.rllib.algorithms.mappo.mappo import CentralLearner
from shoal.rllib.examples import Landmarks
from shoal.rllib.modules.actor_critic import ArrayPolicy
from shoal.rllib.modules.central import CentralActorCritic
from shoal.rllib.modules.distributions import Choices
from shoal.rllib.modules.team_actors import TeamActors, TeamActorsPolicy
from shoal.rllib.multi_agent import MultiAgentEnv, make_multi_agent
from shoal.rllib.multi_agent.central import CentralView
from shoal.rllib.multi_agent.team import Team

SETTINGS: dict[str, Any] = {
    "lr": 3e-3,
    "train_batch_size": 128,
    "training_intensity": 64,
    "num_steps_sampled_before_learning_starts": 500,
    "noise": 0.2,
    "model": {"fcnet_hiddens": [32, 32], "fcnet_activation": "relu"},
}


def central(env: Any = Landmarks, **training: Any) -> MADDPGConfig:
    made = MADDPGConfig().environment(env).training(**{**SETTINGS, **training}).debugging(seed=1)
    return made.evaluation(evaluation_duration=30)


class Handshake(MultiAgentEnv):
    """Both are paid for how alike they are to the sign that only the first sees; the last number is its step."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.possible_agents = list(PAIR)
        one = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
        self.observation_spaces = {"left": gymnasium.spaces.Box(-1, 1, (2,), np.float32), "right": one}
        self.action_spaces = {"left": gymnasium.spaces.Discrete(3), "right": one}

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        gymnasium.Env.reset(self, seed=seed)
        self.sign, self.steps, self.told = int(self.np_random.integers(3)), 0, 0.0
        return self.seen(), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        self.steps += 1
        over = self.steps == 4
        # What the left one chose is what the right one sees in the next step.
        paid = -abs(float(action["right"][0]) - self.told) - float(action["left"] != self.sign)
        self.told = float(action["left"]) - 1
        return self.seen(), dict.fromkeys(PAIR, paid), {"__all__": over}, {"__all__": False}, {}

    def seen(self) -> dict[str, Any]:
        return {
            "left": np.array([self.sign - 1, self.steps / 4], np.float32),
            "right": np.array([self.told], np.float32),
        }


@pytest.mark.parametrize("discrete", [False, True])
def test_agents_learn_to_cover_landmarks(discrete: bool) -> None:
    """By chance the return is about -80, the best is about -20."""
    algorithm = central().environment(env_config={"discrete": discrete}).build()
    for _ in range(5):
        algorithm.train()
    assert algorithm.evaluate()["episode_reward_mean"] > -52


def test_agents_of_different_spaces_learn_together() -> None:
    """The first chooses among three, the second acts by a real number; by chance it is about -9, the best is 0."""
    algorithm = central(Handshake, noise=0.3).build()
    for _ in range(4):
        algorithm.train()
    assert algorithm.evaluate()["episode_reward_mean"] > -2.5


@pytest.mark.parametrize("local", [False, True])
def test_the_losses_are_the_papers(local: bool) -> None:
    """Equations 5 and 6 of Lowe et al. (2017), agent by agent and row by row, with real actions and with choices."""
    algorithm = central(Handshake, use_local_critic=local).build()
    module, sees = algorithm.module, algorithm._sees
    batch = batch_of(6)
    torch.manual_seed(3)
    loss, errors, _ = critic_loss(module, batch, sees, gamma=0.9)
    torch.manual_seed(3)
    with torch.no_grad():
        after = module["actors_target"].actions(batch["observations"][:, 1], batch["masks"][:, 1])
        expected = 0.0
        for row in range(6):
            one = torch.nn.functional.one_hot(batch["actions"][row, 0, :1].long(), 3)[0].float()
            for agent in range(2):
                now = seen_by(agent, batch["observations"][row, 0], one, batch["actions"][row, 0, 1:], local)
                then = seen_by(agent, batch["observations"][row, 1], after[0][row], after[1][row], local)
                value = module["critics"](now[None])[agent, 0, 0]
                later = module["critics_target"](then[None])[agent, 0, 0]
                goes_on = 1 - batch["terminated"][row, 0, agent]
                error = value - (batch["rewards"][row, 0, agent] + 0.9 * goes_on * later)
                assert float(errors[agent, row]) == pytest.approx(float(error), abs=1e-5)
                expected += float(error) ** 2 / 6
    assert float(loss.detach()) == pytest.approx(expected, rel=1e-4)

    torch.manual_seed(4)
    found = float(actor_loss(module, batch, sees, penalty=0.5).detach())
    torch.manual_seed(4)
    with torch.no_grad():
        own = module["actors"].actions(batch["observations"][:, 0], batch["masks"][:, 0])
        outputs = module["actors"].outputs(batch["observations"][:, 0], batch["masks"][:, 0])
        wanted = 0.5 * sum(float(each.square().mean()) for each in outputs)
        for row in range(6):
            seen, taken = batch["observations"][row, 0], batch["actions"][row, 0, 1:]
            one = torch.nn.functional.one_hot(batch["actions"][row, 0, :1].long(), 3)[0].float()
            wanted -= float(module["critics"](seen_by(0, seen, own[0][row], taken, local)[None])[0, 0, 0]) / 6
            wanted -= float(module["critics"](seen_by(1, seen, one, own[1][row], local)[None])[1, 0, 0]) / 6
    assert found == pytest.approx(wanted, rel=1e-4)


def seen_by(agent: int, observations: Any, first: Any, second: Any, local: bool) -> Any:
    """What an agent's values see: all of it, or of the other agent nothing."""
    parts = [observations[:2], observations[2:], first, second]
    if local:
        parts = [part if place % 2 == agent else torch.zeros_like(part) for place, part in enumerate(parts)]
    return torch.cat(parts)


def batch_of(rows: int) -> dict[str, Any]:
    return {
        "observations": torch.randn(rows, 2, 3),
        "masks": torch.ones(rows, 2, 2, 3),
        "actions": torch.cat([torch.randint(3, (rows, 1, 1)).float(), torch.rand(rows, 1, 1)], -1),
        "rewards": torch.randn(rows, 1, 2),
        "terminated": torch.randint(2, (rows, 1, 2)).float(),
    }


def test_policies_learn_by_their_own_actions_only() -> None:
    algorithm = central(Handshake).build()
    batch = batch_of(16)
    actor_loss(algorithm.module, batch, algorithm._sees, penalty=0.0).backward()
    networks = algorithm.module["actors"].networks
    assert all(float(each.grad.abs().sum()) > 0 for each in networks.parameters() if each.grad is not None)
    assert all(each.grad is not None for each in networks.parameters())


def test_masked_choices_are_never_drawn() -> None:
    """The environment raises for them; what the target's policies draw is masked too."""
    made = central(Masked, num_steps_sampled_before_learning_starts=200)
    algorithm = made.reporting(min_sample_timesteps_per_iteration=400).build()
    algorithm.train()
    algorithm.evaluate()
    masks = torch.zeros(50, 2, 3)
    masks[..., 1] = 1
    drawn = algorithm.module["actors_target"].actions(torch.randn(50, 2), masks)
    assert all((each.argmax(-1) == 1).all() for each in drawn)


def test_the_array_policy_is_the_networks() -> None:
    torch.manual_seed(0)
    actors = TeamActors(Team(Handshake({})), (8,), "tanh")
    seen, masks = torch.randn(7, 3), torch.ones(7, 2, 3)
    choices, real = (each.detach().numpy() for each in actors.outputs(seen, masks))
    policy = TeamActorsPolicy(actors.arrays(), 0.1)
    acts, _ = policy.actions(seen.numpy(), masks.numpy(), None, np.random.default_rng(0), explore=False)
    assert acts[:, 0].tolist() == choices.argmax(1).tolist()
    assert np.allclose(acts[:, 1:], np.tanh(real), atol=1e-5)


def test_a_checkpoint_goes_on_exactly(tmp_path: Path) -> None:
    algorithm = central(Handshake, store_buffer_in_checkpoints=True).build()
    algorithm.train()
    other = central(Handshake, store_buffer_in_checkpoints=True).debugging(seed=5).build()
    other.restore(algorithm.save(tmp_path))
    for each in (algorithm, other):
        torch.manual_seed(0)
        each.learn(each.tensors(each.buffer.sample(16)))
    weights = [torch.nn.utils.parameters_to_vector(each.module.parameters()) for each in (algorithm, other)]
    assert torch.equal(*weights)


def settled(env: Any = Landmarks, **training: Any) -> MAPPOConfig:
    given = {"lr": 1e-3, "train_batch_size": 2000, "minibatch_size": 500, "gamma": 0.95, **training}
    made = (
        MAPPOConfig().environment(env, env_config={}, clip_actions=True).training(**given).debugging(seed=1)
    )
    return made.multi_agent(policies=["shared"]).evaluation(evaluation_duration=30)


@pytest.mark.parametrize("normalises", [True, False])
def test_ppo_learns_with_central_values(normalises: bool) -> None:
    """By chance the return is about -80."""
    config = settled(normalize_values=normalises).env_runners(num_envs_per_env_runner=8)
    algorithm = config.build()
    for _ in range(10):
        result = algorithm.train()
    assert algorithm.evaluate()["episode_reward_mean"] > -62
    assert set(result["learners"]) == {"shared"}


def test_agents_see_all_in_their_values_and_themselves_in_their_policies() -> None:
    view = CentralView(Landmarks({"num_agents": 3}))
    seen, _ = view.reset(seed=1)
    own = 12
    assert {each.shape for each in seen.values()} == {(own + 3 + 3 * own,)}
    assert all((seen[agent][own + 3 :] == seen["agent_0"][own + 3 :]).all() for agent in seen)
    assert [int(seen[agent][own : own + 3].argmax()) for agent in view.possible_agents] == [0, 1, 2]
    assert (seen["agent_1"][:own] == seen["agent_1"][own + 3 + own : own + 3 + 2 * own]).all()
    torch.manual_seed(0)
    module = CentralActorCritic(own, own + 3 + 3 * own, 5, (16,))
    a, b = torch.as_tensor(seen["agent_0"])[None], torch.as_tensor(seen["agent_0"])[None].clone()
    b[:, -1] += 1.0  # another agent is elsewhere
    assert torch.equal(module(a)[0], module(b)[0])
    assert not torch.equal(module(a)[1], module(b)[1])


class Leaving(MultiAgentEnv):
    """One of two agents is gone after the first step; a state is told."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.possible_agents = list(PAIR)
        one = gymnasium.spaces.Box(0, 9, (1,), np.float32)
        told = gymnasium.spaces.Dict({"obs": one, "state": one})
        self.observation_space = told if config.get("told") else one  # type: ignore[assignment]
        self.action_space = gymnasium.spaces.Discrete(2)
        self.told = config.get("told")

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.steps = 1
        return self.seen(PAIR), {}

    def step(self, action: Any) -> tuple[Any, Any, Any, Any, Any]:
        self.steps += 1
        gone = {"right": True} if self.steps == 2 else {}
        stay = PAIR if gone else PAIR[:1]
        over = self.steps == 4
        return self.seen(stay), dict.fromkeys(stay, 1.0), {**gone, "__all__": over}, {"__all__": False}, {}

    def seen(self, agents: list[str]) -> dict[str, Any]:
        own = np.array([self.steps], np.float32)
        return {agent: {"obs": own, "state": own + 5} if self.told else own for agent in agents}


def test_agents_that_are_gone_are_zeros_and_a_state_is_what_all_see() -> None:
    view = CentralView(Leaving({}))
    view.reset()
    first = view.step({"left": 0, "right": 0})[0]
    assert first["right"].tolist() == [2, 0, 1, 2, 2], "its last observation is seen"
    assert view.step({"left": 0})[0]["left"].tolist() == [3, 1, 0, 3, 0]
    told = CentralView(Leaving({"told": True}))
    assert told.reset()[0]["left"].tolist() == [1, 1, 0, 6]
    for given in ({}, {"told": True}):
        algorithm = settled(Leaving, train_batch_size=300, minibatch_size=100)
        algorithm = algorithm.environment(env_config=given).build()
        assert algorithm.train()["episode_reward_mean"] == 4.0
        assert algorithm.evaluate()["episode_reward_mean"] == 4.0


def test_rescaling_leaves_values_as_they_are() -> None:
    torch.manual_seed(0)
    module, seen = CentralActorCritic(2, 5, 3, (8,)), torch.randn(9, 5)
    returns = 30 + 12 * torch.randn(4000)
    for _ in range(3):
        before = module(seen)[1].detach()
        module.rescale(returns)
        assert torch.allclose(module(seen)[1], before, atol=1e-4)
    assert float(module.mean) == pytest.approx(30, abs=1)
    assert float(module.spread) == pytest.approx(12, abs=1)
    arrays = ArrayPolicy(module.arrays())(seen.numpy())
    expected = module(seen)
    for found, wanted in zip(arrays, expected, strict=True):
        assert np.allclose(found, wanted.detach().numpy(), atol=1e-4)
    learner = CentralLearner(
        module, Choices(3), MAPPOConfig().training(vf_clip_param=10.0), np.random.default_rng(1)
    )
    unit = float(module.spread) ** 2
    assert learner.coefficients().value == pytest.approx(1 / unit)
    assert learner.coefficients().value_clip == pytest.approx(10 * unit)


@pytest.mark.processes
def test_runners_that_are_actors_see_all() -> None:
    with shoal.init(num_cpus=2):
        config = settled(train_batch_size=200, minibatch_size=100).env_runners(num_env_runners=2)
        algorithm = config.build()
        try:
            assert algorithm.train()["num_env_steps_sampled_lifetime"] == 200
        finally:
            algorithm.stop()


def test_what_does_not_fit_is_told() -> None:
    with pytest.raises(ConfigError, match="say who plays them"):
        MAPPOConfig().environment(Landmarks).build()
    with pytest.raises(ConfigError, match="MAPPO is for a MultiAgentEnv"):
        settled(Corridor).build()
    with pytest.raises(ConfigError, match="'action_mask' are for QMIX and MADDPG"):
        settled(Masked).build()
    with pytest.raises(ConfigError, match="values of MAPPO see more"):
        settled(model={"vf_share_layers": True}).build()
    with pytest.raises(ConfigError, match="normalize_values must be True or False"):
        MAPPOConfig().training(normalize_values=2)
    with pytest.raises(ConfigError, match="there is no policy 'x'"):
        settled().build().compute_single_action(np.zeros(8, np.float32), policy_id="x")
    with pytest.raises(ConfigError, match="noise must be a number ≥ 0"):
        MADDPGConfig().training(noise=-1)
    with pytest.raises(ConfigError, match="a team needs a MultiAgentEnv"):
        central(Centre).build()
    algorithm = central(make_multi_agent(Centre)).environment(env_config={"num_agents": 2}).build()
    assert algorithm.train()["num_env_steps_sampled_lifetime"] == 1000
