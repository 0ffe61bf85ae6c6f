"""Environments that are quick to play and to learn."""

from __future__ import annotations

from typing import Any

import gymnasium
import numpy as np


class Corridor(gymnasium.Env[Any, int]):
    """Walk right to the end: each step costs a tenth, the end gives one; after `limit` steps it is cut short."""

    def __init__(self, config: dict[str, Any]) -> None:
        self.length = config.get("length", 5)
        self.limit = config.get("limit", 40)
        self.observation_space = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.at, self.steps = 0, 0
        return self._seen(), {}

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.at = max(0, self.at + (1 if action else -1))
        self.steps += 1
        there = self.at >= self.length
        return self._seen(), 1.0 if there else -0.1, there, self.steps >= self.limit, {}

    def _seen(self) -> Any:
        return np.array([self.at / self.length], np.float32)
