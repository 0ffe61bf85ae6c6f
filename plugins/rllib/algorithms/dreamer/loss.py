"""What the first Dreamer minimises: of its model, of its policy and of its values."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from shoal.rllib.world_models.imagination import lambda_returns


def world_loss(
    module: Any, batch: dict[str, Any], *, free: float, weight: float
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the model's loss (equation 10 of Hafner et al., 2020), the batch's states, and the loss's parts.

    Normal distributions with a spread of 1 are predicted, and whether an episode goes on; `free` nats of divergence
    cost nothing, the rest has a `weight`.

    Example: `loss, states, parts = world_loss(module, batch, free=3.0, weight=1.0)`
    """
    space = module["space"]
    states, posterior, prior = space.observe(
        module["encoder"](batch["observations"]), batch["actions"], batch["first"]
    )
    image = 0.5 * (module["decoder"](states) - batch["observations"]).square().sum(-1).mean()
    reward = 0.5 * (module["reward"](states)[..., 0] - batch["rewards"]).square().mean()
    going = functional.binary_cross_entropy_with_logits(
        module["going"](states)[..., 0], 1 - batch["terminated"]
    )
    divergence = space.latents.divergence(posterior, prior).mean()
    loss = image + reward + going + weight * divergence.clamp(min=free)
    parts = {
        "model_loss": loss,
        "image_loss": image,
        "reward_loss": reward,
        "continue_loss": going,
        "divergence": divergence,
    }
    return loss, states, {name: each.detach() for name, each in parts.items()}


def expected(module: Any, states: Any, alive: Any, gamma: float, lambda_: float) -> tuple[Any, Any]:
    """Return the returns of imagined states (steps + 1, rows, numbers) before each step, with the gradients that the
    states have (equation 6), and the weights: how likely an episode goes on until then, discounted.

    `alive` is 0 for rows that begin where an episode has terminated.

    Example: `returns, weights = expected(module, states, alive, 0.99, 0.95)`
    """
    rewards = module["reward"](states[1:])[..., 0]
    goings = gamma * torch.sigmoid(module["going"](states[1:])[..., 0])
    returns = lambda_returns(rewards, goings, module["critic"](states[1:])[..., 0], lambda_)
    weights = torch.cat([alive[None], goings[:-1]]).detach().cumprod(0)
    return returns, weights


def critic_loss(module: Any, states: Any, returns: Any, weights: Any) -> Any:
    """Return the values' loss (equation 8).

    Example: `critic_loss(module, states[:-1].detach(), returns.detach(), weights).backward()`
    """
    return (weights * 0.5 * (module["critic"](states)[..., 0] - returns).square()).mean()
