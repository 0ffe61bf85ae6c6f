"""PPO: sample, then several epochs of minibatches with a clipped objective; for one agent or for several."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
from torch import nn

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.array_algorithm import ArrayAlgorithm
from shoal.rllib.algorithms.ppo.learner import PPOLearner
from shoal.rllib.environments import flat_observation, size_of_observation
from shoal.rllib.modules.actor_critic import ActorCritic, ArrayPolicy
from shoal.rllib.modules.distributions import distribution_of
from shoal.rllib.multi_agent.environment import MultiAgentEnv
from shoal.rllib.multi_agent.policies import spaces_of
from shoal.rllib.multi_agent.runner import MultiAgentRunner, Together
from shoal.rllib.policy.policy import Policy
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.runner import as_action

ONLY = "default_policy"


class PPO(ArrayAlgorithm):
    """Proximal policy optimisation (Schulman et al., 2017), with a penalty for divergence that adapts.

    With `config.multi_agent(policies=…)` several policies play and learn, each from the agents that it plays:
    independent PPO, or where agents share a policy the parameter sharing of Gupta et al. (2017).

    Example: `PPOConfig().environment("CartPole-v1").build().train()["episode_reward_mean"]`
    """

    takes_several_agents = True
    learner_class = PPOLearner

    def __init__(self, config: AlgorithmConfig) -> None:
        super().__init__(config)
        modules = self.module if config.policies is not None else {ONLY: self.module}
        self._learners = {
            name: self.learner_class(module, self.distributions[name], config, self._random)
            for name, module in modules.items()
        }

    def look_at(self, env: Any) -> None:
        """Take from an environment what the spaces of the policies are. Raises ConfigError if they do not fit."""
        config = self.config
        if config.policies is None:
            if isinstance(env, MultiAgentEnv):
                raise ConfigError(
                    "this environment has several agents: say who plays them by config.multi_agent()"
                )
            super().look_at(env)
            self.spaces = {ONLY: (self.observation_space, self.action_space)}
        else:
            if not isinstance(env, MultiAgentEnv):
                raise ConfigError(f"multi_agent() is for a MultiAgentEnv, and env makes {describe(env)}")
            self.spaces = spaces_of(env, config.policies, self.mapping())
            self.observation_space = {name: spaces[0] for name, spaces in self.spaces.items()}
            self.action_space = {name: spaces[1] for name, spaces in self.spaces.items()}
        self.distributions = {name: distribution_of(spaces[1]) for name, spaces in self.spaces.items()}

    def mapping(self) -> Any:
        """Return the function from agents to policies."""
        given, policies = self.config.policy_mapping_fn, list(self.config.policies)
        if given is not None:
            return given
        only = policies[0]
        return (lambda agent, *_: only) if len(policies) == 1 else (lambda agent, *_: agent)

    def make_module(self) -> Any:
        """Return the network, or with several policies those of all by name."""
        if self.config.policies is None:
            return super().make_module()
        model = self.config.model
        return nn.ModuleDict(
            {
                name: ActorCritic(
                    size_of_observation(spaces[0]),
                    self.distributions[name].inputs,
                    tuple(model["fcnet_hiddens"]),
                    model["fcnet_activation"],
                    model["vf_share_layers"],
                )
                for name, spaces in self.spaces.items()
            }
        )

    def make_runners(self, make: Any) -> RunnerGroup:
        """Return who plays."""
        if self.config.policies is None:
            return super().make_runners(make)  # type: ignore[no-any-return]
        together = Together(
            **attrs.asdict(self._play(make), recurse=False), mapping=self.mapping(), spaces=self.spaces
        )
        return RunnerGroup(together, self.config, MultiAgentRunner)

    def training_step(self) -> dict[str, Any]:
        """Sample a batch, and learn from it in epochs of minibatches."""
        if self.config.policies is None:
            return self._learners[ONLY].learn(self.sample(self.config.train_batch_size))
        batches = self._sample_together()
        learning = self.config.policies_to_train or list(self._learners)
        return {
            name: self._learners[name].learn(batch) for name, batch in batches.items() if name in learning
        }

    def compute_single_action(self, observation: Any, explore: bool = True, *, policy_id: str = ONLY) -> Any:
        """Return an action of a policy for one observation: drawn, or without `explore` the most likely one."""
        if self.config.policies is None:
            return super().compute_single_action(observation, explore)
        if policy_id not in self.spaces:
            raise ConfigError(f"there is no policy {policy_id!r}; there are {', '.join(self.spaces)}")
        seen, actions = self.spaces[policy_id]
        inputs, _ = ArrayPolicy(self.module[policy_id].arrays())(flat_observation(seen, observation)[None])
        distribution = self.distributions[policy_id]
        chosen = distribution.sample(inputs, self._random)[0] if explore else distribution.best(inputs)
        return as_action(actions, chosen[0], self.config.clip_actions)

    def get_policy(self, policy_id: str = ONLY) -> Policy:
        """Return a policy. Raises ConfigError for an unknown name."""
        if policy_id not in self.spaces:
            raise ConfigError(f"there is no policy {policy_id!r}; there are {', '.join(self.spaces)}")
        return Policy(self, policy_id, *self.spaces[policy_id])

    def act_of(self, policy: str, observation: Any, explore: bool) -> Any:
        """Return an action of a policy for one observation."""
        return self.compute_single_action(observation, explore, policy_id=policy)

    def act(self, observation: Any, explore: bool) -> Any:
        """Return what an environment's `step` takes: an action, or with several agents one for each that acts."""
        if self.config.policies is None:
            return super().act(observation, explore)
        mapping = self.mapping()
        return {
            agent: self.compute_single_action(seen, explore, policy_id=mapping(agent, None))
            for agent, seen in observation.items()
        }

    def learner_state(self) -> dict[str, Any]:
        """Return the learners' states, by policy."""
        return {name: learner.state() for name, learner in self._learners.items()}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        for name, learner in self._learners.items():
            learner.set_state(state[name])

    def _sample_together(self) -> dict[str, dict[str, Any]]:
        """Return rows by policy, of at least `train_batch_size` steps of environments."""
        arrays = {name: module.arrays() for name, module in self.module.items()}
        made = self._runners.sample(arrays, self.config.train_batch_size)
        parts: dict[str, list[dict[str, Any]]] = {}
        for each in made:
            self._episodes.extend(each["episodes"])
            self._steps += each["steps"]
            for name, rows in each["policies"].items():
                parts.setdefault(name, []).append(rows)
        return {
            name: {key: np.concatenate([rows[key] for rows in every]) for key in every[0]}
            for name, every in parts.items()
        }
