"""What PPO minimises."""

from __future__ import annotations

from typing import Any

import attrs
import torch

from shoal.rllib.modules.distributions import Distribution


@attrs.frozen(kw_only=True)
class Coefficients:
    """The weights of the parts; `clip` bounds how far ratios of probabilities count, `value_clip` squared errors."""

    clip: float
    value_clip: float
    value: float
    entropy: float
    kl: float


def ppo_loss(
    module: Any, distribution: Distribution, batch: dict[str, Any], coefficients: Coefficients
) -> tuple[Any, dict[str, Any]]:
    """Return the loss of a minibatch, and its parts.

    Equation 7 of Schulman et al. (2017) with the penalty of equation 8 added to it.

    Example: `loss, parts = ppo_loss(module, Choices(2), minibatch, coefficients)`
    """
    inputs, values = module(batch["observations"])
    logs = distribution.log_probability(inputs, batch["actions"])
    ratio = torch.exp(logs - batch["log_probabilities"])
    advantages = batch["advantages"]
    clipped = ratio.clamp(1 - coefficients.clip, 1 + coefficients.clip)
    policy_loss = -torch.min(ratio * advantages, clipped * advantages).mean()
    value_loss = (values - batch["targets"]).square().clamp(max=coefficients.value_clip).mean()
    entropy = distribution.entropy(inputs).mean()
    divergence = distribution.divergence(batch["inputs"], inputs).mean()
    loss = policy_loss + coefficients.value * value_loss - coefficients.entropy * entropy
    if coefficients.kl:
        loss = loss + coefficients.kl * divergence
    parts = {
        "total_loss": loss.detach(),
        "policy_loss": policy_loss.detach(),
        "vf_loss": value_loss.detach(),
        "entropy": entropy.detach(),
        "mean_kl_loss": divergence.detach(),
    }
    return loss, parts
