"""Policies of a team's agents, each with a network of its own: in torch to learn, in NumPy to act."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from shoal.rllib.modules.continuous import policy_layers
from shoal.rllib.modules.layers import ArrayLayers, arrays_of
from shoal.rllib.multi_agent.team import Team

_NEVER = -1e9  # the logit of choices that may not be taken


class TeamActors(nn.Module):  # type: ignore[misc]
    """Gives for what agents see their actions, all differentiable: real ones between -1 and 1, choices as ones and
    zeros that are drawn by the straight-through Gumbel-softmax (Jang et al., 2017).

    Example: `TeamActors(team, (64, 64), "relu").actions(observations, masks)`
    """

    def __init__(self, team: Team, hidden: Sequence[int], activation: str) -> None:
        super().__init__()
        self.sizes, self.discrete = team.sizes, [each.discrete for each in team.actions]
        self.widths = [
            each.size for each in team.actions
        ]  # numbers of an action, with choices as ones and zeros
        self.networks = nn.ModuleList(
            policy_layers(size, width, hidden, activation)
            for size, width in zip(team.sizes, self.widths, strict=True)
        )

    def outputs(self, observations: Any, masks: Any) -> list[Any]:
        """Return what the networks give, by agent, of observations (rows, numbers of all agents)."""
        made = []
        for place, (network, seen) in enumerate(
            zip(self.networks, observations.split(self.sizes, -1), strict=True)
        ):
            found = network(seen)
            if self.discrete[place]:
                found = found.masked_fill(masks[:, place, : self.widths[place]] == 0, _NEVER)
            made.append(found)
        return made

    def actions(self, observations: Any, masks: Any) -> list[Any]:
        """Return actions by agent."""
        return [self.taken(place, found) for place, found in enumerate(self.outputs(observations, masks))]

    def taken(self, place: int, outputs: Any) -> Any:
        """Return an agent's actions of what its network gives."""
        if self.discrete[place]:
            return nn.functional.gumbel_softmax(outputs, hard=True)
        return torch.tanh(outputs)

    def spread_out(self, actions: Any) -> list[Any]:
        """Return by agent actions as they are kept, with choices as ones and zeros."""
        parts = actions.split([1 if each else width for each, width in self._kinds()], -1)
        return [
            nn.functional.one_hot(part[..., 0].long(), width).float() if discrete else part
            for part, (discrete, width) in zip(parts, self._kinds(), strict=True)
        ]

    def arrays(self) -> dict[str, Any]:
        """Return the weights as arrays: what `TeamActorsPolicy` computes with."""
        return {
            "networks": [arrays_of(network) for network in self.networks],
            "kinds": self._kinds(),
            "sizes": self.sizes,
        }

    def _kinds(self) -> list[tuple[bool, int]]:
        return list(zip(self.discrete, self.widths, strict=True))


class TeamActorsPolicy:
    """Acts for all agents: real actions with normal noise of a spread, choices drawn by their logits; in NumPy.

    `uniform` draws any action that may be taken.
    """

    memory = 0

    def __init__(self, arrays: dict[str, Any], spread: float, uniform: bool = False) -> None:
        self._arrays, self._spread, self._uniform = arrays, spread, uniform

    def actions(
        self, observations: Any, masks: Any, memory: Any, random: np.random.Generator, explore: bool = True
    ) -> tuple[Any, Any]:
        """Return actions (rows, numbers of all agents), a choice as its number, and the memory as it was."""
        ends = np.cumsum(self._arrays["sizes"])[:-1]
        made = []
        for place, seen in enumerate(np.split(observations, ends, 1)):
            discrete, width = self._arrays["kinds"][place]
            found = ArrayLayers(self._arrays["networks"][place])(seen)
            if discrete:
                found = np.zeros_like(found) if explore and self._uniform else found
                found = np.where(masks[:, place, :width] > 0, found, _NEVER)
                noise = random.gumbel(size=found.shape) if explore else 0.0
                made.append((found + noise).argmax(1)[:, None].astype(np.float32))
                continue
            found = np.tanh(found)
            if explore:
                noise = self._spread * random.standard_normal(found.shape)
                found = random.uniform(-1, 1, found.shape) if self._uniform else (found + noise).clip(-1, 1)
            made.append(found.astype(np.float32))
        return np.concatenate(made, 1), memory
