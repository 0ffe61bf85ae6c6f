"""Environments with several agents."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeAlias

import gymnasium

from shoal.rllib.environments import creator_of

Agent: TypeAlias = Hashable
ALL = "__all__"  # in terminations and truncations: of the whole episode


class MultiAgentEnv(gymnasium.Env[Any, Any]):
    """An environment with several agents. Override `reset` and `step`; what they give and take are mappings by agent.

    Agents act whose observations were given last; an agent that is given none waits, and its rewards are added up until
    it acts again. `step` returns observations, rewards, terminations, truncations and more, by agent; the key "__all__"
    of terminations and truncations ends the episode. Set `possible_agents`, and `observation_spaces` and
    `action_spaces` by agent, or `observation_space` and `action_space` if they are all alike.

    Example:
        class Pair(MultiAgentEnv):
            possible_agents = ["left", "right"]
            def reset(self, *, seed=None, options=None):
                return {"left": 0, "right": 1}, {}
    """

    possible_agents: Any  # a list, fixed before the first episode
    observation_spaces: Mapping[Any, gymnasium.Space[Any]] | None = None
    action_spaces: Mapping[Any, gymnasium.Space[Any]] | None = None

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Begin an episode; return observations of the agents that act first, and more, by agent."""
        raise NotImplementedError(f"{type(self).__name__} has no method reset")

    def step(self, action: Any) -> Any:
        """Let agents act; return observations, rewards, terminations, truncations and more, by agent."""
        raise NotImplementedError(f"{type(self).__name__} has no method step")

    def get_observation_space(self, agent: Agent) -> gymnasium.Space[Any]:
        """Return the space of an agent's observations."""
        return (
            self.observation_spaces[agent] if self.observation_spaces is not None else self.observation_space
        )

    def get_action_space(self, agent: Agent) -> gymnasium.Space[Any]:
        """Return the space of an agent's actions."""
        return self.action_spaces[agent] if self.action_spaces is not None else self.action_space

    @property
    def max_num_agents(self) -> int:
        """How many agents there may be."""
        return len(self.possible_agents)


class _Copies(MultiAgentEnv):
    """Environments of one kind beside each other, an agent in each; the episode ends with the last of them."""

    def __init__(
        self, make: Callable[[Mapping[str, Any]], gymnasium.Env[Any, Any]], config: Mapping[str, Any]
    ) -> None:
        config = dict(config)
        count = int(config.pop("num_agents", 1))
        self._copies = [make(config) for _ in range(count)]
        self.possible_agents = list(range(count))
        self.observation_space = self._copies[0].observation_space
        self.action_space = self._copies[0].action_space
        self._over: set[int] = set()

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        self._over = set()
        begun = [
            copy.reset(seed=None if seed is None else seed + number)
            for number, copy in enumerate(self._copies)
        ]
        return {n: each[0] for n, each in enumerate(begun)}, {n: each[1] for n, each in enumerate(begun)}

    def step(self, action: Mapping[int, Any]) -> tuple[Any, Any, Any, Any, Any]:
        seen, rewards, terminated, truncated, more = {}, {}, {}, {}, {}
        for agent, each in action.items():
            told = self._copies[agent].step(each)
            seen[agent], rewards[agent], terminated[agent], truncated[agent], more[agent] = told
            if terminated[agent] or truncated[agent]:
                self._over.add(agent)
        over = len(self._over) == len(self._copies)
        return seen, rewards, {**terminated, ALL: over}, {**truncated, ALL: False}, more

    def close(self) -> None:
        for copy in self._copies:
            copy.close()


def make_multi_agent(env: Any) -> Callable[[Mapping[str, Any]], MultiAgentEnv]:
    """Return what makes `num_agents` (of the configuration) copies of an environment as one with several agents.

    Example: `register_env("poles", make_multi_agent("CartPole-v1"))`
    """
    make = creator_of(env)
    return lambda config: _Copies(make, config)
