"""Distributions of actions: of choices, and of real numbers. In NumPy to draw, in torch to learn."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import gymnasium
import numpy as np
import torch

from shoal.errors import ConfigError

_LOG_2PI = math.log(2 * math.pi)


class Distribution(ABC):
    """How a network's outputs are a distribution of the actions of a space."""

    inputs: int  # how many outputs of the network it takes

    @abstractmethod
    def sample(self, inputs: Any, random: np.random.Generator) -> tuple[Any, Any]:
        """Return (actions, logarithms of their probabilities) that are drawn, one a row; arrays."""

    @abstractmethod
    def best(self, inputs: Any) -> Any:
        """Return the most likely actions; arrays."""

    @abstractmethod
    def log_probability(self, inputs: Any, actions: Any) -> Any:
        """Return the logarithms of actions' probabilities; tensors."""

    @abstractmethod
    def entropy(self, inputs: Any) -> Any:
        """Return the entropies; tensors."""

    @abstractmethod
    def divergence(self, before: Any, after: Any) -> Any:
        """Return Kullback and Leibler's divergence of distributions from those before; tensors."""


class Choices(Distribution):
    """One of `count` choices, by their logits."""

    def __init__(self, count: int) -> None:
        self.inputs = count

    def sample(self, inputs: Any, random: np.random.Generator) -> tuple[Any, Any]:
        """Draw by Gumbel's trick (Gumbel, 1954): the greatest of logits with noise."""
        actions = (inputs + random.gumbel(size=inputs.shape)).argmax(axis=1)
        shifted = inputs - inputs.max(axis=1, keepdims=True)
        logs = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return actions, logs[np.arange(len(actions)), actions]

    def best(self, inputs: Any) -> Any:
        """Return the choices of the greatest logits."""
        return inputs.argmax(axis=1)

    def log_probability(self, inputs: Any, actions: Any) -> Any:
        """Return the logarithms of the choices' probabilities."""
        return -torch.nn.functional.cross_entropy(inputs, actions.long(), reduction="none")

    def entropy(self, inputs: Any) -> Any:
        """Return the entropies."""
        logs = torch.log_softmax(inputs, -1)
        return -(logs.exp() * logs).sum(-1)

    def divergence(self, before: Any, after: Any) -> Any:
        """Return the divergences."""
        old, new = torch.log_softmax(before, -1), torch.log_softmax(after, -1)
        return (old.exp() * (old - new)).sum(-1)


class Normals(Distribution):
    """Real numbers, each normal by itself: the first half of the inputs are means, the others logarithms of spreads."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.inputs = 2 * count

    def sample(self, inputs: Any, random: np.random.Generator) -> tuple[Any, Any]:
        """Draw numbers."""
        means, logs = inputs[:, : self._count], inputs[:, self._count :]
        noise = random.standard_normal(means.shape).astype(np.float32)
        return means + np.exp(logs) * noise, -(0.5 * noise**2 + logs + 0.5 * _LOG_2PI).sum(axis=1)

    def best(self, inputs: Any) -> Any:
        """Return the means."""
        return inputs[:, : self._count]

    def log_probability(self, inputs: Any, actions: Any) -> Any:
        """Return the logarithms of the densities."""
        means, logs = inputs.split(self._count, -1)
        return -(0.5 * ((actions - means) / logs.exp()) ** 2 + logs + 0.5 * _LOG_2PI).sum(-1)

    def entropy(self, inputs: Any) -> Any:
        """Return the entropies."""
        return (inputs[:, self._count :] + 0.5 * (1 + _LOG_2PI)).sum(-1)

    def divergence(self, before: Any, after: Any) -> Any:
        """Return the divergences."""
        old, old_logs = before.split(self._count, -1)
        new, new_logs = after.split(self._count, -1)
        squares = (2 * old_logs).exp() + (old - new) ** 2
        return (new_logs - old_logs + squares / (2 * (2 * new_logs).exp()) - 0.5).sum(-1)


def distribution_of(space: gymnasium.Space[Any]) -> Distribution:
    """Return the distribution for a space of actions. Raises ConfigError for a space that has none.

    Example: `distribution_of(gymnasium.spaces.Discrete(2)).inputs  # 2`
    """
    if isinstance(space, gymnasium.spaces.Discrete):
        return Choices(int(space.n))
    if isinstance(space, gymnasium.spaces.Box) and np.issubdtype(space.dtype, np.floating):
        return Normals(math.prod(space.shape))
    raise ConfigError(f"actions must be of Discrete or of Box with real numbers, not of {space}")
