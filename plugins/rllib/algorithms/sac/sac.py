"""SAC: a policy that is paid for being random, and values of its actions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn

from shoal.rllib.algorithms.off_policy.off_policy import OffPolicy
from shoal.rllib.algorithms.sac.loss import actor_loss, critic_loss, later_values
from shoal.rllib.modules.actor_and_critics import actor_and_critics
from shoal.rllib.modules.continuous import ChoicePolicy, SquashedPolicy
from shoal.rllib.modules.layers import arrays_of
from shoal.rllib.modules.optimizers import adam, follow, step
from shoal.rllib.sampling.transitions import Actions


class _Alpha(nn.Module):  # type: ignore[misc]
    """How much entropy counts for."""

    def __init__(self, first: float) -> None:
        super().__init__()
        self.log = nn.Parameter(torch.tensor(math.log(first)))


class SAC(OffPolicy):
    """Soft actor-critic with two networks of values and a weight of entropy that is learned.

    Example: `SACConfig().environment("Pendulum-v1").build().train()["episode_reward_mean"]`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._optimizers = {
            "actor": adam(self.module["actor"].parameters(), config.rate("actor_lr"), config.adam_epsilon),
            "critics": adam(
                self.module["critics"].parameters(), config.rate("critic_lr"), config.adam_epsilon
            ),
            "alpha": adam(self.module["alpha"].parameters(), config.rate("alpha_lr"), config.adam_epsilon),
        }
        wanted = config.target_entropy
        if wanted == "auto":
            wanted = 0.98 * math.log(self.actions.size) if self.actions.discrete else -self.actions.size
        self._wanted = float(wanted)

    def make_module(self) -> Any:
        """Return the policy, the networks of values, their targets and the weight of entropy."""
        self.actions = Actions(self.action_space)
        made = actor_and_critics(self.config, self.observation_space, self.actions)
        made["alpha"] = _Alpha(self.config.initial_alpha)
        return made

    def policy(self, warm: bool) -> Any:
        """Return what draws actions by the policy."""
        kind = ChoicePolicy if self.actions.discrete else SquashedPolicy
        return kind(arrays_of(self.module["actor"]), uniform=not warm)

    def learn(self, batch: dict[str, Any]) -> tuple[dict[str, Any], Any]:
        """Make a step down the losses of the values, the policy, and the weight of entropy."""
        module, clip, discrete = self.module, self.config.grad_clip, self.actions.discrete
        alpha = module["alpha"].log.detach().exp()
        with torch.no_grad():
            targets = batch["rewards"] + batch["discounts"] * later_values(module, batch, alpha, discrete)
        values = self._values(batch)
        loss, errors = critic_loss(values, targets, batch["weights"])
        loss = loss + self.penalty(batch, values)
        step(self._optimizers["critics"], loss, clip)
        module["critics"].requires_grad_(False)  # the policy's loss needs none of their gradients
        policy_loss, logs = actor_loss(module, batch, alpha, discrete)
        step(self._optimizers["actor"], policy_loss, clip)
        module["critics"].requires_grad_(True)
        alpha_loss = -module["alpha"].log * (logs.detach().mean() + self._wanted)
        step(self._optimizers["alpha"], alpha_loss)
        told = {
            "critic_loss": loss.detach(),
            "actor_loss": policy_loss.detach(),
            "alpha_loss": alpha_loss.detach(),
            "alpha_value": alpha,
            "qf_mean": values.detach().mean(),
            "entropy": -logs.detach().mean(),
        }
        return told, errors

    def penalty(self, batch: dict[str, Any], values: Any) -> Any:
        """Return what is added to the loss of values: nothing, here."""
        return 0.0

    def follow(self) -> None:
        """Move the targets a little."""
        follow(self.module["target"], self.module["critics"], self.config.tau)

    def optimizers(self) -> dict[str, torch.optim.Optimizer]:
        """Return the optimisers."""
        return dict(self._optimizers)

    def _values(self, batch: dict[str, Any]) -> Any:
        seen, actions = batch["observations"], batch["actions"]
        if self.actions.discrete:
            values = self.module["critics"](seen)
            return values.gather(2, actions.long().expand(len(values), -1)[..., None])[..., 0]
        return self.module["critics"](torch.cat([seen, actions], -1))[..., 0]
