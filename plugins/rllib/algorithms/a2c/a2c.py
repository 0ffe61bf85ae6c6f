"""A2C: one step down the loss for each batch of all runners."""

from __future__ import annotations

from typing import Any

from shoal.rllib.algorithms.a2c.loss import actor_critic_loss, as_tensors
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig
from shoal.rllib.algorithms.array_algorithm import ArrayAlgorithm
from shoal.rllib.modules.optimizers import adam, step


class A2C(ArrayAlgorithm):
    """Advantage actor-critic (Mnih et al., 2016; its synchronous form).

    Example: `A2CConfig().environment("CartPole-v1").build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: AlgorithmConfig) -> None:
        super().__init__(config)
        self._optimizer = adam(self.module.parameters(), config.lr)

    def training_step(self) -> dict[str, Any]:
        """Sample a batch, and learn from it once."""
        config = self.config
        batch = as_tensors(self.sample(config.train_batch_size), self.device)
        loss, told = actor_critic_loss(
            self.module, self.distribution, batch, config.vf_loss_coeff, config.entropy_coeff
        )
        step(self._optimizer, loss, config.grad_clip)
        return {name: float(value) for name, value in told.items()}

    def learner_state(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return {"optimizer": self._optimizer.state_dict()}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from it."""
        self._optimizer.load_state_dict(state["optimizer"])
