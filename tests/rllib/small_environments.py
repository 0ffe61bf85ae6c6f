"""Environments that show one thing each, and are learned in seconds."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class Centre(gymnasium.Env[Any, Any]):
    """Move to the middle: what is seen is where one stands, moves are real numbers, each step costs the distance."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.observation_space = gymnasium.spaces.Box(-2, 2, (1,), np.float32)
        self.action_space = gymnasium.spaces.Box(-0.5, 1.5, (1,), np.float32)  # the middle of moves is 0.5

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.steps = float(self.np_random.uniform(-1, 0.4)), 0
        return np.array([self.at], np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), action
        self.at = float(np.clip(self.at + action[0], -2, 2))
        self.steps += 1
        return np.array([self.at], np.float32), -abs(self.at), False, self.steps >= 5, {}


class Forever(gymnasium.Env[Any, int]):
    """Each step gives one, for ever: a limit of time cuts it, or with `terminates` it ends. It looks all alike."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.terminates = config["terminates"]
        self.observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.steps = 0
        return np.ones(1, np.float32), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        over = self.steps >= 2
        return np.ones(1, np.float32), 1.0, over and self.terminates, over and not self.terminates, {}
