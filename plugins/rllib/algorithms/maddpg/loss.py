"""What MADDPG minimises: errors of values that see all agents, and policies' values with the sign turned."""

from __future__ import annotations

from typing import Any

import torch

from shoal.rllib.modules.team_actors import TeamActors


def joined(observations: Any, actions: list[Any], sees: Any) -> Any:
    """Return the inputs of all agents' values, (agents, rows, numbers): what all see and do, as far as each `sees` it.

    Example: `critics(joined(observations, actions, torch.ones(2, 12)))`
    """
    return torch.cat([observations, *actions], -1) * sees[:, None]


@torch.no_grad()  # type: ignore[untyped-decorator]
def wanted_values(module: Any, batch: dict[str, Any], sees: Any, gamma: float) -> Any:
    """Return what values are to be, (agents, rows): the target of equation 6 of Lowe et al. (2017)."""
    after = batch["observations"][:, 1]
    acts = module["actors_target"].actions(after, batch["masks"][:, 1])
    later = module["critics_target"](joined(after, acts, sees))[..., 0]
    return batch["rewards"][:, 0].T + gamma * (1 - batch["terminated"][:, 0].T) * later


def critic_loss(module: Any, batch: dict[str, Any], sees: Any, gamma: float) -> tuple[Any, Any, Any]:
    """Return the loss of all agents' values (equation 6, summed over agents), their errors and the values.

    Example: `loss, errors, values = critic_loss(module, batch, sees, gamma=0.95)`
    """
    acts = module["actors"].spread_out(batch["actions"][:, 0])
    values = module["critics"](joined(batch["observations"][:, 0], acts, sees))[..., 0]
    errors = values - wanted_values(module, batch, sees, gamma)
    return errors.square().mean(1).sum(), errors.detach(), values.detach()


def actor_loss(module: Any, batch: dict[str, Any], sees: Any, penalty: float) -> Any:
    """Return the loss of all agents' policies (equation 5, summed over agents): an agent's own action is the policy's,
    those of the others are what they took. `penalty` weighs the squares of what the networks give.

    Example: `actor_loss(module, batch, sees, penalty=1e-3).backward()`
    """
    actors: TeamActors = module["actors"]
    seen, masks = batch["observations"][:, 0], batch["masks"][:, 0]
    taken = actors.spread_out(batch["actions"][:, 0])
    outputs = actors.outputs(seen, masks)
    inputs, squares = [], torch.zeros((), device=seen.device)
    for place, found in enumerate(outputs):
        own = actors.taken(place, found)
        acts = [*taken[:place], own, *taken[place + 1 :]]
        inputs.append(torch.cat([seen, *acts], -1) * sees[place])
        may = masks[:, place, : found.shape[-1]] if actors.discrete[place] else torch.ones_like(found)
        squares = squares + (found * may).square().mean()
    values = module["critics"](torch.stack(inputs))[..., 0]
    return -values.mean(1).sum() + penalty * squares
