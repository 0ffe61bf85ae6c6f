"""Several agents in one environment: who plays whom, turns, rewards that come late, and learning."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from corridor import Corridor

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.a2c import A2CConfig
from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.modules.actor_critic import ActorCritic
from shoal.rllib.multi_agent import MultiAgentEnv, PolicySpec, make_multi_agent
from shoal.rllib.multi_agent.runner import MultiAgentRunner, Together

ONE = gymnasium.spaces.Box(-1, 1, (1,), np.float32)
TWO = gymnasium.spaces.Discrete(2)


def settled(env: Any, **environment: Any) -> PPOConfig:
    return (
        PPOConfig()
        .environment(env, env_config=environment)
        .training(
            lr=3e-3,
            train_batch_size=400,
            minibatch_size=100,
            num_epochs=6,
            lambda_=0.95,
            model={"fcnet_hiddens": [16]},
        )
        .debugging(seed=1)
    )


class Turns(MultiAgentEnv):
    """`first` and `second` act by turns, four times together; who acted is paid only after the other's turn."""

    possible_agents: ClassVar[list[str]] = ["first", "second"]
    observation_space, action_space = ONE, TWO

    def __init__(self, config: dict[str, Any]) -> None:
        self.turn = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.turn = 0
        return {"first": np.zeros(1, np.float32)}, {}

    def step(self, action: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        [actor] = action
        other = "second" if actor == "first" else "first"
        self.turn += 1
        rewards = {other: float(self.turn)} if self.turn > 1 else {}
        over = self.turn == 4
        if over:
            rewards[actor] = 100.0
        return {other: np.zeros(1, np.float32)}, rewards, {"__all__": over}, {"__all__": False}, {}


def zeros(inputs: int, outputs: int) -> Any:
    """Weights of a policy that is at random and expects nothing."""
    module = ActorCritic(inputs, outputs, (4,))
    module.value.weight.data.zero_()
    return module.arrays()


def test_rewards_that_come_in_others_turns_are_for_who_acted() -> None:
    play = Together(
        make=Turns,
        config={},
        count=1,
        gamma=1.0,
        lambda_=1.0,
        clip_rewards=None,
        clip_actions=False,
        seed=1,
        mapping=lambda agent, *_: agent,
        spaces={"first": (ONE, TWO), "second": (ONE, TWO)},
    )
    arrays = {"first": zeros(1, 2), "second": zeros(1, 2)}
    whole = MultiAgentRunner(play, 0).sample(arrays, 4)
    # first acts in turns 1 and 3 and is paid in turns 2 and 4; second acts in 2 and 4 and is paid in 3 and at the end.
    assert whole["policies"]["first"]["advantages"].tolist() == [6.0, 4.0]
    assert whole["policies"]["second"]["advantages"].tolist() == [103.0, 100.0]
    assert whole["episodes"] == [(109.0, 4)]
    assert whole["steps"] == 4

    # In pieces no row and no reward is lost: a last action is given away when it has been paid.
    runner = MultiAgentRunner(play, 0)
    pieces = [runner.sample(arrays, 1)["policies"] for _ in range(8)]
    for name, paid in (("first", [2.0, 4.0]), ("second", [3.0, 100.0])):
        rows = [float(value) for piece in pieces if name in piece for value in piece[name]["advantages"]]
        assert rows == paid * 2


def test_who_plays_an_agent_is_asked_once_an_episode() -> None:
    """So that a league may draw an opponent for each game."""
    asked: list[str] = []

    def drawn(agent: str, *_: Any) -> str:
        asked.append(agent)
        return ("first", "second")[len(asked) % 2]

    play = Together(
        make=Turns,
        config={},
        count=1,
        gamma=1.0,
        lambda_=1.0,
        clip_rewards=None,
        clip_actions=False,
        seed=1,
        mapping=drawn,
        spaces={"first": (ONE, TWO), "second": (ONE, TWO)},
    )
    MultiAgentRunner(play, 0).sample({"first": zeros(1, 2), "second": zeros(1, 2)}, 10)
    assert asked == ["first", "second"] * 3


def test_policies_that_are_alone_and_one_that_is_shared_learn() -> None:
    for policies, mapping in (
        ({"left", "right"}, lambda agent, *_: ("left", "right")[agent]),
        ({"shared"}, None),
    ):
        config = settled(make_multi_agent(Corridor), num_agents=2)
        algorithm = config.multi_agent(policies=policies, policy_mapping_fn=mapping).build()
        for _ in range(15):
            result = algorithm.train()
        assert set(result["learners"]) == policies
        assert result["episode_reward_mean"] > 0.9, "the best is 1.2"
        assert result["num_env_steps_sampled_lifetime"] == 15 * 400
        for name in policies:
            assert algorithm.compute_single_action(np.zeros(1, np.float32), False, policy_id=name) == 1


def test_only_policies_that_are_to_train_change(tmp_path: Path) -> None:
    config = settled(make_multi_agent(Corridor), num_agents=2).multi_agent(
        policies={"still", "moving"},
        policy_mapping_fn=lambda agent, *_: ("still", "moving")[agent],
        policies_to_train=["moving"],
    )
    algorithm = config.build()
    before = {name: value.clone() for name, value in algorithm.module.state_dict().items()}
    assert set(algorithm.train()["learners"]) == {"moving"}
    changed = {
        name.partition(".")[0]
        for name, value in algorithm.module.state_dict().items()
        if not value.equal(before[name])
    }
    assert changed == {"moving"}
    other = config.build()
    other.restore(algorithm.save(tmp_path / "checkpoint"))
    assert other.iteration == 1
    for name, value in algorithm.module.state_dict().items():
        assert value.equal(other.module.state_dict()[name])


@pytest.mark.processes
def test_runners_that_are_actors_play_together() -> None:
    with shoal.init(num_cpus=2):
        config = settled(make_multi_agent(Corridor), num_agents=3).env_runners(num_env_runners=2)
        algorithm = config.multi_agent(policies=["shared"]).build()
        try:
            assert algorithm.train()["num_env_steps_sampled_lifetime"] == 400
        finally:
            algorithm.stop()


class Silent(Turns):
    """Gives nobody a turn."""

    def step(self, action: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        return {}, {}, {"__all__": False}, {"__all__": False}, {}


class Unpaid(Turns):
    """Pays with what is no number."""

    def step(self, action: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        [actor] = action
        return {actor: np.zeros(1, np.float32)}, {actor: float("nan")}, {}, {}, {}


def test_what_cannot_be_is_told() -> None:
    with pytest.raises(ConfigError, match=r"say who plays them by config\.multi_agent"):
        settled(Turns).build()
    with pytest.raises(ConfigError, match=r"multi_agent\(\) is for a MultiAgentEnv"):
        settled(Corridor).multi_agent(policies=["a"]).build()
    with pytest.raises(ConfigError, match=r"gives agent 'first' the policy 'x'; there are a"):
        settled(Turns).multi_agent(policies=["a"], policy_mapping_fn=lambda agent, *_: "x").build()
    with pytest.raises(ConfigError, match="no agent is played by b"):
        settled(Turns).multi_agent(policies=["a", "b"], policy_mapping_fn=lambda agent, *_: "a").build()
    with pytest.raises(ConfigError, match="policies_to_train has c; policies are a"):
        settled(Turns).multi_agent(policies=["a"], policies_to_train=["c"]).build()
    with pytest.raises(ConfigError, match="A2C plays one agent only"):
        A2CConfig().environment(Turns).multi_agent(policies=["a"]).build()
    with pytest.raises(ConfigError, match="policies must be names"):
        PPOConfig().multi_agent(policies=3)
    spare = {"a": PolicySpec(), "b": PolicySpec(ONE, TWO)}
    assert settled(Turns).multi_agent(policies=spare, policy_mapping_fn=lambda agent, *_: "a").build()
    for env, told in ((Silent, "nobody could act"), (Unpaid, "gave agent 'first' the reward nan")):
        algorithm = settled(env).multi_agent(policies=["a"]).build()
        with pytest.raises(ValueError, match=told):
            algorithm.train()
