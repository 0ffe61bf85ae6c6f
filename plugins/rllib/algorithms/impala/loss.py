"""What IMPALA and APPO minimise."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import torch

from shoal.rllib.algorithms.impala.vtrace import vtrace
from shoal.rllib.modules.distributions import Distribution


@attrs.frozen(kw_only=True)
class Settings:
    """`clip` bounds ratios to the target policy (APPO), None takes the plain gradient of the policy (IMPALA)."""

    gamma: float
    lambda_: float
    rho: float
    pg_rho: float
    value: float
    entropy: float
    clip: float | None = None
    kl: float = 0.0


def tensors(fragment: dict[str, Any], device: Any) -> dict[str, Any]:
    """Return a stretch's arrays as tensors, steps and environments in one dimension but for what is traced.

    Example: `tensors(beside(fragments), torch.device("cpu"))`
    """
    made = {
        name: torch.as_tensor(fragment[name], device=device)
        for name in ("rewards", "terminated", "ended", "log_probabilities", "last")
    }
    for name in ("observations", "actions"):
        value = torch.as_tensor(fragment[name], device=device)
        made[name] = value.reshape(-1, *value.shape[2:])
    made["cuts"] = fragment["cuts"]
    if fragment["cuts"]:
        made["cut"] = torch.as_tensor(np.stack([each for _, _, each in fragment["cuts"]]), device=device)
    return made


def values_after(module: Any, values: Any, seen: dict[str, Any]) -> Any:
    """Return the values of what came of each step, by the network as it is."""
    with torch.no_grad():
        after = torch.cat([values[1:], module(seen["last"])[1][None]])
        if seen["cuts"]:
            steps, places = (
                [each[0] for each in seen["cuts"]],
                [each[1] for each in seen["cuts"]],
            )
            after[steps, places] = module(seen["cut"])[1]
    return after


def traced_loss(
    module: Any, target: Any, distribution: Distribution, seen: dict[str, Any], settings: Settings
) -> tuple[Any, dict[str, Any]]:
    """Return the loss of a stretch, and its parts: of IMPALA (Espeholt et al., 2018), or with `settings.clip` of APPO.

    APPO clips the ratio of the policy to a target policy (`target`, a network that follows slowly), as IMPACT does (Luo
    et al., 2020, with β = 1/2).

    Example: `loss, parts = traced_loss(module, None, Choices(2), seen, settings)`
    """
    shape = seen["rewards"].shape
    inputs, flat_values = module(seen["observations"])
    values = flat_values.reshape(shape)
    logs = distribution.log_probability(inputs, seen["actions"]).reshape(shape)
    before = seen["log_probabilities"]
    divergence = None
    if target is None:
        traced_by = logs.detach()
    else:
        with torch.no_grad():
            old_inputs, _ = target(seen["observations"])
            traced_by = distribution.log_probability(old_inputs, seen["actions"]).reshape(shape)
        divergence = distribution.divergence(old_inputs, inputs).mean()
    traced = vtrace(
        ratios=(traced_by - before).exp(),
        rewards=seen["rewards"],
        values=values.detach(),
        next_values=values_after(module, values.detach(), seen),
        terminated=seen["terminated"],
        ended=seen["ended"],
        gamma=settings.gamma,
        lambda_=settings.lambda_,
        clip_rho=settings.rho,
        clip_pg_rho=settings.pg_rho,
    )
    advantages = traced.advantages
    if settings.clip is None:
        policy_loss = -(logs * advantages).mean()
    else:
        ratio = (logs - torch.maximum(traced_by, before - math.log(2))).exp()
        clipped = ratio.clamp(1 - settings.clip, 1 + settings.clip)
        policy_loss = -torch.min(ratio * advantages, clipped * advantages).mean()
    value_loss = 0.5 * (values - traced.targets).square().mean()
    entropy = distribution.entropy(inputs).mean()
    loss = policy_loss + settings.value * value_loss - settings.entropy * entropy
    parts = {
        "policy_loss": policy_loss.detach(),
        "vf_loss": value_loss.detach(),
        "entropy": entropy.detach(),
        "mean_ratio": (traced_by - before).exp().mean(),
    }
    if divergence is not None:
        parts["mean_kl_loss"] = divergence.detach()
        if settings.kl:
            loss = loss + settings.kl * divergence
    return loss, {"total_loss": loss.detach(), **parts}
