"""Policies of real actions between -1 and 1, and values of them; policies of choices beside."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from shoal.rllib.modules.actor_critic import ACTIVATIONS
from shoal.rllib.modules.layers import ArrayLayers, arrays_of, layers

_LEAST, _MOST = -20.0, 2.0  # logarithms of spreads (Haarnoja et al., 2018)


class Critics(nn.Module):  # type: ignore[misc]
    """`count` networks of one shape, computed together: one product of matrices a layer for all of them.

    Example: `Critics(2, 4, 1, (64, 64))(torch.zeros(8, 4))  # of the shape 2, 8, 1`
    """

    def __init__(
        self, count: int, inputs: int, outputs: int, hidden: Sequence[int], activation: str = "relu"
    ) -> None:
        super().__init__()
        self._activate = ACTIVATIONS[activation]()
        widths = [inputs, *hidden, outputs]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in itertools.pairwise(widths):
            bound = before**-0.5
            self.weights.append(nn.Parameter(torch.empty(count, before, after).uniform_(-bound, bound)))
            self.biases.append(nn.Parameter(torch.empty(count, 1, after).uniform_(-bound, bound)))

    def forward(self, values: Any) -> Any:
        """Return for each network a row for each row of the inputs; with three dimensions each has its own inputs."""
        if values.dim() == 2:
            values = values.expand(len(self.weights[0]), *values.shape)
        last = len(self.weights) - 1
        for place, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            values = torch.baddbmm(bias, values, weight)
            if place < last:
                values = self._activate(values)
        return values


def squashed(outputs: Any) -> tuple[Any, Any]:
    """Draw actions of a normal distribution that is squashed by tanh; return them and the logarithms of their
    densities.

    Appendix C of Haarnoja et al. (2018), in the form that has no loss of digits near the ends.

    Example: `actions, logs = squashed(torch.zeros(8, 2))`
    """
    means, spreads = outputs.chunk(2, -1)
    spreads = spreads.clamp(_LEAST, _MOST)
    noise = torch.randn_like(means)
    free = means + spreads.exp() * noise
    logs = -0.5 * noise.square() - spreads - 0.9189385332046727
    logs = logs - 2 * (0.6931471805599453 - free - nn.functional.softplus(-2 * free))
    return torch.tanh(free), logs.sum(-1)


class SquashedPolicy:
    """Draws from a squashed normal distribution, in NumPy; `uniform` draws any action."""

    def __init__(self, arrays: list[Any], uniform: bool = False) -> None:
        self._layers, self._uniform = ArrayLayers(arrays), uniform

    def actions(self, observations: Any, random: np.random.Generator, explore: bool = True) -> Any:
        """Return an action for each row, between -1 and 1."""
        outputs = self._layers(observations)
        means, spreads = np.split(outputs, 2, axis=1)
        if not explore:
            return np.tanh(means)
        if self._uniform:
            return random.uniform(-1, 1, means.shape).astype(np.float32)
        noise = random.standard_normal(means.shape).astype(np.float32)
        return np.tanh(means + np.exp(np.clip(spreads, _LEAST, _MOST)) * noise)


class NormalPolicy:
    """Draws from a normal distribution whose ends are cut off, in NumPy; `least` bounds logarithms of spreads."""

    def __init__(self, arrays: list[Any], least: float = _LEAST) -> None:
        self._layers, self._least = ArrayLayers(arrays), least

    def actions(self, observations: Any, random: np.random.Generator, explore: bool = True) -> Any:
        """Return an action for each row, between -1 and 1."""
        means, spreads = np.split(self._layers(observations), 2, axis=1)
        if explore:
            noise = random.standard_normal(means.shape).astype(np.float32)
            means = means + np.exp(np.clip(spreads, self._least, _MOST)) * noise
        return np.clip(means, -1, 1)


def log_probability(outputs: Any, actions: Any, discrete: bool) -> Any:
    """Return the logarithms of the probabilities of choices by their logits, or of real actions' normal densities.

    Example: `log_probability(torch.zeros(8, 2), torch.zeros(8), discrete=True)`
    """
    if discrete:
        return torch.log_softmax(outputs, -1).gather(1, actions.long()[:, None])[:, 0]
    means, spreads = outputs.chunk(2, -1)
    spreads = spreads.clamp(
        -5.0, _MOST
    )  # data that one policy always answers alike has no density to be found
    return (-0.5 * ((actions - means) / spreads.exp()).square() - spreads - 0.9189385332046727).sum(-1)


class NoisyPolicy:
    """Takes one action, with normal noise of a spread while it explores; `uniform` draws any action.

    With `critic`, the arrays of a network of values, it tells how far off these are.
    """

    def __init__(
        self, arrays: list[Any], spread: float, uniform: bool = False, critic: list[Any] | None = None
    ) -> None:
        self._layers, self._spread, self._uniform = ArrayLayers(arrays), spread, uniform
        self._arrays, self._critic = arrays, critic

    def exploring(self, amount: float) -> NoisyPolicy:
        """Return the same policy with noise of another spread."""
        return NoisyPolicy(self._arrays, amount, self._uniform, self._critic)

    def actions(self, observations: Any, random: np.random.Generator, explore: bool = True) -> Any:
        """Return an action for each row, between -1 and 1."""
        best = np.tanh(self._layers(observations))
        if not explore:
            return best
        if self._uniform:
            return random.uniform(-1, 1, best.shape).astype(np.float32)
        noise = self._spread * random.standard_normal(best.shape).astype(np.float32)
        return np.clip(best + noise, -1, 1)

    def priorities(self, rows: dict[str, Any]) -> Any:
        """Return how far off the values of transitions are; None where there is no network of values."""
        if self._critic is None:
            return None
        later = np.tanh(self._layers(rows["next_observations"]))
        now = self._value(rows["observations"], rows["actions"])
        after = self._value(rows["next_observations"], later)
        return np.abs(rows["rewards"] + rows["discounts"] * after - now)

    def _value(self, observations: Any, actions: Any) -> Any:
        assert self._critic is not None
        return ArrayLayers(self._critic)(np.concatenate([observations, actions], 1))[:, 0]


class ChoicePolicy:
    """Draws a choice by its logits, in NumPy; `uniform` draws any."""

    def __init__(self, arrays: list[Any], uniform: bool = False) -> None:
        self._layers, self._uniform = ArrayLayers(arrays), uniform

    def actions(self, observations: Any, random: np.random.Generator, explore: bool = True) -> Any:
        """Return an action for each row."""
        logits = self._layers(observations)
        if not explore:
            return logits.argmax(1)
        if self._uniform:
            return random.integers(logits.shape[1], size=len(logits))
        return (logits + random.gumbel(size=logits.shape)).argmax(1)


def policy_layers(inputs: int, outputs: int, hidden: Sequence[int], activation: str) -> nn.Sequential:
    """Return a policy's network, whose last layer is small, so that all actions are likely at first."""
    made = layers(inputs, hidden, activation, outputs)
    with torch.no_grad():
        made[-1].weight.mul_(0.1)
        made[-1].bias.zero_()
    return made


def critic_arrays(critics: Critics) -> list[Any]:
    """Return the first network of several as what `ArrayLayers` computes with."""
    made: list[Any] = []
    for weight, bias in zip(critics.weights, critics.biases, strict=True):
        if made:
            made.append("relu" if isinstance(critics._activate, nn.ReLU) else "tanh")
        made.append((weight[0].detach().cpu().numpy().copy(), bias[0, 0].detach().cpu().numpy().copy()))
    return made


__all__ = [
    "ChoicePolicy",
    "Critics",
    "NoisyPolicy",
    "NormalPolicy",
    "SquashedPolicy",
    "arrays_of",
    "critic_arrays",
    "log_probability",
    "policy_layers",
    "squashed",
]
