"""A runner that gives gradients instead of what it saw."""

from __future__ import annotations

from typing import Any

import attrs
import torch

from shoal.rllib.algorithms.a2c.loss import actor_critic_loss, as_tensors
from shoal.rllib.modules.actor_critic import ActorCritic
from shoal.rllib.modules.distributions import distribution_of
from shoal.rllib.sampling.runner import EnvRunner, Play


@attrs.frozen(kw_only=True)
class Graded(Play):
    """How environments are played and gradients computed: the network's shape, and the weights of the loss's parts."""

    hidden: tuple[int, ...]
    activation: str
    shared: bool
    value: float
    entropy: float


class GradientRunner(EnvRunner):
    """Plays with the newest weights, and computes the gradient of what it saw."""

    def __init__(self, play: Graded, number: int) -> None:
        super().__init__(play, number)
        torch.set_num_threads(1)  # several runners share the machine
        self._graded = play
        self._learned = distribution_of(self._actions)
        self._module = ActorCritic(
            self._observations.shape[1], self._learned.inputs, play.hidden, play.activation, play.shared
        )

    def sample(self, arrays: dict[str, Any], steps: int) -> dict[str, Any]:
        """Play; return gradients, one array a weight, and what is told. Raises ValueError as `EnvRunner.sample`."""
        seen = super().sample(arrays["policy"], steps)
        weights = {name: torch.as_tensor(value.copy()) for name, value in arrays["weights"].items()}
        self._module.load_state_dict(weights)
        loss, told = actor_critic_loss(
            self._module,
            self._learned,
            as_tensors(seen, "cpu"),
            self._graded.value,
            self._graded.entropy,
        )
        self._module.zero_grad(set_to_none=True)
        loss.backward()
        return {
            "gradients": [each.grad.numpy() for each in self._module.parameters()],
            "steps": len(seen["values"]),
            "episodes": seen["episodes"],
            "told": {name: float(value) for name, value in told.items()},
        }
