"""Fully connected layers: in torch to learn, in NumPy to act; plain ones and noisy ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from shoal.rllib.modules.actor_critic import ACTIVATIONS


class NoisyLinear(nn.Module):  # type: ignore[misc]  # torch comes without types here
    """A layer whose weights have noise of a spread that is learned: factorised noise (Fortunato et al., 2018).

    Example: `NoisyLinear(4, 2, sigma0=0.5)(torch.zeros(1, 4))`
    """

    def __init__(self, inputs: int, outputs: int, sigma0: float = 0.5) -> None:
        super().__init__()
        bound = inputs**-0.5
        self.weight = nn.Parameter(torch.empty(outputs, inputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.weight_spread = nn.Parameter(torch.full((outputs, inputs), sigma0 * bound))
        self.bias_spread = nn.Parameter(torch.full((outputs,), sigma0 * bound))
        self.noisy = True

    def forward(self, values: Any) -> Any:
        """Return the layer's values with noise that is drawn anew, or while `noisy` is False with none."""
        if not self.noisy:
            return nn.functional.linear(values, self.weight, self.bias)
        outputs, inputs = self.weight.shape
        noise = torch.randn(inputs + outputs, device=self.weight.device)
        noise = noise.sign() * noise.abs().sqrt()
        before, after = noise[:inputs], noise[inputs:]
        weight = self.weight + self.weight_spread * torch.outer(after, before)
        return nn.functional.linear(values, weight, self.bias + self.bias_spread * after)


def layers(
    inputs: int, widths: Sequence[int], activation: str, outputs: int | None = None, sigma0: float = 0.0
) -> nn.Sequential:
    """Return layers of some widths with activations between, and with `outputs` a last one that has none behind it.

    With `sigma0` they are noisy.

    Example: `layers(4, (64, 64), "relu", outputs=2)(torch.zeros(1, 4))`
    """

    def layer(before: int, after: int) -> nn.Module:
        return NoisyLinear(before, after, sigma0) if sigma0 else nn.Linear(before, after)

    made: list[nn.Module] = []
    for width in widths:
        made += [layer(inputs, width), ACTIVATIONS[activation]()]
        inputs = width
    if outputs is not None:
        made.append(layer(inputs, outputs))
    return nn.Sequential(*made)


def arrays_of(sequence: nn.Sequential) -> list[Any]:
    """Return what `ArrayLayers` computes with.

    Example: `ArrayLayers(arrays_of(layers(4, (8,), "tanh", 2)))(np.zeros((1, 4), np.float32))`
    """
    made: list[Any] = []
    for each in sequence:
        if isinstance(each, (nn.Linear, NoisyLinear)):
            parts = [each.weight, each.bias]
            if isinstance(each, NoisyLinear):
                parts += [each.weight_spread, each.bias_spread]
            made.append(tuple(part.detach().cpu().numpy().T.copy() for part in parts))
        else:
            made.append("tanh" if isinstance(each, nn.Tanh) else "relu")
    return made


class ArrayLayers:
    """Layers in NumPy. With `random` noisy layers have noise, without they have none."""

    def __init__(self, arrays: list[Any]) -> None:
        self._arrays = arrays

    def __call__(self, values: Any, random: np.random.Generator | None = None) -> Any:
        """Return the last layer's values for inputs in rows."""
        for each in self._arrays:
            if each == "relu":
                values = np.maximum(values, 0.0)
            elif each == "tanh":
                values = np.tanh(values)
            elif len(each) == 2 or random is None:
                values = values @ each[0] + each[1]
            else:
                weight, bias, weight_spread, bias_spread = each
                noise = random.standard_normal(sum(weight.shape)).astype(np.float32)
                noise = np.sign(noise) * np.sqrt(np.abs(noise))
                before, after = noise[: len(weight)], noise[len(weight) :]
                values = values @ (weight + weight_spread * np.outer(before, after))
                values = values + (bias + bias_spread * after)
        return values
