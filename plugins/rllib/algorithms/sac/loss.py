"""What SAC minimises, for real actions and for choices."""

from __future__ import annotations

from typing import Any

import torch

from shoal.rllib.modules.continuous import squashed


def critic_loss(values: Any, targets: Any, weights: Any) -> tuple[Any, Any]:
    """Return the loss of several networks' values (a row each), and how far off each transition is on average.

    Equation 5 of Haarnoja et al. (2018).

    Example: `loss, errors = critic_loss(torch.zeros(2, 8), torch.ones(8), torch.ones(8))`
    """
    errors = values - targets
    return 0.5 * (weights * errors.square()).mean(1).sum(), errors.detach().abs().mean(0)


def later_values(module: Any, batch: dict[str, Any], alpha: Any, discrete: bool) -> Any:
    """Return what is to come after each transition: values of the policy's next action, less what it knew of it.

    Example: `targets = rewards + discounts * later_values(module, batch, alpha, discrete=False)`
    """
    after = batch["next_observations"]
    outputs = module["actor"](after)
    if discrete:
        logs = torch.log_softmax(outputs, -1)
        values = module["target"](after).min(0).values
        return (logs.exp() * (values - alpha * logs)).sum(-1)
    actions, logs = squashed(outputs)
    values = module["target"](torch.cat([after, actions], -1)).min(0).values
    return values[:, 0] - alpha * logs


def actor_loss(module: Any, batch: dict[str, Any], alpha: Any, discrete: bool) -> tuple[Any, Any]:
    """Return the policy's loss and the logarithms of its actions' probabilities, on average a row.

    Equation 9 of Haarnoja et al. (2018); for choices its expectation (Christodoulou, 2019, equation 12).

    Example: `loss, logs = actor_loss(module, batch, 0.2, discrete=False)`
    """
    seen = batch["observations"]
    outputs = module["actor"](seen)
    if discrete:
        logs = torch.log_softmax(outputs, -1)
        chances = logs.exp()
        with torch.no_grad():
            values = module["critics"](seen).min(0).values
        return (chances * (alpha * logs - values)).sum(-1).mean(), (chances * logs).sum(-1)
    actions, logs = squashed(outputs)
    values = module["critics"](torch.cat([seen, actions], -1)).min(0).values[:, 0]
    return (alpha * logs - values).mean(), logs
