"""What a world model's latent state is drawn from: choices, or normal distributions."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch.nn import functional


class Latents(ABC):
    """How a network's outputs are a distribution of latent states."""

    inputs: int  # how many outputs of the network it takes
    size: int  # how many numbers a latent state has

    @abstractmethod
    def sample(self, outputs: Any) -> Any:
        """Return latent states, drawn so that gradients go through them."""

    @abstractmethod
    def divergence(self, outputs: Any, others: Any) -> Any:
        """Return Kullback and Leibler's divergence of the distributions `outputs` from `others`."""


class CategoricalLatents(Latents):
    """`count` choices among `classes` each, with straight-through gradients (Hafner et al., 2021).

    A part `mixed` of each distribution is uniform, so that no divergence is infinite (Hafner et al., 2023).

    Example: `CategoricalLatents(4, 4).sample(torch.zeros(8, 16))  # of the shape 8, 16`
    """

    def __init__(self, count: int, classes: int, mixed: float = 0.01) -> None:
        self.count, self.classes, self.mixed = count, classes, mixed
        self.inputs = self.size = count * classes

    def logs(self, outputs: Any) -> Any:
        """Return the logarithms of the probabilities, (…, count, classes)."""
        return self.chances(outputs).log()

    def chances(self, outputs: Any) -> Any:
        """Return the probabilities, (…, count, classes)."""
        chances = torch.softmax(outputs.unflatten(-1, (self.count, self.classes)), -1)
        return torch.add(chances * (1 - self.mixed), self.mixed / self.classes)

    def sample(self, outputs: Any) -> Any:
        """Return ones and zeros."""
        chances = self.chances(outputs)
        # Of exponential times with these rates each is the least as often as its rate says.
        race = torch.empty_like(chances).exponential_()
        drawn = functional.one_hot((chances.detach() / race).argmax(-1), self.classes).float()
        if not chances.requires_grad:
            return drawn.flatten(-2)
        return (drawn + chances - chances.detach()).flatten(-2)

    def divergence(self, outputs: Any, others: Any) -> Any:
        """Return the divergences, summed over the choices."""
        logs, theirs = self.logs(outputs), self.logs(others)
        return (logs.exp() * (logs - theirs)).sum((-1, -2))


class NormalLatents(Latents):
    """`size` numbers, each normal by itself, with a spread of at least `least` (Hafner et al., 2020).

    Example: `NormalLatents(30).sample(torch.zeros(8, 60))  # of the shape 8, 30`
    """

    def __init__(self, size: int, least: float = 0.1) -> None:
        self.size, self.inputs, self._least = size, 2 * size, least

    def parts(self, outputs: Any) -> tuple[Any, Any]:
        """Return means and spreads."""
        means, spreads = outputs.chunk(2, -1)
        return means, functional.softplus(spreads) + self._least

    def sample(self, outputs: Any) -> Any:
        """Return numbers."""
        means, spreads = self.parts(outputs)
        return means + spreads * torch.randn_like(means)

    def divergence(self, outputs: Any, others: Any) -> Any:
        """Return the divergences, summed over the numbers."""
        means, spreads = self.parts(outputs)
        theirs, wide = self.parts(others)
        ratio = (spreads / wide).square()
        return 0.5 * (ratio + ((means - theirs) / wide).square() - 1 - ratio.log()).sum(-1)
