"""ES: evolution strategies (Salimans et al., 2017)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from shoal.rllib.evolution.config import EvolvingConfig, evolving_families
from shoal.rllib.evolution.evolving import Evolving
from shoal.rllib.modules.optimizers import adam


class ES(Evolving):
    """Moves the weights up the slope of ranks of returns, with Adam.

    Example: `ESConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build().train()`
    """

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self._optimizer = adam(self.module.layers.parameters(), config.stepsize, weight_decay=0.0)

    def directions(self) -> int:
        """Return half the episodes of a step: each change is played both ways."""
        return max(1, int(self.config.episodes_per_batch) // 2)

    def step_of(self, plus: Any, minus: Any, seeds: Any, weights: Any) -> Any:
        """Return the weights after one step of Adam."""
        ranks = centred_ranks(np.stack([plus, minus]))
        slope = self.direction(ranks[0] - ranks[1], seeds) / (2 * len(seeds))
        slope -= self.config.l2_coeff * weights
        at = 0
        for each in self.module.layers.parameters():
            size = each.numel()
            each.grad = -torch.as_tensor(slope[at : at + size], device=each.device).view_as(each)
            at += size
        self._optimizer.step()
        return self.weights

    def learner_state(self) -> dict[str, Any]:
        """Return the optimiser's state."""
        return {"optimizer": self._optimizer.state_dict()}

    def set_learner_state(self, state: dict[str, Any]) -> None:
        """Go on from it."""
        self._optimizer.load_state_dict(state["optimizer"])


def centred_ranks(values: Any) -> Any:
    """Return for each of several numbers its place among all, from -0.5 for the least to 0.5 for the greatest.

    Example: `centred_ranks(np.array([3.0, 1.0, 2.0]))  # array([0.5, -0.5, 0.0])`
    """
    ranks = np.empty(values.size, np.float32)
    ranks[values.ravel().argsort()] = np.arange(values.size, dtype=np.float32)
    return (ranks / max(1, values.size - 1) - 0.5).reshape(values.shape)


class ESConfig(EvolvingConfig):
    """Settings of evolution strategies.

    `training` takes `model`, `episodes_per_batch`, `noise_stdev` (the spread of changes), `stepsize` and `l2_coeff`.

    Example: `ESConfig().environment("CartPole-v1").training(episodes_per_batch=100, noise_stdev=0.05)`
    """

    algo_class = ES
    families: Mapping[str, Mapping[str, Any]] = evolving_families(
        episodes_per_batch=1000, stepsize=0.01, l2_coeff=0.005
    )
