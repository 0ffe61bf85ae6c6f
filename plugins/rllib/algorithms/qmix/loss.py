"""What QMIX minimises: errors of the team's value."""

from __future__ import annotations

from typing import Any

import torch

_NEVER = -1e9  # the value of choices that may not be taken


def team_loss(
    online: Any, target: Any, batch: dict[str, Any], states: Any, *, gamma: float, double: bool
) -> tuple[Any, Any, Any]:
    """Return the loss of a batch, how far off its rows are, and the team's mean value.

    Equation 6 of Rashid et al. (2018), over the steps that there were. `online` and `target` have a `network` and a
    `mixer`; each agent's next choice is the online network's best one with `double`, else the target's. Without a mixer
    each agent's reward is the team's.

    Example: `loss, errors, value = team_loss(online, target, batch, states, gamma=0.99, double=True)`
    """
    agents = online["network"].agents
    seen = batch["observations"].unflatten(-1, (agents, -1))
    values = online["network"](seen, batch["memory"], batch["actions"])
    taken = values[:, :-1].gather(-1, batch["actions"].long().unsqueeze(-1)).squeeze(-1)
    with torch.no_grad():
        later = target["network"](seen, batch["memory"], batch["actions"])[:, 1:]
        masks = batch["masks"][:, 1:]
        chooses = (values.detach()[:, 1:] if double else later).masked_fill(masks == 0, _NEVER)
        later = later.gather(-1, chooses.argmax(-1, keepdim=True)).squeeze(-1)
        following = target["mixer"](later, states[:, 1:])
        # The team goes on as long as one of its agents does.
        over = batch["terminated"].min(-1, keepdim=True).values
        rewards = batch["rewards"].sum(-1, keepdim=True)
        wanted = rewards + gamma * (1 - over) * following
    mixed = online["mixer"](taken, states[:, :-1])
    filled = batch["filled"].unsqueeze(-1).expand_as(mixed)
    errors = (mixed - wanted) * filled
    loss = errors.square().sum() / filled.sum()
    value = (mixed.detach() * filled).sum() / filled.sum()
    return loss, errors.detach().abs().sum((1, 2)) / filled.sum((1, 2)), value
