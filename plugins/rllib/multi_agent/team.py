"""Agents that act at once and learn together: what all of them see and do, as arrays."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium
import numpy as np

from shoal.errors import ConfigError, describe
from shoal.rllib.environments import flat_observation, size_of_observation
from shoal.rllib.multi_agent.environment import MultiAgentEnv
from shoal.rllib.sampling.transitions import Actions

OBSERVATION, STATE, MASK = "obs", "state", "action_mask"


class Team:
    """The agents of an environment, in the order of `possible_agents`, and their spaces.

    What agents see is one array, the flat observations one behind the other (`sizes` numbers of each). An observation
    may be a Dict of "obs", and of "state" (what is true of the whole environment; it is for learning and not for
    acting, the same for all agents) and "action_mask" (1 for each choice that may be taken) or one of the two.

    Raises ConfigError for what is no MultiAgentEnv, and for actions that are neither Discrete nor a finite Box.

    Example: `Team(env).sizes  # [4, 4]`
    """

    def __init__(self, env: Any) -> None:
        if not isinstance(env, MultiAgentEnv):
            raise ConfigError(f"a team needs a MultiAgentEnv, and env makes {describe(env)}")
        self.agents = list(env.possible_agents)
        self._whole = [env.get_observation_space(agent) for agent in self.agents]
        self._own = [own_space(space) for space in self._whole]
        self.sizes = [size_of_observation(space) for space in self._own]
        self.actions = [Actions(env.get_action_space(agent)) for agent in self.agents]
        self.widths = [1 if each.discrete else each.size for each in self.actions]
        self._state = part_of(self._whole[0], STATE)
        self.state_size = 0 if self._state is None else size_of_observation(self._state)
        self._masked = any(part_of(space, MASK) is not None for space in self._whole)
        self._most = max(each.size for each in self.actions)

    def look(self, seen: Mapping[Any, Any]) -> tuple[Any, Any, Any]:
        """Return what all agents see as one array, the state (empty if none is told), and the masks of choices, a row
        an agent. Agents that see nothing see zeros."""
        flat, state = [], np.zeros(self.state_size, np.float32)
        masks = np.ones((len(self.agents), self._most), np.float32)
        for place, agent in enumerate(self.agents):
            masks[place, self.actions[place].size :] = 0.0
            if agent not in seen:
                flat.append(np.zeros(self.sizes[place], np.float32))
                continue
            given = seen[agent]
            if self._own[place] is not self._whole[place]:
                if STATE in given and self._state is not None:
                    state = flat_observation(self._state, given[STATE])
                if MASK in given:
                    masks[place, : self.actions[place].size] = given[MASK]
                given = given[OBSERVATION]
            flat.append(flat_observation(self._own[place], given))
        return np.concatenate(flat), state, masks

    def act(self, chosen: Any, seen: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return actions by agent, of those that see something, as an environment takes them; `chosen` has those of
        all agents one behind the other."""
        made, start = {}, 0
        for agent, actions, width in zip(self.agents, self.actions, self.widths, strict=True):
            part = chosen[start : start + width]
            start += width
            if agent in seen:
                made[agent] = actions.to_space(part[0] if actions.discrete else part)
        return made


def own_space(space: gymnasium.Space[Any]) -> gymnasium.Space[Any]:
    """Return the space of what an agent itself sees, of that of its observations.

    Example: `own_space(env.get_observation_space(agent))`
    """
    own = part_of(space, OBSERVATION)
    return space if own is None else own


def part_of(space: gymnasium.Space[Any], name: str) -> gymnasium.Space[Any] | None:
    """Return the space of a part of observations, "obs", "state" or "action_mask"; None if they have no such parts.

    Raises ConfigError for parts of other names beside "obs".

    Example: `part_of(env.get_observation_space(agent), "state")`
    """
    if not isinstance(space, gymnasium.spaces.Dict) or OBSERVATION not in space.spaces:
        return None
    unknown = set(space.spaces) - {OBSERVATION, STATE, MASK}
    if unknown:
        raise ConfigError(
            f"an observation with {OBSERVATION!r} may have {STATE!r} and {MASK!r} beside it, not "
            f"{', '.join(sorted(map(repr, unknown)))}"
        )
    return space.spaces.get(name)
