"""V-trace: values and advantages of a policy, from what an older one did."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch


class Traced(NamedTuple):
    """What values are to become (`targets`), and how much better than expected actions were (`advantages`)."""

    targets: Any
    advantages: Any


@torch.no_grad()  # type: ignore[untyped-decorator]
def vtrace(
    *,
    ratios: Any,
    rewards: Any,
    values: Any,
    next_values: Any,
    terminated: Any,
    ended: Any,
    gamma: float,
    lambda_: float = 1.0,
    clip_rho: float = 1.0,
    clip_pg_rho: float = 1.0,
) -> Traced:
    """Return V-trace's targets and advantages (Espeholt et al., 2018, equation 1 and section 4.2).

    Steps are in rows, environments in columns; tensors.

    Parameters: `ratios` are probabilities of the actions now over those when they were drawn. `next_values` are the
    values of what came of each step; where an episode terminated nothing is expected after it, where it was cut short
    `next_values` must be of its last observation. `lambda_` is the trace's decay (remark 2), `clip_rho` and
    `clip_pg_rho` bound ratios in targets and advantages.

    Example: `vtrace(ratios=ones, rewards=r, values=v, next_values=n, terminated=t, ended=t, gamma=0.99).targets`
    """
    rhos = ratios.clamp(max=clip_rho)
    traces = lambda_ * ratios.clamp(max=1.0)
    following = next_values * (1.0 - terminated)
    deltas = rhos * (rewards + gamma * following - values)
    goes_on = 1.0 - ended
    differences = torch.empty_like(deltas)
    running = torch.zeros_like(deltas[0])
    for step in range(len(deltas) - 1, -1, -1):
        running = deltas[step] + gamma * traces[step] * goes_on[step] * running
        differences[step] = running
    targets = values + differences
    # What is to be expected after a step: the next step's target, or at an end and at the last step the plain value.
    later = following.clone()
    later[:-1] = torch.where(goes_on[:-1] > 0, targets[1:], following[:-1])
    advantages = ratios.clamp(max=clip_pg_rho) * (rewards + gamma * later - values)
    return Traced(targets, advantages)
