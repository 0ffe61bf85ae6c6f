"""What DQN minimises: errors of values, or of distributions of returns."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from shoal.rllib.modules.q_network import QNetwork


def dqn_loss(
    online: QNetwork, target: QNetwork, batch: dict[str, Any], *, double: bool, huber: bool
) -> tuple[Any, Any, Any]:
    """Return the loss of a batch, how far off each row is, and the values of the actions.

    The target's action is the online network's best one with `double` (van Hasselt et al., 2016), else the target's.

    Example: `loss, errors, values = dqn_loss(online, target, batch, double=True, huber=True)`
    """
    rows = torch.arange(len(batch["actions"]), device=batch["rewards"].device)
    logits = online.logits(batch["observations"])[rows, batch["actions"]]
    with torch.no_grad():
        later = target.logits(batch["next_observations"])
        chooses = online(batch["next_observations"]) if double else target.values_of(later)
        later = later[rows, chooses.argmax(1)]
    if online.shape.atoms == 1:
        values = logits[:, 0]
        errors = values - (batch["rewards"] + batch["discounts"] * later[:, 0])
        each = (
            functional.huber_loss(errors, torch.zeros_like(errors), reduction="none") if huber else errors**2
        )
    else:
        wanted = projected(torch.softmax(later, -1), batch["rewards"], batch["discounts"], online.support)
        each = -(wanted * torch.log_softmax(logits, -1)).sum(-1)
        values, errors = online.values_of(logits), each
    return (batch["weights"] * each).mean(), errors.detach(), values.detach()


def projected(chances: Any, rewards: Any, discounts: Any, support: Any) -> Any:
    """Return distributions of rewards + discounts * returns on the places of `support`.

    Algorithm 1 of Bellemare et al. (2017): each moved place gives its chance to the two places beside it.

    Example: `projected(torch.full((8, 51), 1 / 51), rewards, discounts, torch.linspace(-10, 10, 51))`
    """
    gap = support[1] - support[0]
    moved = (rewards[:, None] + discounts[:, None] * support).clamp(support[0], support[-1])
    place = (moved - support[0]) / gap
    # The part of a chance that a place gets falls from 1 to 0 with the distance to it: equation 7 of the paper.
    distance = (place[:, None, :] - torch.arange(len(support), device=support.device)[:, None]).abs()
    return ((1 - distance).clamp(min=0) * chances[:, None, :]).sum(-1)
