"""Environments of PettingZoo, both kinds, are played and learned."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np
import pytest

from shoal.rllib import register_env
from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.multi_agent.pettingzoo import ParallelPettingZooEnv, PettingZooEnv

pettingzoo = pytest.importorskip("pettingzoo")

STEPS = 10


class Match(pettingzoo.ParallelEnv):  # type: ignore[misc]  # it comes without types
    """Both see a bit and are paid for repeating it; `early` leaves after half of the steps."""

    metadata = {"name": "match", "is_parallelizable": True}  # noqa: RUF012  as the package has it
    render_mode = None

    def __init__(self) -> None:
        self.possible_agents = ["early", "late"]

    def observation_space(self, agent: str) -> gymnasium.Space[Any]:
        return gymnasium.spaces.Box(0, 1, (1,), np.float32)

    def action_space(self, agent: str) -> gymnasium.Space[Any]:
        return gymnasium.spaces.Discrete(2)

    def reset(self, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.random = np.random.default_rng(seed)
        self.agents, self.at = list(self.possible_agents), 0
        return self._seen(), {agent: {} for agent in self.agents}

    def step(self, actions: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        self.at += 1
        acting = list(self.agents)
        rewards = {agent: float(actions[agent] == self.bit) for agent in acting}
        terminated = {agent: agent == "early" and self.at == STEPS // 2 for agent in acting}
        truncated = dict.fromkeys(acting, self.at == STEPS)
        seen = self._seen()
        self.agents = [agent for agent in acting if not terminated[agent] and not truncated[agent]]
        return seen, rewards, terminated, truncated, {agent: {} for agent in acting}

    def _seen(self) -> Any:
        self.bit = int(self.random.integers(2))
        return {agent: np.array([self.bit], np.float32) for agent in self.agents}


def by_turns() -> Any:
    from pettingzoo.utils.conversions import parallel_to_aec

    return parallel_to_aec(Match())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "turns"),
    [(lambda config: ParallelPettingZooEnv(Match()), 1), (lambda config: PettingZooEnv(by_turns()), 2)],
)
def test_both_kinds_are_learned(make: Any, turns: int) -> None:
    register_env("match", make)
    algorithm = (
        PPOConfig()
        .environment("match")
        .multi_agent(policies=["early", "late"])
        .training(
            lr=1e-2, train_batch_size=400, minibatch_size=100, num_epochs=6, model={"fcnet_hiddens": [16]}
        )
        .debugging(seed=1)
        .evaluation(evaluation_duration=5)
        .build()
    )
    for _ in range(12):
        result = algorithm.train()
    # early is paid in 5 steps, late in 10: by turns a step is one agent's.
    assert result["episode_reward_mean"] > 13.5
    told = algorithm.evaluate()["env_runners"]
    assert told["episode_return_mean"] == 15
    assert told["episode_len_mean"] == (STEPS if turns == 1 else STEPS + STEPS // 2)
