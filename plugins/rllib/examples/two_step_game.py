"""A game of two agents and two steps, whose best ending a sum of values cannot tell."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from shoal.rllib.multi_agent.environment import ALL, MultiAgentEnv

_PAYS = {1: ((7.0, 7.0), (7.0, 7.0)), 2: ((0.0, 1.0), (1.0, 8.0))}


class TwoStepGame(MultiAgentEnv):
    """The first agent's choice in the first step says which matrix pays both in the second (Rashid et al., 2018,
    section 5): one pays 7 whatever they do, the other 8 if both choose 1, and else 1 or nothing.

    Agents see which of the three states it is. `env_config` takes `states`: True to tell the state beside too.

    Example: `QMIXConfig().environment(TwoStepGame)`
    """

    def __init__(self, config: Mapping[str, Any] | None = None) -> None:
        self.possible_agents = ["first", "second"]
        self._tells = bool((config or {}).get("states", False))
        one = gymnasium.spaces.Box(0, 1, (3,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({"obs": one, "state": one}) if self._tells else one
        self.action_space = gymnasium.spaces.Discrete(2)
        self._state = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Begin in the first state."""
        self._state = 0
        return self._seen(), {}

    def step(self, action: Mapping[str, int]) -> tuple[Any, Any, Any, Any, Any]:
        """Go to a matrix, or be paid by it, half each."""
        if self._state == 0:
            self._state = 1 + action["first"]
            paid, over = 0.0, False
        else:
            paid, over = _PAYS[self._state][action["first"]][action["second"]], True
        rewards = dict.fromkeys(self.possible_agents, paid / 2)
        return self._seen(), rewards, {ALL: over}, {ALL: False}, {}

    def _seen(self) -> dict[str, Any]:
        one = np.eye(3, dtype=np.float32)[self._state]
        return {agent: {"obs": one, "state": one} if self._tells else one for agent in self.possible_agents}
