"""Algorithms whose runners act with arrays in NumPy: for small networks that is a fraction of torch's time."""

from __future__ import annotations

from abc import ABC
from typing import Any

import numpy as np

from shoal.rllib.algorithms.algorithm import Algorithm
from shoal.rllib.environments import flat_observation, size_of_observation
from shoal.rllib.modules.actor_critic import ActorCritic, ArrayPolicy
from shoal.rllib.modules.distributions import distribution_of
from shoal.rllib.policy.policy import network_named
from shoal.rllib.sampling.group import RunnerGroup
from shoal.rllib.sampling.runner import Play, as_action


class ArrayAlgorithm(Algorithm, ABC):
    """An algorithm with a network of its own, a policy with values unless it overrides `make_module`.

    Runners get the network's weights as arrays and play with NumPy. Nothing is made of components.

    Example: `class Mine(ArrayAlgorithm): ...`
    """

    uses_components = False

    def prepare(self, make: Any) -> None:
        """Make the network and the runners."""
        self.module = self.make_module().to(self.device)
        self._runners = self.make_runners(make)

    def look_at(self, env: Any) -> None:
        """Take from an environment what its spaces are."""
        super().look_at(env)
        self.distribution = distribution_of(self.action_space)

    def make_module(self) -> Any:
        """Return the network that learns. Algorithms with another network than a policy with values override it."""
        model = self.config.model
        return ActorCritic(
            size_of_observation(self.observation_space),
            self.distribution.inputs,
            tuple(model["fcnet_hiddens"]),
            model["fcnet_activation"],
            model["vf_share_layers"],
        )

    def make_runners(self, make: Any) -> Any:
        """Return who plays environments that `make` makes. Algorithms that see other things in steps override it."""
        return RunnerGroup(self._play(make), self.config)

    def module_state(self) -> dict[str, Any]:
        """Return the network's weights, as tensors by name."""
        return {name: value.cpu() for name, value in self.module.state_dict().items()}

    def set_module_state(self, state: dict[str, Any]) -> None:
        """Take them."""
        self.module.load_state_dict(state)

    def size(self) -> int:
        """Return how many weights the network has."""
        return sum(each.numel() for each in self.module.parameters())

    def acting_network(self, policy: str) -> Any:
        """Return the network of a policy that acts. Raises ConfigError if it is no one network."""
        return network_named(self.module, policy, type(self).__name__)

    def stop(self) -> None:
        """End the runners. Again does nothing."""
        self._runners.stop()

    def compute_single_action(self, observation: Any, explore: bool = True) -> Any:
        """Return an action for one observation: drawn, or without `explore` the most likely one."""
        flat = flat_observation(self.observation_space, observation)[None]
        inputs, _ = ArrayPolicy(self.module.arrays())(flat)
        chosen = (
            self.distribution.sample(inputs, self._random)[0] if explore else self.distribution.best(inputs)
        )
        return as_action(self.action_space, chosen[0], self.config.clip_actions)

    def sample(self, steps: int) -> dict[str, Any]:
        """Return at least `steps` steps of the runners, played with the weights as they are now."""
        made = self._runners.sample(self.module.arrays(), steps)
        for each in made:
            self._episodes.extend(each.pop("episodes"))
        batch = {name: np.concatenate([each[name] for each in made]) for name in made[0]}
        self._steps += len(batch["values"])
        return batch

    def _play(self, make: Any) -> Play:
        config = self.config
        return Play(
            make=make,
            config=config.env_config,
            count=config.num_envs_per_env_runner,
            gamma=config.gamma,
            lambda_=getattr(config, "lambda_", 1.0),
            clip_rewards=config.clip_rewards,
            clip_actions=config.clip_actions,
            seed=config.seed,
        )
