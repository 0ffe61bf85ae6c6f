"""MARWIL: imitate, better actions more."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.continuous import ChoicePolicy, NormalPolicy, log_probability, policy_layers
from shoal.rllib.modules.layers import arrays_of, layers
from shoal.rllib.modules.optimizers import adam, step
from shoal.rllib.offline.learner import Offline
from shoal.rllib.sampling.transitions import Actions


class MARWIL(Offline):
    """Monotonic advantage re-weighted imitation learning.

    Example: `MARWILConfig().environment("CartPole-v1").offline_data(input_="episodes").build().train()`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._optimizer = adam(self.module.parameters(), config.lr, config.adam_epsilon)
        self._square = float(getattr(config, "moving_average_sqd_adv_norm_start", 0.0))

    def make_module(self) -> Any:
        """Return the policy and the network of values."""
        self.actions = Actions(self.action_space)
        size, model = size_of_observation(self.observation_space), self.config.model
        hidden, kind = tuple(model["fcnet_hiddens"]), model["fcnet_activation"]
        outputs = self.actions.size * (1 if self.actions.discrete else 2)
        made = {"actor": policy_layers(size, outputs, hidden, kind)}
        if getattr(self.config, "beta", 0.0):
            made["value"] = layers(size, hidden, kind, 1)
        return nn.ModuleDict(made)

    def policy(self, warm: bool) -> Any:
        """Return what draws actions by the policy."""
        kind = ChoicePolicy if self.actions.discrete else NormalPolicy
        return kind(arrays_of(self.module["actor"]))

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make one step down the loss: equation 6 of the paper for the policy, a square for the values."""
        config, seen = self.config, batch["observations"]
        logs = log_probability(self.module["actor"](seen), batch["actions"], self.actions.discrete)
        told = {}
        if "value" in self.module:
            advantages = batch["returns"] - self.module["value"](seen)[:, 0]
            values_loss = 0.5 * advantages.square().mean()
            rate = config.moving_average_sqd_adv_norm_update_rate
            self._square += rate * (float(advantages.detach().square().mean()) - self._square)
            weights = torch.exp(config.beta * advantages.detach() / (1e-8 + self._square**0.5)).clamp(
                max=20.0
            )
            policy_loss = -(weights * logs).mean()
            loss = policy_loss + config.vf_coeff * values_loss
            told["vf_loss"] = values_loss.detach()
        else:
            loss = policy_loss = -logs.mean()
        step(self._optimizer, loss, config.grad_clip)
        told.update(policy_loss=policy_loss.detach(), total_loss=loss.detach())
        return told, None

    def follow(self) -> None:
        """Have no targets to move."""

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimiser."""
        return {"all": self._optimizer}

    def learner_state(self) -> dict[str, Any]:
        """Return the optimiser's state and the mean square of advantages."""
        return {**super().learner_state(), "square": self._square}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from them."""
        super().set_learner_state(state)
        self._square = state["square"]
