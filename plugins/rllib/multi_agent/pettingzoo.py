"""PettingZoo's environments, of both of its kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.multi_agent.environment import ALL, MultiAgentEnv


class ParallelPettingZooEnv(MultiAgentEnv):
    """An environment of PettingZoo whose agents act at once (`ParallelEnv`).

    Example: `register_env("chase", lambda config: ParallelPettingZooEnv(chase_v1.parallel_env(**config)))`
    """

    def __init__(self, env: Any) -> None:
        self.par_env = env
        self.possible_agents = list(env.possible_agents)
        self.observation_spaces = {agent: env.observation_space(agent) for agent in self.possible_agents}
        self.action_spaces = {agent: env.action_space(agent) for agent in self.possible_agents}

    @property
    def agents(self) -> list[Any]:
        """The agents of the episode as it is now."""
        return list(self.par_env.agents)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Begin an episode."""
        seen, more = self.par_env.reset(seed=seed, options=options)
        return seen, more

    def step(self, action: Mapping[Any, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Let all agents act."""
        seen, rewards, terminated, truncated, more = self.par_env.step(dict(action))
        over = not self.par_env.agents
        cut = over and any(truncated.values()) and not any(terminated.values())
        return (
            seen,
            rewards,
            {**terminated, ALL: over and not cut},
            {**truncated, ALL: cut},
            more,
        )

    def close(self) -> None:
        """Close it."""
        self.par_env.close()


class PettingZooEnv(MultiAgentEnv):
    """An environment of PettingZoo whose agents act by turns (`AECEnv`).

    Example: `register_env("chess", lambda config: PettingZooEnv(chess_v6.env(**config)))`
    """

    def __init__(self, env: Any) -> None:
        self.env = env
        self.possible_agents = list(env.possible_agents)
        self.observation_spaces = {agent: env.observation_space(agent) for agent in self.possible_agents}
        self.action_spaces = {agent: env.action_space(agent) for agent in self.possible_agents}

    @property
    def agents(self) -> list[Any]:
        """The agents of the episode as it is now."""
        return list(self.env.agents)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, Any]:
        """Begin an episode."""
        self.env.reset(seed=seed, options=options)
        agent = self.env.agent_selection
        return {agent: self.env.observe(agent)}, {agent: self.env.infos[agent]}

    def step(self, action: Mapping[Any, Any]) -> tuple[Any, Any, Any, Any, Any]:
        """Let the agent act whose turn it is. Rewards are of this turn, of all agents."""
        env = self.env
        env.step(action[env.agent_selection])
        rewards = {agent: float(reward) for agent, reward in env.rewards.items() if reward}
        terminated, truncated = dict(env.terminations), dict(env.truncations)
        # Agents that are over must be stepped with nothing until they are gone.
        while env.agents and (env.terminations[env.agent_selection] or env.truncations[env.agent_selection]):
            env.step(None)
        over = not env.agents
        cut = over and any(truncated.values()) and not any(terminated.values())
        seen, more = {}, {}
        if not over:
            agent = env.agent_selection
            seen, more = {agent: env.observe(agent)}, {agent: env.infos[agent]}
        return seen, rewards, {**terminated, ALL: over and not cut}, {**truncated, ALL: cut}, more

    def close(self) -> None:
        """Close it."""
        self.env.close()
