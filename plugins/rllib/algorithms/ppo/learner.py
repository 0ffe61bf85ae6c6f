"""What learns from batches: one policy's network, its optimiser and its penalty."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from shoal.rllib.algorithms.ppo.loss import Coefficients, ppo_loss
from shoal.rllib.modules.distributions import Distribution
from shoal.rllib.modules.optimizers import adam, step


class PPOLearner:
    """Learns from batches, in epochs of minibatches with a clipped objective.

    Example: `PPOLearner(module, Choices(2), config, numpy.random.default_rng(1)).learn(batch)["total_loss"]`
    """

    def __init__(
        self, module: Any, distribution: Distribution, config: Any, random: np.random.Generator
    ) -> None:
        self.module = module
        self._distribution = distribution
        self._config = config
        self._random = random
        self._optimizer = adam(module.parameters(), config.lr)
        self._kl_coeff = float(config.kl_coeff) if config.use_kl_loss else 0.0

    def learn(self, batch: dict[str, Any]) -> dict[str, Any]:
        """Learn from what runners saw; return the parts of the last loss and other numbers."""
        config = self._config
        device = next(self.module.parameters()).device
        variance = float(np.var(batch["advantages"] + batch["values"]))
        explained = 1 - float(np.var(batch["advantages"])) / variance if variance else float("nan")
        targets = batch["advantages"] + batch["values"]
        advantages = batch["advantages"]
        advantages = (advantages - advantages.mean()) / max(1e-4, float(advantages.std()))
        seen = {
            name: torch.as_tensor(values, device=device)
            for name, values in {**batch, "advantages": advantages, "targets": targets}.items()
        }
        rows = len(targets)
        size = config.minibatch_size or rows
        coefficients = self.coefficients()
        told: dict[str, Any] = {}
        for epoch in range(config.num_epochs):
            order = self._random.permutation(rows) if config.shuffle_batch_per_epoch else np.arange(rows)
            shuffled = torch.as_tensor(order, device=device)
            epoch_rows = {name: values[shuffled] for name, values in seen.items()}
            for start in range(0, max(1, rows - size + 1), size):
                part = {name: values[start : start + size] for name, values in epoch_rows.items()}
                last = epoch == config.num_epochs - 1 and start + 2 * size > rows
                loss, told = ppo_loss(self.module, self._distribution, part, coefficients, tells=last)
                step(self._optimizer, loss, config.grad_clip)
        numbers = {name: float(value) for name, value in told.items()}
        if config.use_kl_loss:
            self._kl_coeff = adapted(self._kl_coeff, numbers["mean_kl_loss"], config.kl_target)
        return {**numbers, "vf_explained_var": explained, "curr_kl_coeff": self._kl_coeff}

    def coefficients(self) -> Coefficients:
        """Return the weights of the loss's parts."""
        config = self._config
        return Coefficients(
            clip=config.clip_param,
            value_clip=config.vf_clip_param,
            value=config.vf_loss_coeff,
            entropy=config.entropy_coeff,
            kl=self._kl_coeff,
        )

    def state(self) -> dict[str, Any]:
        """Return the optimiser's state and the penalty's coefficient."""
        return {"optimizer": self._optimizer.state_dict(), "kl_coeff": self._kl_coeff}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        self._optimizer.load_state_dict(state["optimizer"])
        self._kl_coeff = state["kl_coeff"]


def adapted(coefficient: float, divergence: float, target: float) -> float:
    """Return the penalty's coefficient, moved so that policies diverge as much as is wanted (section 4 of the paper).

    Example: `adapted(0.2, 0.03, target=0.01)  # 0.30000000000000004`
    """
    if divergence > 2.0 * target:
        return coefficient * 1.5
    return coefficient * 0.5 if divergence < 0.5 * target else coefficient
