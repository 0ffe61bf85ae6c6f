"""MAPPO: PPO of several agents, whose values see what all agents see."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from torch import nn

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.ppo.learner import PPOLearner
from shoal.rllib.algorithms.ppo.loss import Coefficients
from shoal.rllib.algorithms.ppo.ppo import ONLY, PPO
from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.actor_critic import ArrayPolicy
from shoal.rllib.modules.central import CentralActorCritic
from shoal.rllib.multi_agent.central import CentralMaker, CentralView
from shoal.rllib.multi_agent.environment import MultiAgentEnv
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.runner import as_action


class CentralLearner(PPOLearner):
    """Learns as PPO does, values in units of the spread of returns."""

    def learn(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Learn from what runners saw."""
        if self._config.normalize_values:
            self.module.rescale(torch.as_tensor(batch["advantages"] + batch["values"]))
        return super().learn(batch)

    def coefficients(self) -> Coefficients:
        """Return the weights of the loss's parts: errors of values count in units of the spread."""
        made = super().coefficients()
        unit = float(self.module.spread) ** 2
        return attrs.evolve(made, value=made.value / unit, value_clip=made.value_clip * unit)


class MAPPO(PPO):
    """Multi-agent PPO (Yu et al., 2021). Policies act by what their agents see, so that no value is needed to act.

    Example: `MAPPOConfig().environment(Landmarks).multi_agent(policies=["shared"]).build().train()`
    """

    learner_class = CentralLearner

    def look_at(self, env: Any) -> None:
        """Take from an environment what the spaces of the policies are. Raises ConfigError if they do not fit."""
        if not isinstance(env, MultiAgentEnv):
            raise ConfigError(f"MAPPO is for a MultiAgentEnv, and env makes {describe(env)}")
        self.view = CentralView(env)
        super().look_at(self.view)
        mapping = self.mapping()
        self._plays = {mapping(agent, None): agent for agent in self.view.possible_agents}

    def make_module(self) -> Any:
        """Return the networks of all policies by name."""
        model = self.config.model
        return nn.ModuleDict(
            {
                name: CentralActorCritic(
                    self._own_size(name),
                    size_of_observation(spaces[0]),
                    self.distributions[name].inputs,
                    tuple(model["fcnet_hiddens"]),
                    model["fcnet_activation"],
                )
                for name, spaces in self.spaces.items()
            }
        )

    def make_runners(self, make: Any) -> RunnerGroup:
        """Return who plays: environments that are widened."""
        return super().make_runners(CentralMaker(make))

    def compute_single_action(self, observation: Any, explore: bool = True, *, policy_id: str = ONLY) -> Any:
        """Return an action of a policy for what an agent itself sees: drawn, or without `explore` the most likely."""
        if policy_id not in self.spaces:
            raise ConfigError(f"there is no policy {policy_id!r}; there are {', '.join(self.spaces)}")
        seen, actions = self.spaces[policy_id]
        wide = np.zeros((1, size_of_observation(seen)), np.float32)  # values are not asked
        wide[0, : self._own_size(policy_id)] = self.view.flat(self._plays[policy_id], observation)
        inputs, _ = ArrayPolicy(self.module[policy_id].arrays())(wide)
        distribution = self.distributions[policy_id]
        chosen = distribution.sample(inputs, self._random)[0] if explore else distribution.best(inputs)
        return as_action(actions, chosen[0], self.config.clip_actions)

    def _own_size(self, name: str) -> int:
        if name not in self._plays:
            raise ConfigError(f"no agent is played by {name}: policies of MAPPO are of agents that there are")
        return self.view.sizes[self._plays[name]]
