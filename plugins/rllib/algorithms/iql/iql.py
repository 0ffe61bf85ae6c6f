"""IQL: an expectile of values, then imitation weighed by advantages."""

from __future__ import annotations

from typing import Any

import torch

from shoal.rllib.environments import size_of_observation
from shoal.rllib.modules.actor_and_critics import actor_and_critics
from shoal.rllib.modules.continuous import (
    ChoicePolicy,
    NormalPolicy,
    log_probability,
)
from shoal.rllib.modules.layers import arrays_of, layers
from shoal.rllib.modules.optimizers import adam, follow, step
from shoal.rllib.offline.learner import Offline
from shoal.rllib.sampling.transitions import Actions


def expectile_loss(errors: Any, expectile: float) -> Any:
    """Return the mean of squares, where those of errors above 0 count `expectile` and others the rest (equation 5).

    Example: `expectile_loss(torch.tensor([1.0, -1.0]), 0.8)  # (0.8 + 0.2) / 2`
    """
    weights = torch.where(errors > 0, expectile, 1 - expectile)
    return (weights * errors.square()).mean()


class IQL(Offline):
    """Implicit Q-learning.

    Example: `IQLConfig().environment("Pendulum-v1").offline_data(input_="episodes").build().train()`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._optimizers = {
            name: adam(self.module[name].parameters(), config.rate(rate), config.adam_epsilon)
            for name, rate in (("actor", "actor_lr"), ("critics", "critic_lr"), ("value", "value_lr"))
        }

    def make_module(self) -> Any:
        """Return the policy, the networks of values of actions, their targets, and the network of values."""
        model = self.config.model
        self.actions = Actions(self.action_space)
        made = actor_and_critics(self.config, self.observation_space, self.actions)
        made["value"] = layers(
            size_of_observation(self.observation_space),
            tuple(model["fcnet_hiddens"]),
            model["fcnet_activation"],
            1,
        )
        return made

    def policy(self, warm: bool) -> Any:
        """Return what draws actions by the policy."""
        kind = ChoicePolicy if self.actions.discrete else NormalPolicy
        return kind(arrays_of(self.module["actor"]))

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make a step down each of the three losses: equations 5, 6 and 7 of the paper."""
        config, module, seen = self.config, self.module, batch["observations"]
        with torch.no_grad():
            taken = self._values("target", batch).min(0).values
            targets = (
                batch["rewards"] + batch["discounts"] * module["value"](batch["next_observations"])[:, 0]
            )
        advantages = taken - module["value"](seen)[:, 0]
        value_loss = expectile_loss(advantages, config.expectile)
        step(self._optimizers["value"], value_loss, config.grad_clip)
        critic_loss = (self._values("critics", batch) - targets).square().mean(1).sum()
        step(self._optimizers["critics"], critic_loss, config.grad_clip)
        weights = torch.exp(config.beta * advantages.detach()).clamp(max=100.0)
        logs = log_probability(module["actor"](seen), batch["actions"], self.actions.discrete)
        policy_loss = -(weights * logs).mean()
        step(self._optimizers["actor"], policy_loss, config.grad_clip)
        told = {
            "value_loss": value_loss.detach(),
            "critic_loss": critic_loss.detach(),
            "actor_loss": policy_loss.detach(),
            "qf_mean": taken.mean(),
        }
        return told, None

    def follow(self) -> None:
        """Move the targets a little."""
        follow(self.module["target"], self.module["critics"], self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers."""
        return dict(self._optimizers)

    def _values(self, name: str, batch: dict[str, Any]) -> Any:
        seen, actions = batch["observations"], batch["actions"]
        if self.actions.discrete:
            values = self.module[name](seen)
            return values.gather(2, actions.long().expand(len(values), -1)[..., None])[..., 0]
        return self.module[name](torch.cat([seen, actions], -1))[..., 0]
