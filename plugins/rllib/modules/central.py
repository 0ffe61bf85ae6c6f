"""A policy that sees its own observation, and values that see more; in units that are the spread of returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from shoal.rllib.modules.actor_critic import ActorCritic


class CentralActorCritic(ActorCritic):
    """The policy sees the first `own` numbers of an observation, values see all `inputs` of them.

    Values are learned in units of their mean and spread, which `rescale` moves (van Hasselt et al., 2016, "Learning
    values across many orders of magnitude"); what the network gives is in the units of returns.

    Example: `CentralActorCritic(4, 12, 2)(torch.zeros(1, 12))`
    """

    def __init__(
        self, own: int, inputs: int, outputs: int, hidden: Sequence[int] = (64, 64), activation: str = "tanh"
    ) -> None:
        super().__init__(inputs, outputs, hidden, activation)
        self.own = own
        self.body = ActorCritic(own, outputs, hidden, activation).body
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("square", torch.ones(()))
        self.register_buffer("weight", torch.zeros(()))  # of what was seen so far, for the first estimates

    @property
    def spread(self) -> torch.Tensor:
        """The standard deviation of returns; 1 before any were seen."""
        return (self.square - self.mean**2).clamp(min=1e-4).sqrt()

    def forward(self, observations: Any) -> tuple[Any, Any]:
        """Return (inputs of the distribution, values) of observations, one a row."""
        policy = self.policy(self.body(observations[:, : self.own]))
        values = self.value(self.value_body(observations)).squeeze(-1)
        return policy, values * self.spread + self.mean

    @torch.no_grad()  # type: ignore[untyped-decorator]
    def rescale(self, returns: torch.Tensor, kept: float = 0.9) -> None:
        """Move mean and spread to returns that were seen, and the last layer so that values stay what they are."""
        spread, mean = self.spread.clone(), self.mean.clone()
        weight = kept * self.weight + 1 - kept
        share = (1 - kept) / weight
        self.mean.lerp_(returns.mean(), share)
        self.square.copy_(torch.lerp(self.square, returns.square().mean(), share))
        self.weight.copy_(weight)
        self.value.weight.mul_(spread / self.spread)
        self.value.bias.mul_(spread).add_(mean - self.mean).div_(self.spread)

    def arrays(self) -> dict[str, Any]:
        """Return the weights as arrays: what `ArrayPolicy` computes with."""
        made = super().arrays()
        weight, bias = made["value"]
        spread, mean = float(self.spread), float(self.mean)
        return {**made, "value": (weight * spread, bias * spread + mean), "own": self.own}
