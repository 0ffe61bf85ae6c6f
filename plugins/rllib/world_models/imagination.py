"""Playing in a model, and what is to be expected of it."""

from __future__ import annotations

from typing import Any

import torch


def imagined(module: Any, head: Any, states: Any, horizon: int, *, through: bool) -> tuple[Any, Any]:
    """Return states (horizon + 1, rows, numbers) and actions (horizon, rows, numbers) of play in the model.

    With `through` the policy's gradients go through actions and states, else nothing has gradients.

    Example: `states, actions = imagined(module, head, begun, 15, through=False)`
    """
    seen, acts = [states], []
    with torch.set_grad_enabled(through):
        for _ in range(horizon):
            # What a policy is to do in a state must not change how the state came to be.
            action = head.sample(module["actor"](seen[-1].detach()))
            acts.append(action)
            seen.append(module["space"].imagine(seen[-1], action))
    return torch.stack(seen), torch.stack(acts)


def lambda_returns(rewards: Any, goings: Any, values: Any, lambda_: float) -> Any:
    """Return what is to be expected after each step, (steps, rows).

    `rewards` and `goings` (the discount of what follows) are of the states after the steps, `values` of them too:
    equation 4 of Hafner et al. (2021), R = r + going ((1 - lambda) v + lambda R').

    Example: `lambda_returns(torch.ones(3, 1), torch.ones(3, 1), torch.zeros(3, 1), 0.95)`
    """
    later, made = values[-1], []
    for reward, going, value in zip(reversed(rewards), reversed(goings), reversed(values), strict=True):
        later = reward + going * ((1 - lambda_) * value + lambda_ * later)
        made.append(later)
    return torch.stack(made[::-1])
