"""Actions that policies take in imagination: choices as ones and zeros, or real numbers between -1 and 1."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from shoal.rllib.world_models.latents import CategoricalLatents

_LOG_2PI = math.log(2 * math.pi)


class Head(ABC):
    """How a network's outputs are a distribution of actions."""

    inputs: int  # how many outputs of the network it takes
    size: int  # how many numbers an action has

    @abstractmethod
    def sample(self, outputs: Any) -> Any:
        """Return actions, drawn so that gradients go through them."""

    @abstractmethod
    def best(self, outputs: Any) -> Any:
        """Return the most likely actions."""

    @abstractmethod
    def any(self, rows: int, random: np.random.Generator) -> Any:
        """Return any actions, an array."""

    @abstractmethod
    def log_probability(self, outputs: Any, actions: Any) -> Any:
        """Return the logarithms of the actions' probabilities or densities."""

    @abstractmethod
    def entropy(self, outputs: Any) -> Any:
        """Return the entropies."""


class ChoiceHead(Head):
    """One of `count` choices; a part of 1 % of each distribution is uniform.

    Example: `ChoiceHead(2).sample(torch.zeros(8, 2))`
    """

    def __init__(self, count: int) -> None:
        self.inputs = self.size = count
        self._choice = CategoricalLatents(1, count)

    def sample(self, outputs: Any) -> Any:
        """Return ones and zeros."""
        return self._choice.sample(outputs)

    def best(self, outputs: Any) -> Any:
        """Return the choices of the greatest outputs."""
        return functional.one_hot(outputs.argmax(-1), self.size).float()

    def any(self, rows: int, random: np.random.Generator) -> Any:
        """Return any choices."""
        return np.eye(self.size, dtype=np.float32)[random.integers(self.size, size=rows)]

    def log_probability(self, outputs: Any, actions: Any) -> Any:
        """Return the logarithms of the choices' probabilities."""
        return (self._choice.logs(outputs).squeeze(-2) * actions).sum(-1)

    def entropy(self, outputs: Any) -> Any:
        """Return the entropies."""
        logs = self._choice.logs(outputs).squeeze(-2)
        return -(logs.exp() * logs).sum(-1)


class BoundedNormalHead(Head):
    """Normal numbers with means between -1 and 1 and spreads between 0.1 and 1 (Hafner et al., 2023).

    Example: `BoundedNormalHead(1).sample(torch.zeros(8, 2))`
    """

    def __init__(self, size: int) -> None:
        self.size, self.inputs = size, 2 * size

    def parts(self, outputs: Any) -> tuple[Any, Any]:
        """Return means and spreads."""
        means, spreads = outputs.chunk(2, -1)
        return torch.tanh(means), 0.1 + 0.9 * torch.sigmoid(spreads + 2)

    def sample(self, outputs: Any) -> Any:
        """Return numbers, those beyond the ends cut off."""
        means, spreads = self.parts(outputs)
        return (means + spreads * torch.randn_like(means)).clamp(-1, 1)

    def best(self, outputs: Any) -> Any:
        """Return the means."""
        return self.parts(outputs)[0]

    def any(self, rows: int, random: np.random.Generator) -> Any:
        """Return any numbers."""
        return random.uniform(-1, 1, (rows, self.size)).astype(np.float32)

    def log_probability(self, outputs: Any, actions: Any) -> Any:
        """Return the logarithms of the densities; of an end that of all that is cut off there."""
        normal = torch.distributions.Normal(*self.parts(outputs), validate_args=False)
        inside = normal.log_prob(actions)
        below = normal.cdf(torch.full_like(actions, -1.0)).clamp(min=1e-8).log()
        above = (1 - normal.cdf(torch.ones_like(actions))).clamp(min=1e-8).log()
        return torch.where(actions <= -1, below, torch.where(actions >= 1, above, inside)).sum(-1)

    def entropy(self, outputs: Any) -> Any:
        """Return the entropies of the numbers before they are cut off."""
        return (self.parts(outputs)[1].log() + 0.5 * (1 + _LOG_2PI)).sum(-1)


class SquashedHead(Head):
    """Normal numbers that are squashed by tanh, whose spreads are wide at first (Hafner et al., 2020).

    Example: `SquashedHead(1).sample(torch.zeros(8, 2))`
    """

    def __init__(self, size: int, spread: float = 5.0, scale: float = 5.0, least: float = 1e-4) -> None:
        self.size, self.inputs = size, 2 * size
        self._spread, self._scale, self._least = math.log(math.expm1(spread)), scale, least

    def parts(self, outputs: Any) -> tuple[Any, Any]:
        """Return means and spreads of the numbers before they are squashed."""
        means, spreads = outputs.chunk(2, -1)
        return self._scale * torch.tanh(means / self._scale), functional.softplus(
            spreads + self._spread
        ) + self._least

    def sample(self, outputs: Any) -> Any:
        """Return numbers."""
        means, spreads = self.parts(outputs)
        return torch.tanh(means + spreads * torch.randn_like(means))

    def best(self, outputs: Any) -> Any:
        """Return the squashed means."""
        return torch.tanh(self.parts(outputs)[0])

    def any(self, rows: int, random: np.random.Generator) -> Any:
        """Return any numbers."""
        return random.uniform(-1, 1, (rows, self.size)).astype(np.float32)

    def log_probability(self, outputs: Any, actions: Any) -> Any:
        """Return the logarithms of the densities."""
        free = torch.atanh(actions.clamp(-0.999999, 0.999999))
        normal = torch.distributions.Normal(*self.parts(outputs), validate_args=False)
        return (normal.log_prob(free) - 2 * (math.log(2) - free - functional.softplus(-2 * free))).sum(-1)

    def entropy(self, outputs: Any) -> Any:
        """Return an estimate of the entropies, by one draw each."""
        return -self.log_probability(outputs, self.sample(outputs))
