"""What A2C and A3C minimise."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from shoal.rllib.modules.distributions import Distribution


def actor_critic_loss(
    module: Any, distribution: Distribution, batch: dict[str, Any], value: float, entropy: float
) -> tuple[Any, dict[str, Any]]:
    """Return the loss of a batch, and its parts: the gradient of the policy, values, entropy (Mnih et al., 2016).

    Parameters: `value` and `entropy` are the weights of these parts.

    Example: `loss, parts = actor_critic_loss(module, Choices(2), batch, 0.5, 0.01)`
    """
    inputs, values = module(batch["observations"])
    logs = distribution.log_probability(inputs, batch["actions"])
    policy_loss = -(logs * batch["advantages"]).mean()
    value_loss = (values - batch["targets"]).square().mean()
    spread = distribution.entropy(inputs).mean()
    loss = policy_loss + value * value_loss - entropy * spread
    return loss, {
        "total_loss": loss.detach(),
        "policy_loss": policy_loss.detach(),
        "vf_loss": value_loss.detach(),
        "entropy": spread.detach(),
    }


def as_tensors(batch: dict[str, Any], device: Any) -> dict[str, Any]:
    """Return a batch of a runner as tensors, with the `targets` of values and advantages of mean 0 and deviation 1.

    Example: `as_tensors(runner.sample(weights, 100), torch.device("cpu"))["targets"]`
    """
    advantages = batch["advantages"]
    scaled = (advantages - advantages.mean()) / max(1e-4, float(np.std(advantages)))
    told = {**batch, "targets": advantages + batch["values"], "advantages": scaled}
    names = ("observations", "actions", "advantages", "targets")
    return {name: torch.as_tensor(told[name], device=device) for name in names}
