"""A mass that is to be brought to the middle and held there, and whose rewards a program can compute itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np


class PointMass(gymnasium.Env[Any, Any]):
    """A mass on a plane: what is seen is where it is and how fast it moves, actions are forces between -1 and 1.

    Each step costs the distance from the middle, and a tenth of the speed. `env_config` takes `steps` of an episode
    (25). `reward` tells rewards of transitions, many at a time, as algorithms with a model of the environment need.

    Example: `MBMPOConfig().environment(PointMass)`
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self._limit = int((config or {}).get("steps", 25))
        self.observation_space = gymnasium.spaces.Box(-10, 10, (4,), np.float32)
        self.action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Put it anywhere in a square, at rest."""
        super().reset(seed=seed)
        self._steps = 0
        place = self.np_random.uniform(-1, 1, 2)
        self._state = np.concatenate([place, np.zeros(2)]).astype(np.float32)
        return self._state.copy(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Push it for a fifth of a second."""
        before = self._state.copy()
        force = np.clip(np.asarray(action, np.float32), -1, 1)
        speed = 0.9 * before[2:] + 0.4 * force
        place = before[:2] + 0.2 * speed
        self._state = np.concatenate([place, speed]).clip(-10, 10).astype(np.float32)
        self._steps += 1
        reward = float(self.reward(before[None], force[None], self._state[None])[0])
        return self._state.copy(), reward, False, self._steps >= self._limit, {}

    def reward(self, observations: Any, actions: Any, next_observations: Any) -> Any:
        """Return the rewards of transitions, one a row."""
        away = np.linalg.norm(next_observations[:, :2], axis=1)
        return -away - 0.1 * np.linalg.norm(next_observations[:, 2:], axis=1)
