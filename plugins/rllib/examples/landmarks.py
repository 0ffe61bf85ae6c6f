"""Agents that are to cover landmarks together, each going to another one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.multi_agent.environment import ALL, MultiAgentEnv

_MOVES = np.array([[0, 0], [1, 0], [-1, 0], [0, 1], [0, -1]], np.float32)


class Landmarks(MultiAgentEnv):
    """Cooperative navigation (Lowe et al., 2017, section 5.1): as many landmarks as agents, in a square from -1 to 1.

    An agent sees where it is, and from there the landmarks and the others; it moves by up to a tenth each step, in any
    direction or with `discrete` in one of four. All are paid alike: minus the distance of each landmark to the agent
    next to it, and minus 1 for each two agents that are nearer than a tenth of each other. `env_config` takes
    `num_agents` (2), `steps` of an episode (25) and `discrete` (False).

    Example: `MADDPGConfig().environment(Landmarks, env_config={"num_agents": 3})`
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        config = config or {}
        self._count = int(config.get("num_agents", 2))
        self._limit = int(config.get("steps", 25))
        self._discrete = bool(config.get("discrete", False))
        self.possible_agents = [f"agent_{number}" for number in range(self._count)]
        self.observation_space = gymnasium.spaces.Box(-2, 2, (4 * self._count,), np.float32)
        self.action_space = (
            gymnasium.spaces.Discrete(5) if self._discrete else gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        )
        self._steps = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Put agents and landmarks anywhere."""
        gymnasium.Env.reset(self, seed=seed)
        self._places = self.np_random.uniform(-1, 1, (self._count, 2)).astype(np.float32)
        self._marks = self.np_random.uniform(-1, 1, (self._count, 2)).astype(np.float32)
        self._steps = 0
        return self._seen(), {}

    def step(self, action: Mapping[str, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Move all agents."""
        for number, agent in enumerate(self.possible_agents):
            move = _MOVES[action[agent]] if self._discrete else np.asarray(action[agent], np.float32)
            self._places[number] = np.clip(self._places[number] + 0.1 * move, -1, 1)
        self._steps += 1
        away = np.linalg.norm(self._places[:, None] - self._marks[None], axis=-1)
        apart = np.linalg.norm(self._places[:, None] - self._places[None], axis=-1)
        close = (np.triu(apart < 0.1, 1)).sum()
        paid = -float(away.min(0).sum()) - float(close)
        over = self._steps >= self._limit
        return self._seen(), dict.fromkeys(self.possible_agents, paid), {ALL: False}, {ALL: over}, {}

    def _seen(self) -> dict[str, Any]:
        seen = {}
        for number, agent in enumerate(self.possible_agents):
            own = self._places[number]
            others = np.delete(self._places, number, 0)
            parts = [own[None], self._marks - own, others - own]
            seen[agent] = np.concatenate(parts).reshape(-1).astype(np.float32)
        return seen
