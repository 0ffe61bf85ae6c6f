"""What algorithms have in common whose agents act at once and learn together, from what is kept."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch

from shoal.errors import ConfigError
from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig
from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy
from shoal.rllib.multi_agent.team import Team
from shoal.rllib.multi_agent.team_runner import TeamPlay, TeamRunner
from shoal.rllib.sampling.group import RunnerGroup


class TeamConfig(OffPolicyConfig):
    """Settings of algorithms that play all agents of an environment themselves."""

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        name = type(self).__name__.removesuffix("Config")
        if self.policies is not None:
            raise ConfigError(f"{name} plays all agents of the environment: leave multi_agent() out")
        if self.prioritised():
            raise ConfigError(f'{name} draws uniformly: set replay_buffer_config={{"type": "ReplayBuffer"}}')


class TeamOffPolicy(OffPolicy):
    """Plays all agents of an environment at once; a row is of all of them."""

    takes_several_agents = True
    length = 1  # steps of a row; set by `make_module` where it is another

    def look_at(self, env: Any) -> None:
        """Take the agents and their spaces from an environment."""
        self.team = Team(env)
        agents = self.team.agents
        self.observation_space = {agent: env.get_observation_space(agent) for agent in agents}
        self.action_space = {agent: env.get_action_space(agent) for agent in agents}
        self._memory: Any = None

    def make_runners(self, make: Any) -> RunnerGroup:
        """Return runners that keep the steps of all agents together."""
        plain = attrs.asdict(self._play(make), recurse=False)
        return RunnerGroup(TeamPlay(**plain, length=self.length), self.config, TeamRunner)

    def begin_episode(self) -> None:
        """Forget what agents that are asked by `act` have seen."""
        self._memory = None

    def compute_actions(
        self, observations: Mapping[Any, Any], explore: bool = True, state: Any = None
    ) -> tuple[dict[Any, Any], Any]:
        """Return actions by agent for observations by agent, and what agents remember.

        `state` is what they remembered before: what the last call returned, or None at the beginning of an episode.
        Agents without an observation get no action.
        """
        if self._greedy is None or self._greedy[0] != self.updates:
            self._greedy = self.updates, self.policy(warm=True)
        policy = self._greedy[1]
        if state is None:
            state = np.zeros((len(self.team.agents), policy.memory), np.float32)
        flat, _, masks = self.team.look(observations)
        chosen, memory = policy.actions(flat[None], masks[None], state[None], self._random, explore)
        return self.team.act(chosen[0], observations), memory[0]

    def compute_single_action(self, observation: Any, explore: bool = True) -> Any:
        """Raise ConfigError: agents of a team are asked together."""
        raise ConfigError("agents of a team act together: use compute_actions with observations by agent")

    def act(self, observation: Any, explore: bool) -> Any:
        """Return an action for each agent that sees something, in the episode that `begin_episode` began."""
        actions, self._memory = self.compute_actions(observation, explore, self._memory)
        return actions

    def states_of(self, batch: Mapping[str, torch.Tensor]) -> torch.Tensor:
        """Return what is true of the whole environment: what it tells, or what all agents see together."""
        return batch["states"] if self.team.state_size else batch["observations"]
