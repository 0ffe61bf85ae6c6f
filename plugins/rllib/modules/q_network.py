"""Values of discrete actions, or distributions of their returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np
import torch
from torch import nn

from shoal.rllib.modules.layers import ArrayLayers, NoisyLinear, arrays_of, layers


@attrs.frozen(kw_only=True)
class QShape:
    """What a network of values looks like.

    Parameters: `hidden` widths that all share, `heads` widths of the last part; `dueling` parts it into advantages and
    a value (Wang et al., 2016); with more than one of `atoms` the network gives logits of returns between `lowest` and
    `highest` (Bellemare et al., 2017); `sigma0` is the first spread of noisy layers (0: there are none).
    """

    inputs: int
    actions: int
    hidden: Sequence[int]
    activation: str
    heads: Sequence[int] = ()
    dueling: bool = True
    atoms: int = 1
    lowest: float = -10.0
    highest: float = 10.0
    sigma0: float = 0.0


class QNetwork(nn.Module):  # type: ignore[misc]
    """Gives for observations a row of values, one for each action.

    Example: `QNetwork(QShape(inputs=4, actions=2, hidden=(64,), activation="relu"))(torch.zeros(1, 4))`
    """

    def __init__(self, shape: QShape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.hidden[-1] if shape.hidden else shape.inputs
        outputs = shape.actions * shape.atoms
        self.body = layers(shape.inputs, shape.hidden, shape.activation)
        self.advantage = layers(width, shape.heads, "relu", outputs, shape.sigma0)
        self.value = layers(width, shape.heads, "relu", shape.atoms, shape.sigma0) if shape.dueling else None
        self.register_buffer("support", torch.linspace(shape.lowest, shape.highest, max(2, shape.atoms)))

    def logits(self, observations: Any) -> Any:
        """Return for each row and action the logits of the atoms; where there is one atom, the value."""
        seen = self.body(observations)
        made = self.advantage(seen).view(seen.shape[0], self.shape.actions, self.shape.atoms)
        if self.value is None:
            return made
        value = self.value(seen).view(seen.shape[0], 1, self.shape.atoms)
        return value + made - made.mean(1, keepdim=True)

    def forward(self, observations: Any) -> Any:
        """Return the values, a column an action."""
        return self.values_of(self.logits(observations))

    def values_of(self, logits: Any) -> Any:
        """Return the values that logits stand for."""
        if self.shape.atoms == 1:
            return logits[..., 0]
        return (torch.softmax(logits, -1) * self.support).sum(-1)

    def make_noisy(self, noisy: bool) -> None:
        """Let noisy layers have noise or none."""
        for each in self.modules():
            if isinstance(each, NoisyLinear):
                each.noisy = noisy

    def arrays(self) -> dict[str, Any]:
        """Return the weights as arrays: what `QPolicy` computes with."""
        return {
            "shape": self.shape,
            "body": arrays_of(self.body),
            "advantage": arrays_of(self.advantage),
            "value": arrays_of(self.value) if self.value is not None else None,
        }


class QPolicy:
    """Takes the best action, or with a chance of `epsilon` any; a network with noise explores by its noise.

    Example: `QPolicy(network.arrays(), 0.05).actions(observations, random)`
    """

    def __init__(self, arrays: dict[str, Any], epsilon: float = 0.0) -> None:
        self._arrays = arrays
        self.epsilon = epsilon

    def actions(self, observations: Any, random: np.random.Generator, explore: bool = True) -> Any:
        """Return an action for each row."""
        epsilon = self.epsilon
        actions = self._arrays["shape"].actions
        if explore and epsilon >= 1.0:
            return random.integers(actions, size=len(observations))
        best = self.values(observations, random if explore else None).argmax(1)
        if explore and epsilon:
            free = random.random(len(best)) < epsilon
            best = np.where(free, random.integers(actions, size=len(best)), best)
        return best

    def exploring(self, amount: float) -> QPolicy:
        """Return the same policy with another `epsilon`."""
        return QPolicy(self._arrays, amount)

    def values(self, observations: Any, random: np.random.Generator | None = None) -> Any:
        """Return the values, a column an action."""
        arrays, shape = self._arrays, self._arrays["shape"]
        seen = ArrayLayers(arrays["body"])(observations)
        made = ArrayLayers(arrays["advantage"])(seen, random).reshape(len(seen), shape.actions, shape.atoms)
        if arrays["value"] is not None:
            value = ArrayLayers(arrays["value"])(seen, random).reshape(len(seen), 1, shape.atoms)
            made = value + made - made.mean(1, keepdims=True)
        if shape.atoms == 1:
            return made[..., 0]
        weights = np.exp(made - made.max(-1, keepdims=True))
        support = np.linspace(shape.lowest, shape.highest, shape.atoms, dtype=np.float32)
        return (weights * support).sum(-1) / weights.sum(-1)

    def priorities(self, rows: dict[str, Any]) -> Any:
        """Return how far off the values of transitions are: their first priorities (Horgan et al., 2018)."""
        now = self.values(rows["observations"])[np.arange(len(rows["actions"])), rows["actions"]]
        later = self.values(rows["next_observations"]).max(1)
        return np.abs(rows["rewards"] + rows["discounts"] * later - now)
