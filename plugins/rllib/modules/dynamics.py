"""Models of what follows on an action: several networks that learn the same from different parts of the data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from shoal.rllib.modules.continuous import Critics
from shoal.rllib.modules.optimizers import adam, step

_PATIENCE = 0.9  # how much of the average of errors is kept from one epoch to the next


class DynamicsEnsemble(nn.Module):  # type: ignore[misc]
    """`count` models of how observations change, in units of what was seen.

    Example: `DynamicsEnsemble(5, 4, 2, (64, 64))(observations, actions)  # of the shape 5, rows, 4`
    """

    def __init__(
        self, count: int, observation: int, action: int, hidden: Sequence[int], activation: str = "relu"
    ) -> None:
        super().__init__()
        self.count = count
        self.networks = Critics(count, observation + action, observation, hidden, activation)
        for name, size in (("input", observation + action), ("output", observation)):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_spread", torch.ones(size))

    def forward(self, observations: Any, actions: Any) -> Any:
        """Return next observations (models, rows, numbers); with three dimensions each model has its own inputs."""
        given = (torch.cat([observations, actions], -1) - self.input_mean) / self.input_spread
        return observations + self.networks(given) * self.output_spread + self.output_mean

    def measure(self, observations: Any, actions: Any, following: Any) -> None:
        """Take the units from data."""
        for name, values in (
            ("input", torch.cat([observations, actions], -1)),
            ("output", following - observations),
        ):
            getattr(self, f"{name}_mean").copy_(values.mean(0))
            getattr(self, f"{name}_spread").copy_(values.std(0).clamp(min=1e-3))

    def errors(self, observations: Any, actions: Any, following: Any) -> Any:
        """Return each model's mean squared error, in units of the changes; rows are as in `forward`."""
        missed = (self(observations, actions) - following) / self.output_spread
        return missed.square().mean((1, 2))


def fit(
    model: DynamicsEnsemble,
    data: Sequence[Any],
    random: np.random.Generator,
    *,
    epochs: int,
    batch: int,
    lr: float,
    held_out: float,
) -> tuple[int, float]:
    """Let all models learn observations, actions and next observations (tensors of rows), each in an order of its own.

    A part `held_out` of the rows is not learned from; learning ends when the errors of it do not fall any more on
    average. Return the number of epochs and the mean error of what was held out (of the rest, if nothing was).

    Example: `fit(model, (seen, acted, then), random, epochs=50, batch=256, lr=1e-3, held_out=0.2)`
    """
    rows = len(data[0])
    order = torch.as_tensor(random.permutation(rows))
    aside = int(rows * held_out)
    tested, learned = order[:aside], order[aside:]
    model.measure(*(each[learned] for each in data))
    optimizer = adam(model.networks.parameters(), lr)
    average, error, done = float("inf"), float("inf"), 0
    while done < epochs:
        orders = np.stack([random.permutation(len(learned)) for _ in range(model.count)])
        for start in range(0, len(learned), batch):
            part = learned[torch.as_tensor(orders[:, start : start + batch])]
            step(optimizer, model.errors(*(each[part] for each in data)).sum())
        with torch.no_grad():
            checked = tested if aside else learned
            error = float(model.errors(*(each[checked] for each in data)).mean())
        done += 1
        smoothed = error if average == float("inf") else _PATIENCE * average + (1 - _PATIENCE) * error
        if smoothed > average:
            break
        average = smoothed
    return done, error
