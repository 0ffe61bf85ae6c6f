"""Agents that see, beside their own observations, what all agents see: for values, not for acting."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import gymnasium
import numpy as np

from shoal.errors import ConfigError
from shoal.rllib.environments import flat_observation, size_of_observation
from shoal.rllib.multi_agent.environment import MultiAgentEnv
from shoal.rllib.multi_agent.team import MASK, OBSERVATION, STATE, own_space, part_of


class CentralView(MultiAgentEnv):
    """An environment whose agents' observations are flat: first their own (`sizes` numbers), then which agent it is,
    then what all see, or where the environment tells a "state" beside "obs", that.

    Of agents that do not act now it is what they saw last, of those that are gone it is zeros. Raises ConfigError for
    observations with an "action_mask".

    Example: `CentralView(env).reset()`
    """

    def __init__(self, env: MultiAgentEnv) -> None:
        self._env: Any = env
        self.possible_agents = list(env.possible_agents)
        whole = [env.get_observation_space(agent) for agent in self.possible_agents]
        if any(part_of(space, MASK) is not None for space in whole):
            raise ConfigError(
                f"observations with {MASK!r} are for QMIX and MADDPG: these policies draw any action"
            )
        self._own = dict(zip(self.possible_agents, map(own_space, whole), strict=True))
        self._told = [
            agent
            for agent, space in zip(self.possible_agents, whole, strict=True)
            if part_of(space, OBSERVATION) is not None
        ]
        self._state = part_of(whole[0], STATE)
        self.sizes = {agent: size_of_observation(space) for agent, space in self._own.items()}
        joint = sum(self.sizes.values()) if self._state is None else size_of_observation(self._state)
        self.observation_spaces = {
            agent: gymnasium.spaces.Box(
                -np.inf, np.inf, (size + len(self.possible_agents) + joint,), np.float32
            )
            for agent, size in self.sizes.items()
        }
        self.action_spaces = {agent: env.get_action_space(agent) for agent in self.possible_agents}
        self._last: dict[Any, Any] = {}
        self._now = np.zeros(0, np.float32)

    def flat(self, agent: Any, observation: Any) -> Any:
        """Return what an agent itself sees as a flat array."""
        return flat_observation(
            self._own[agent], observation[OBSERVATION] if agent in self._told else observation
        )

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Begin an episode."""
        self._last = {}
        if self._state is not None:
            self._now = np.zeros(size_of_observation(self._state), np.float32)
        seen, more = self._env.reset(seed=seed, options=options)
        return self._widened(seen), more

    def step(self, action: Any) -> Any:
        """Let agents act."""
        seen, rewards, terminated, truncated, more = self._env.step(action)
        widened = self._widened(seen)
        for agent in self.possible_agents:
            if terminated.get(agent) or truncated.get(agent):
                self._last.pop(agent, None)
        return widened, rewards, terminated, truncated, more

    def close(self) -> None:
        """Close it."""
        self._env.close()

    def _widened(self, seen: Mapping[Any, Any]) -> dict[Any, Any]:
        for agent, observation in seen.items():
            self._last[agent] = self.flat(agent, observation)
            if self._state is not None and agent in self._told and STATE in observation:
                self._now = flat_observation(self._state, observation[STATE])
        numbers = np.eye(len(self.possible_agents), dtype=np.float32)
        joint = self._now
        if self._state is None:
            joint = np.concatenate(
                [self._last.get(agent, np.zeros(size, np.float32)) for agent, size in self.sizes.items()]
            )
        return {
            agent: np.concatenate([self._last[agent], numbers[self.possible_agents.index(agent)], joint])
            for agent in seen
        }


class CentralMaker:
    """Makes environments of another maker's, widened."""

    def __init__(self, make: Callable[[Mapping[str, Any]], Any]) -> None:
        self._make = make

    def __call__(self, config: Mapping[str, Any]) -> CentralView:
        """Return an environment."""
        return CentralView(self._make(config))
