"""What DreamerV3 minimises: of its model, of its policy and of its values."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional

from shoal.rllib.world_models.imagination import lambda_returns
from shoal.rllib.world_models.symlog import TwoHot


def world_loss(
    module: Any, batch: dict[str, Any], scaled: Any, *, free: float, dynamics: float, representation: float
) -> tuple[Any, Any, dict[str, Any]]:
    """Return the model's loss (equations 4 and 5 of Hafner et al., 2023), the batch's states, and the loss's parts.

    `scaled` is what observations go through, `free` nats of divergence cost nothing, `dynamics` and `representation`
    weigh the two sides of the divergence.

    Example: `loss, states, parts = world_loss(module, batch, symlog, free=1.0, dynamics=0.5, representation=0.1)`
    """
    seen, space = scaled(batch["observations"]), module["space"]
    states, posterior, prior = space.observe(module["encoder"](seen), batch["actions"], batch["first"])
    image = 0.5 * (module["decoder"](states) - seen).square().sum(-1).mean()
    reward = TwoHot().loss(module["reward"](states), batch["rewards"]).mean()
    going = functional.binary_cross_entropy_with_logits(
        module["going"](states)[..., 0], 1 - batch["terminated"]
    )
    divergence = space.latents.divergence
    towards = divergence(posterior.detach(), prior).clamp(min=free).mean()
    back = divergence(posterior, prior.detach()).clamp(min=free).mean()
    loss = image + reward + going + dynamics * towards + representation * back
    parts = {
        "WORLD_MODEL_L_total": loss,
        "WORLD_MODEL_L_decoder": image,
        "WORLD_MODEL_L_reward": reward,
        "WORLD_MODEL_L_continue": going,
        "WORLD_MODEL_L_dynamics": towards,
        "WORLD_MODEL_L_representation": back,
    }
    return loss, states, {name: each.detach() for name, each in parts.items()}


@torch.no_grad()  # type: ignore[untyped-decorator]
def expected(module: Any, states: Any, alive: Any, gamma: float, lambda_: float) -> tuple[Any, Any, Any]:
    """Return of imagined states (steps + 1, rows, numbers) the returns and the values (steps, rows) before each step,
    and the weights: how likely it is that an episode goes on until then, discounted. `alive` is 0 for rows that begin
    where an episode has terminated.

    Example: `returns, values, weights = expected(module, states, alive, 0.997, 0.95)`
    """
    hot = TwoHot()
    rewards = hot.mean(module["reward"](states[1:]))
    goings = gamma * torch.sigmoid(module["going"](states[1:])[..., 0])
    values = hot.mean(module["critic"](states))
    returns = lambda_returns(rewards, goings, values[1:], lambda_)
    weights = torch.cat([alive[None], goings[:-1]]).cumprod(0)
    return returns, values[:-1], weights


def actor_loss(
    module: Any, head: Any, states: Any, actions: Any, advantages: Any, weights: Any, entropy: float
) -> tuple[Any, Any]:
    """Return the policy's loss (equation 12), and its mean entropy.

    Example: `loss, spread = actor_loss(module, head, states[:-1], actions, advantages, weights, 3e-4)`
    """
    outputs = module["actor"](states)
    free = head.entropy(outputs)
    gains = advantages * head.log_probability(outputs, actions) + entropy * free
    return -(weights * gains).mean(), free.detach().mean()


def critic_loss(module: Any, states: Any, returns: Any, weights: Any) -> Any:
    """Return the values' loss (equation 10), towards returns and towards the critic's slow copy.

    Example: `critic_loss(module, states[:-1], returns, weights).backward()`
    """
    hot, logits = TwoHot(), module["critic"](states)
    with torch.no_grad():
        slow = hot.mean(module["critic_target"](states))
    return (weights * (hot.loss(logits, returns) + hot.loss(logits, slow))).mean()
