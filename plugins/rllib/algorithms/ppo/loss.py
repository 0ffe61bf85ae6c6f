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
    module: Any,
    distribution: Distribution,
    batch: dict[str, Any],
    coefficients: Coefficients,
    tells: bool = True,
) -> tuple[Any, dict[str, Any]]:
    """Return the loss of a minibatch, and with `tells` its parts.

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
    loss = policy_loss + coefficients.value * value_loss
    # Small networks spend their time in calls: what has no weight is made only to be told.
    if coefficients.entropy or tells:
        entropy = distribution.entropy(inputs).mean()
        loss = loss - coefficients.entropy * entropy if coefficients.entropy else loss
    if coefficients.kl or tells:
        divergence = distribution.divergence(batch["inputs"], inputs).mean()
        loss = loss + coefficients.kl * divergence if coefficients.kl else loss
    if not tells:
        return loss, {}
    parts = {
        "total_loss": loss.detach(),
        "policy_loss": policy_loss.detach(),
        "vf_loss": value_loss.detach(),
        "entropy": entropy.detach(),
        "mean_kl_loss": divergence.detach(),
    }
    return loss, parts
