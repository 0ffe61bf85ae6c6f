"""Environments whose agents act at once, and which show one thing each."""

from __future__ import annotations

from typing import Any, ClassVar

import gymnasium
import numpy as np

from shoal.rllib.multi_agent import MultiAgentEnv

PAIR = ["left", "right"]


class Recall(MultiAgentEnv):
    """Each sees a sign in the first step only, and is paid in the last one for choosing it: by who remembers it."""

    possible_agents: ClassVar[list[str]] = PAIR
    observation_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gymnasium.spaces.Discrete(2)

    def __init__(self, config: dict[str, Any]) -> None:
        self.steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        super(MultiAgentEnv, self).reset(seed=seed)
        self.steps = 0
        self.signs = dict(zip(PAIR, (int(each) for each in self.np_random.integers(2, size=2)), strict=True))
        return {agent: np.array([2 * sign - 1, 0], np.float32) for agent, sign in self.signs.items()}, {}

    def step(self, action: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        self.steps += 1
        over = self.steps == 3
        seen = {agent: np.array([0, self.steps / 3], np.float32) for agent in PAIR}
        rewards = {agent: float(over and action[agent] == self.signs[agent]) for agent in PAIR}
        return seen, rewards, {"__all__": over}, {"__all__": False}, {}


class Masked(MultiAgentEnv):
    """Of three choices two may be taken, others in each step; one that may not be raises. Steps have numbers."""

    possible_agents: ClassVar[list[str]] = PAIR
    observation_space = gymnasium.spaces.Dict(
        {
            "obs": gymnasium.spaces.Box(0, 9, (1,), np.float32),
            "action_mask": gymnasium.spaces.Box(0, 1, (3,), np.int8),
            "state": gymnasium.spaces.Box(0, 99, (1,), np.float32),
        }
    )
    action_space = gymnasium.spaces.Discrete(3)
    limit, ends = 5, False

    def __init__(self, config: dict[str, Any]) -> None:
        self.ends = config.get("ends", False)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self.steps = 0
        return self.seen(), {}

    def step(self, action: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        for agent, choice in action.items():
            assert choice != self.steps % 3, (agent, choice)
        self.steps += 1
        over = self.steps == self.limit
        paid = {"left": float(self.steps), "right": 0.5}
        return self.seen(), paid, {"__all__": over and self.ends}, {"__all__": over and not self.ends}, {}

    def seen(self) -> dict[str, Any]:
        masks = np.ones(3, np.int8)
        masks[self.steps % 3] = 0
        return {
            agent: {"obs": [self.steps + place / 10], "action_mask": masks, "state": [10 * self.steps]}
            for place, agent in enumerate(PAIR)
        }


class Alone(Masked):
    """Gives one of the agents no observation and no end."""

    def step(self, action: dict[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        seen, *told = super().step(action)
        del seen["right"]
        return (seen, *told)  # type: ignore[return-value]


class Unlike(MultiAgentEnv):
    """Agents with different spaces."""

    possible_agents: ClassVar[list[str]] = PAIR

    def __init__(self, config: dict[str, Any]) -> None:
        self.observation_spaces = {
            agent: gymnasium.spaces.Box(0, 1, (size,), np.float32)
            for agent, size in zip(PAIR, (1, 2), strict=True)
        }
        self.action_spaces = dict.fromkeys(PAIR, gymnasium.spaces.Discrete(2))
