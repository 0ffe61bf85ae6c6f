"""The recurrent state-space model: what was, as a recurrent state and a latent one (Hafner et al., 2019)."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from shoal.rllib.world_models.latents import Latents


def perceptron(
    inputs: int, outputs: int, units: int, count: int, *, norm: bool, last: float = 1.0
) -> nn.Sequential:
    """Return `count` layers of `units`, and a last one whose first weights are scaled by `last`.

    With `norm` there is layer normalisation and SiLU between them, else ELU.

    Example: `perceptron(4, 2, 16, 1, norm=True)(torch.zeros(1, 4))`
    """
    made: list[nn.Module] = []
    for _ in range(count):
        made += [nn.Linear(inputs, units, bias=not norm)]
        made += [nn.LayerNorm(units, eps=1e-3), nn.SiLU()] if norm else [nn.ELU()]
        inputs = units
    end = nn.Linear(inputs, outputs)
    with torch.no_grad():
        end.weight.mul_(last)
        end.bias.zero_()
    return nn.Sequential(*made, end)


class NormedCell(nn.Module):  # type: ignore[misc]
    """A gated recurrent unit whose parts are normalised together (Hafner et al., 2021)."""

    def __init__(self, inputs: int, units: int) -> None:
        super().__init__()
        self.parts = nn.Linear(inputs + units, 3 * units, bias=False)
        self.norm = nn.LayerNorm(3 * units, eps=1e-3)

    def forward(self, values: Any, hidden: Any) -> Any:
        """Return the next state."""
        reset, new, update = self.norm(self.parts(torch.cat([values, hidden], -1))).chunk(3, -1)
        update = torch.sigmoid(update - 1)  # it keeps what it has, at first
        return update * torch.tanh(torch.sigmoid(reset) * new) + (1 - update) * hidden


class StateSpace(nn.Module):  # type: ignore[misc]
    """States are a recurrent part (`units` numbers) and a latent one, one behind the other: `size` numbers.

    Parameters: `embedded` numbers of an observation, `actions` numbers of an action, `hidden` the width of the layers
    between. With `norm` it is DreamerV3's, else that of the first Dreamer.

    Example: `model.observe(embedded, actions, first)`
    """

    def __init__(
        self, latents: Latents, embedded: int, actions: int, units: int, hidden: int, *, norm: bool
    ) -> None:
        super().__init__()
        self.latents, self.units = latents, units
        self.size = units + latents.size
        self.before = nn.Sequential(
            nn.Linear(latents.size + actions, hidden, bias=not norm),
            *([nn.LayerNorm(hidden, eps=1e-3), nn.SiLU()] if norm else [nn.ELU()]),
        )
        self.cell = NormedCell(hidden, units) if norm else nn.GRUCell(hidden, units)
        self.prior = perceptron(units, latents.inputs, hidden, 1, norm=norm)
        self.posterior = perceptron(units + embedded, latents.inputs, hidden, 1, norm=norm)

    def begin(self, rows: int) -> Any:
        """Return states of nothing seen."""
        return torch.zeros(rows, self.size, device=next(self.parameters()).device)

    def advance(self, state: Any, action: Any) -> Any:
        """Return the next recurrent parts, of states and the actions that were taken in them."""
        hidden, latent = state.split([self.units, self.latents.size], -1)
        return self.cell(self.before(torch.cat([latent, action], -1)), hidden)

    def see(self, state: Any, action: Any, embedded: Any, first: Any) -> tuple[Any, Any]:
        """Return states after an observation, and the outputs their latent parts were drawn by; where `first` is 1 an
        episode begins, and nothing was before."""
        going = (1 - first)[:, None]
        hidden = self.advance(state * going, action * going)
        outputs = self.posterior(torch.cat([hidden, embedded], -1))
        return torch.cat([hidden, self.latents.sample(outputs)], -1), outputs

    def imagine(self, state: Any, action: Any) -> Any:
        """Return states that follow on actions, as the model expects them."""
        hidden = self.advance(state, action)
        return torch.cat([hidden, self.latents.sample(self.prior(hidden))], -1)

    def observe(self, embedded: Any, actions: Any, first: Any) -> tuple[Any, Any, Any]:
        """Return states (rows, steps, `size`) of sequences, and the outputs of posteriors and priors.

        `actions` are those taken in each step, after its observation.
        """
        state = self.begin(len(embedded))
        states, outputs = [], []
        before = torch.zeros_like(actions[:, 0])
        for step in range(embedded.shape[1]):
            state, drawn = self.see(state, before, embedded[:, step], first[:, step])
            states.append(state)
            outputs.append(drawn)
            before = actions[:, step]
        together = torch.stack(states, 1)
        return together, torch.stack(outputs, 1), self.prior(together[..., : self.units])
