"""Values of the choices of agents that share a network, with memory or without; and what mixes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from shoal.rllib.modules.layers import ArrayLayers, arrays_of, layers

_NEVER = -1e9  # the value of choices that may not be taken


class TeamQNetwork(nn.Module):  # type: ignore[misc]
    """One network for all agents: what an agent sees and its number in, the values of its choices out.

    With `memory` it remembers by a gated recurrent unit of that width, and sees each agent's last choice too (Rashid et
    al., 2018, figure 2c); its memory is the unit's and the last choice, one behind the other.

    Example: `TeamQNetwork(agents=2, inputs=4, actions=3, hidden=(64,), activation="relu")`
    """

    def __init__(
        self, agents: int, inputs: int, actions: int, hidden: Sequence[int], activation: str, memory: int = 0
    ) -> None:
        super().__init__()
        self.agents, self.choices, self.width = agents, actions, memory
        size = inputs + agents + (actions if memory else 0)
        self.body = layers(size, hidden, activation)
        width = hidden[-1] if hidden else size
        self.cell = nn.GRUCell(width, memory) if memory else None
        self.head = nn.Linear(memory or width, actions)

    @property
    def memory(self) -> int:
        """How many numbers an agent remembers."""
        return self.width + self.choices if self.width else 0

    def forward(self, observations: Any, memory: Any = None, actions: Any = None) -> Any:
        """Return values of the shape (rows, steps, agents, choices).

        `observations` are (rows, steps, agents, numbers), `actions` those that were taken, (rows, at least steps - 1,
        agents), and `memory` what was remembered before the first step, (rows, agents, `memory`).
        """
        rows, steps = observations.shape[:2]
        numbers = torch.eye(self.agents, device=observations.device).expand(rows, steps, -1, -1)
        if self.cell is None:
            return self.head(self.body(torch.cat([observations, numbers], -1)))
        hidden, last = memory.reshape(rows * self.agents, -1).split([self.width, self.choices], -1)
        made = []
        for step in range(steps):
            if step:
                taken = actions[:, step - 1].reshape(-1).long()
                last = nn.functional.one_hot(taken, self.choices).float()
            seen = torch.cat([observations[:, step], numbers[:, step]], -1).reshape(rows * self.agents, -1)
            hidden = self.cell(self.body(torch.cat([seen, last], -1)), hidden)
            made.append(self.head(hidden).reshape(rows, self.agents, self.choices))
        return torch.stack(made, 1)

    def arrays(self) -> dict[str, Any]:
        """Return the weights as arrays: what `TeamQPolicy` computes with."""
        cell = None
        if self.cell is not None:
            parts = (self.cell.weight_ih, self.cell.bias_ih, self.cell.weight_hh, self.cell.bias_hh)
            cell = [part.detach().cpu().numpy().T.copy() for part in parts]
        return {
            "agents": self.agents,
            "choices": self.choices,
            "width": self.width,
            "body": arrays_of(self.body),
            "cell": cell,
            "head": arrays_of(nn.Sequential(self.head)),
        }


class TeamQPolicy:
    """Takes each agent's best choice, or with a chance of `epsilon` any that may be taken; in NumPy.

    Example: `actions, memory = TeamQPolicy(network.arrays(), 0.1).actions(seen, masks, memory, random)`
    """

    def __init__(self, arrays: dict[str, Any], epsilon: float = 0.0) -> None:
        self._arrays = arrays
        self.epsilon = epsilon
        self.memory = arrays["width"] + arrays["choices"] if arrays["width"] else 0

    def actions(
        self, observations: Any, masks: Any, memory: Any, random: np.random.Generator, explore: bool = True
    ) -> tuple[Any, Any]:
        """Return choices (rows, agents) and memories for observations (rows, numbers of all agents)."""
        values, hidden = self.values(observations, memory)
        best = np.where(masks > 0, values, _NEVER).argmax(-1)
        if explore and self.epsilon:
            free = random.random(best.shape) < self.epsilon
            drawn = np.where(masks > 0, random.random(masks.shape), -1.0).argmax(-1)
            best = np.where(free, drawn, best)
        if hidden is None:
            return best, memory
        last = np.eye(self._arrays["choices"], dtype=np.float32)[best]
        return best, np.concatenate([hidden, last], -1)

    def values(self, observations: Any, memory: Any) -> tuple[Any, Any]:
        """Return the values of choices (rows, agents, choices), and what the unit remembers then."""
        arrays = self._arrays
        agents = arrays["agents"]
        rows = len(observations)
        seen = observations.reshape(rows, agents, -1)
        numbers = np.broadcast_to(np.eye(agents, dtype=np.float32), (rows, agents, agents))
        if arrays["cell"] is None:
            body = ArrayLayers(arrays["body"])(np.concatenate([seen, numbers], -1))
            return ArrayLayers(arrays["head"])(body), None
        hidden, last = memory[..., : arrays["width"]], memory[..., arrays["width"] :]
        body = ArrayLayers(arrays["body"])(np.concatenate([seen, numbers, last], -1))
        hidden = _gated(body, hidden, arrays["cell"])
        return ArrayLayers(arrays["head"])(hidden), hidden


def _gated(inputs: Any, hidden: Any, cell: list[Any]) -> Any:
    """Do what torch's `GRUCell` does (Cho et al., 2014)."""
    weight_inputs, bias_inputs, weight_hidden, bias_hidden = cell
    reset_i, update_i, new_i = np.split(inputs @ weight_inputs + bias_inputs, 3, -1)
    reset_h, update_h, new_h = np.split(hidden @ weight_hidden + bias_hidden, 3, -1)
    reset = 1 / (1 + np.exp(-(reset_i + reset_h)))
    update = 1 / (1 + np.exp(-(update_i + update_h)))
    return (1 - update) * np.tanh(new_i + reset * new_h) + update * hidden


class Sum(nn.Module):  # type: ignore[misc]
    """The team's value is the sum of its agents' (Sunehag et al., 2018)."""

    def forward(self, values: Any, states: Any) -> Any:
        """Return the team's values of agents' values, (…, agents)."""
        return values.sum(-1, keepdim=True)


class Apart(nn.Module):  # type: ignore[misc]
    """Each agent's value is its own (Tan, 1993)."""

    def forward(self, values: Any, states: Any) -> Any:
        """Return the values as they are."""
        return values


class Monotonic(nn.Module):  # type: ignore[misc]
    """The team's value rises with each agent's, in a way that depends on the state (Rashid et al., 2018).

    `width` is that of the one hidden layer, whose weights are made of the state by hypernetworks.

    Example: `Monotonic(agents=2, state=4, width=32)(torch.zeros(8, 2), torch.zeros(8, 4))  # of the shape 8, 1`
    """

    def __init__(self, agents: int, state: int, width: int = 32) -> None:
        super().__init__()
        self._agents, self._width = agents, width
        self.first = nn.Linear(state, agents * width)
        self.first_bias = nn.Linear(state, width)
        self.last = nn.Linear(state, width)
        self.last_bias = nn.Sequential(nn.Linear(state, width), nn.ReLU(), nn.Linear(width, 1))

    def forward(self, values: Any, states: Any) -> Any:
        """Return the team's values (…, 1) of agents' values (…, agents) in states (…, numbers)."""
        # Weights that are not negative are what makes the best choice of each agent the team's best (equation 5).
        first = self.first(states).abs().unflatten(-1, (self._agents, self._width))
        hidden = nn.functional.elu((values.unsqueeze(-2) @ first).squeeze(-2) + self.first_bias(states))
        return (hidden * self.last(states).abs()).sum(-1, keepdim=True) + self.last_bias(states)
