"""Two levels of policies: one says where to go next, the other goes there.

python examples/rllib_hierarchy.py [ITERATIONS]

A walker is in one of two rooms with a door between them, and is to come to a corner of the other one. The policy `high`
chooses among places, sees where the walker is, and is paid when it has come to the corner. The policy `low` gets up to
eight steps for each choice, sees the walker and the place, and is paid when the walker has come there. For `low` each
choice is an episode of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.algorithms.ppo import PPOConfig
from shoal.rllib.multi_agent import MultiAgentEnv

WIDE, HIGH, WALL, DOOR, CORNER = 9, 5, 4, 2, (8, 4)
PLACES = (
    (0, 0),
    (3, 2),
    (5, 2),
    CORNER,
    (8, 0),
)  # a corner, before the door, behind it, the aim, another corner
MOVES = ((1, 0), (-1, 0), (0, 1), (0, -1))
STEPS, ALL_STEPS = 8, 60  # for one choice, and for an episode


class Rooms(MultiAgentEnv):
    """The agents `high` and `low` act by turns, `low` several times for each choice of `high`."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.possible_agents = ["high", "low"]
        self.observation_spaces = {
            "high": gymnasium.spaces.Box(0, 1, (2,), np.float32),
            "low": gymnasium.spaces.Box(-1, 1, (4,), np.float32),
        }
        self.action_spaces = {
            "high": gymnasium.spaces.Discrete(len(PLACES)),
            "low": gymnasium.spaces.Discrete(len(MOVES)),
        }

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        gymnasium.Env.reset(self, seed=seed)
        self.at = (int(self.np_random.integers(WALL)), int(self.np_random.integers(HIGH)))
        self.steps = 0
        return {"high": self.seen()}, {}

    def step(self, action: Mapping[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        if "high" in action:
            self.place, self.left = PLACES[action["high"]], STEPS
            return {"low": self.seen_below()}, {}, {"__all__": False}, {"__all__": False}, {}
        right, up = MOVES[action["low"]]
        to = (min(WIDE - 1, max(0, self.at[0] + right)), min(HIGH - 1, max(0, self.at[1] + up)))
        if to[0] != WALL or to[1] == DOOR:
            self.at = to
        self.steps, self.left = self.steps + 1, self.left - 1
        there, done = self.at == self.place, self.at == CORNER
        rewards = {"low": 1.0 if there else -0.05}
        if done or there or not self.left:
            rewards["high"] = 1.0 if done else -0.1
        cut = not done and self.steps >= ALL_STEPS
        if there or done or not self.left or cut:
            ended = {"low": True, "__all__": done}
            return {"high": self.seen()}, rewards, ended, {"__all__": cut}, {}
        return {"low": self.seen_below()}, rewards, {"__all__": False}, {"__all__": False}, {}

    def seen(self) -> Any:
        return np.array([self.at[0] / WIDE, self.at[1] / HIGH], np.float32)

    def seen_below(self) -> Any:
        away = [(self.place[0] - self.at[0]) / WIDE, (self.place[1] - self.at[1]) / HIGH]
        return np.array([*self.seen(), *away], np.float32)


def arrived(algorithm: Any, episodes: int = 40) -> float:
    """Return the part of episodes in which the walker comes to the corner."""
    env, count = Rooms({}), 0
    for number in range(episodes):
        waiting, _ = env.reset(seed=number)
        over = False
        while not over:
            actions = {
                agent: algorithm.compute_single_action(seen, explore=False, policy_id=agent)
                for agent, seen in waiting.items()
            }
            waiting, _, ended, cut, _ = env.step(actions)
            over = ended["__all__"] or cut["__all__"]
        count += env.at == CORNER
    return count / episodes


def main(iterations: int = 30) -> float:
    """Let both levels learn; return how often the walker comes to the corner."""
    config = (
        PPOConfig()
        .environment(Rooms)
        .env_runners(num_envs_per_env_runner=8)
        .multi_agent(policies={"high", "low"}, policy_mapping_fn=lambda agent, *_, **__: agent)
        .training(
            lr=3e-3,
            train_batch_size=3000,
            minibatch_size=250,
            num_epochs=6,
            entropy_coeff=0.01,
            lambda_=0.95,
            gamma=0.97,
            model={"fcnet_hiddens": [64, 64]},
        )
        .debugging(seed=1)
    )
    algorithm = config.build()
    for iteration in range(iterations):
        result = algorithm.train()
        print(f"{iteration}: {result['episode_len_mean']:.0f} steps, arrived {arrived(algorithm):.0%}")
    algorithm.stop()
    return arrived(algorithm)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))
