"""A policy and a value function, each a multilayer perceptron, for observations that are flat arrays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import nn

ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class ActorCritic(nn.Module):  # type: ignore[misc]  # torch comes without types here
    """Gives for observations the inputs of a distribution of actions, and how much return is to be expected.

    Parameters: `inputs` is the length of an observation, `outputs` how many inputs the distribution has, `hidden` the
    widths of the layers, `activation` is "tanh" or "relu". With `shared` both have all but their last layer in common.
    `free_spread` leaves the spread of a normal distribution to be learned apart from observations.

    Example: `logits, values = ActorCritic(4, 2, (64, 64))(torch.zeros(1, 4))`
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        hidden: Sequence[int] = (256, 256),
        activation: str = "tanh",
        shared: bool = False,
    ) -> None:
        super().__init__()
        kind = ACTIVATIONS[activation]
        self.activation = activation
        self.body = _layers(inputs, hidden, kind)
        self.value_body = self.body if shared else _layers(inputs, hidden, kind)
        width = hidden[-1] if hidden else inputs
        self.policy = _scaled(nn.Linear(width, outputs), 0.01)
        self.value = _scaled(nn.Linear(width, 1), 1.0)

    def forward(self, observations: Any) -> tuple[Any, Any]:
        """Return (inputs of the distribution, values) of observations, one a row."""
        return self.policy(self.body(observations)), self.value(self.value_body(observations)).squeeze(-1)

    def arrays(self) -> dict[str, Any]:
        """Return the weights as arrays, by the names of the layers: what `ArrayPolicy` computes with."""
        return {
            "activation": self.activation,
            "body": _weights(self.body),
            "value_body": _weights(self.value_body),
            "policy": _weights(nn.Sequential(self.policy))[0],
            "value": _weights(nn.Sequential(self.value))[0],
        }


class ArrayPolicy:
    """The same network in NumPy: for a few observations at a time it takes a fraction of torch's time.

    Example: `logits, values = ArrayPolicy(module.arrays())(np.zeros((1, 4), np.float32))`
    """

    def __init__(self, arrays: dict[str, Any]) -> None:
        self._arrays = arrays
        self._activate = np.tanh if arrays["activation"] == "tanh" else _relu

    def __call__(self, observations: Any) -> tuple[Any, Any]:
        """Return (inputs of the distribution, values) of observations, one a row."""
        arrays = self._arrays
        # Of a central network the policy sees the first numbers only, values see all.
        body = self._through(arrays["body"], observations[:, : arrays.get("own")])
        shared = arrays["value_body"] is arrays["body"]
        value_body = body if shared else self._through(arrays["value_body"], observations)
        weight, bias = arrays["policy"]
        value_weight, value_bias = arrays["value"]
        return body @ weight + bias, (value_body @ value_weight + value_bias)[:, 0]

    def _through(self, layers: Any, values: Any) -> Any:
        for weight, bias in layers:
            values = self._activate(values @ weight + bias)
        return values


def _relu(values: Any) -> Any:
    return np.maximum(values, 0)


def _layers(inputs: int, hidden: Sequence[int], kind: type[nn.Module]) -> nn.Sequential:
    made: list[nn.Module] = []
    for width in hidden:
        made += [_scaled(nn.Linear(inputs, width), 2**0.5), kind()]
        inputs = width
    return nn.Sequential(*made)


def _scaled(layer: nn.Linear, gain: float) -> nn.Linear:
    """Orthogonal weights, as PPO's implementations have them (Huang et al., 2022, detail 2)."""
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer


def _weights(layers: nn.Sequential) -> list[tuple[Any, Any]]:
    return [
        (layer.weight.detach().cpu().numpy().T.copy(), layer.bias.detach().cpu().numpy().copy())
        for layer in layers
        if isinstance(layer, nn.Linear)
    ]
