"""APPO: PPO's objective, on runners that do not wait."""

from __future__ import annotations

import copy
from typing import Any

import attrs

from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.impala.impala import IMPALA
from shoal.rllib.algorithms.impala.loss import Settings
from shoal.rllib.algorithms.ppo.learner import adapted
from shoal.rllib.modules.optimizers import follow


class APPO(IMPALA):
    """Asynchronous proximal policy optimisation, with a target network (IMPACT: Luo et al., 2020).

    Example: `APPOConfig().environment("CartPole-v1").build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: AlgorithmConfig) -> None:
        super().__init__(config)
        self._target = copy.deepcopy(self.module).requires_grad_(False)
        self._kl_coeff = float(config.kl_coeff) if config.use_kl_loss else 0.0

    def target(self) -> Any:
        """Return the target network."""
        return self._target

    def settings(self) -> Settings:
        """Return what the loss is made with."""
        return attrs.evolve(super().settings(), clip=self.config.clip_param, kl=self._kl_coeff)

    def learn(self, seen: dict[str, Any]) -> dict[str, Any]:
        """Make the steps down the loss of a batch, then move the target network and the penalty."""
        told = super().learn(seen)
        if (self._updates + 1) % self.config.target_network_update_freq == 0:
            follow(self._target, self.module, self.config.tau)
            if self.config.use_kl_loss:
                self._kl_coeff = adapted(self._kl_coeff, float(told["mean_kl_loss"]), self.config.kl_target)
        return {**told, "curr_kl_coeff": self._kl_coeff}

    def learner_state(self) -> dict[str, Any]:
        """Return what IMPALA has, the target network and the penalty's coefficient."""
        target = {name: value.cpu() for name, value in self._target.state_dict().items()}
        return {**super().learner_state(), "target": target, "kl_coeff": self._kl_coeff}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        super().set_learner_state(state)
        self._target.load_state_dict(state["target"])
        self._kl_coeff = state["kl_coeff"]
