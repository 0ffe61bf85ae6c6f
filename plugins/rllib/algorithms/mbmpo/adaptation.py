"""Policies that adapt: one set of weights for each model, and the losses that they adapt and are learned by."""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs
import torch
from torch import nn

from shoal.rllib.modules.distributions import Normals

Weights: TypeAlias = list[
    Any
]  # of each layer (models, inputs, outputs), then its biases (models, 1, outputs)
LEAST_SPREAD = (
    -2.0
)  # of the logarithms of actions' spreads: slopes of narrower ones would throw policies far away


@attrs.frozen
class Paths:
    """What policies saw in their models: (models, rows, …), the rows those of all steps of all trajectories."""

    observations: Any
    actions: Any
    log_probabilities: Any
    outputs: Any
    advantages: Any


def stacked(network: nn.Sequential, count: int) -> Weights:
    """Return the weights of a network, once for each of `count` models; gradients go to the network.

    Example: `stacked(network, 5)`
    """
    made: Weights = []
    for each in network:
        if isinstance(each, nn.Linear):
            made.append(each.weight.T.expand(count, -1, -1))
            made.append(each.bias.expand(count, 1, -1))
    return made


def outputs_of(network: nn.Sequential, weights: Weights, observations: Any) -> Any:
    """Return what the network gives with each model's weights, for its observations (models, rows, numbers).

    Example: `outputs_of(network, stacked(network, 5), torch.zeros(5, 8, 4))`
    """
    left = list(weights)
    for each in network:
        if isinstance(each, nn.Linear):
            weight, bias, *left = left
            observations = torch.baddbmm(bias, observations, weight)
        else:
            observations = each(observations)
    means, spreads = observations.chunk(2, -1)
    return torch.cat([means, spreads.clamp(min=LEAST_SPREAD)], -1)


def inner_loss(network: nn.Sequential, distribution: Normals, weights: Weights, paths: Paths) -> Any:
    """Return each model's loss of what a policy saw in it: its slope is that of policy gradients (equation 4 of Clavera
    et al., 2018), also where the weights have moved since.

    Example: `inner_loss(network, distribution, weights, paths).sum().backward()`
    """
    outputs = outputs_of(network, weights, paths.observations)
    logs = distribution.log_probability(outputs, paths.actions)
    return -((logs - paths.log_probabilities).exp() * paths.advantages).mean(1)


def adapted(
    network: nn.Sequential,
    distribution: Normals,
    weights: Weights,
    paths: list[Paths],
    lr: float,
    *,
    learns: bool,
) -> Weights:
    """Return each model's weights after a step of gradients for each of `paths` (equation 3).

    With `learns` gradients go through the steps to the weights before.

    Example: `adapted(network, distribution, stacked(network, 5), [paths], 0.01, learns=True)`
    """
    for each in paths:
        if not learns:
            weights = [weight.detach().requires_grad_() for weight in weights]
        loss = inner_loss(network, distribution, weights, each).sum()
        slopes = torch.autograd.grad(loss, weights, create_graph=learns)
        weights = [weight - lr * slope for weight, slope in zip(weights, slopes, strict=True)]
    return weights if learns else [weight.detach() for weight in weights]


def outer_loss(
    network: nn.Sequential,
    distribution: Normals,
    weights: Weights,
    paths: Paths,
    *,
    clip: float,
    divergence: float,
    entropy: float,
) -> tuple[Any, Any]:
    """Return the mean loss of adapted policies, by what they saw themselves (equation 2), and their mean divergence
    from what they were then. Ratios are clipped, and divergence costs, as in PPO, where the paper has a trust region.

    Example: `loss, moved = outer_loss(network, distribution, weights, paths, clip=0.5, divergence=5e-4, entropy=0.0)`
    """
    outputs = outputs_of(network, weights, paths.observations)
    flat = outputs.flatten(0, 1)
    logs = distribution.log_probability(outputs, paths.actions)
    ratio = (logs - paths.log_probabilities).exp()
    gains = torch.min(ratio * paths.advantages, ratio.clamp(1 - clip, 1 + clip) * paths.advantages)
    moved = distribution.divergence(paths.outputs.flatten(0, 1), flat).mean()
    return -gains.mean() + divergence * moved - entropy * distribution.entropy(flat).mean(), moved.detach()
