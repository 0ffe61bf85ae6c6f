"""ARS: augmented random search (Mania et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shoal.errors import ConfigError
from shoal.rllib.evolution.config import EvolvingConfig, evolving_families
from shoal.rllib.evolution.evolving import Evolving


class ARS(Evolving):
    """Moves the weights along the best of the changes that were played, as far as their returns differ.

    Example: `ARSConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build().train()`
    """

    def directions(self) -> int:
        """Return how many changes are played."""
        return int(self.config.num_rollouts)

    def step_of(self, plus: Any, minus: Any, seeds: Any, weights: Any) -> Any:
        """Return the weights after step 7 of the paper's algorithm 2."""
        config = self.config
        best = np.maximum(plus, minus).argsort()[::-1][: config.rollouts_used]
        spread = np.concatenate([plus[best], minus[best]]).std()
        if spread < 1e-8:  # all played alike, and nothing is to be learned of that
            return weights
        chosen = [seeds[place] for place in best]
        along = self.direction(plus[best] - minus[best], chosen)
        return weights + config.sgd_stepsize / (len(best) * spread) * along


class ARSConfig(EvolvingConfig):
    """Settings of augmented random search.

    `training` takes `model`, `num_rollouts` (changes, each played both ways), `rollouts_used` (the best of them),
    `noise_stdev` (the spread of changes) and `sgd_stepsize`.

    Example: `ARSConfig().environment("CartPole-v1").training(num_rollouts=16, rollouts_used=8, noise_stdev=0.05)`
    """

    algo_class = ARS
    families: Mapping[str, Mapping[str, Any]] = evolving_families(
        num_rollouts=32, rollouts_used=32, sgd_stepsize=0.01
    )

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        if self.rollouts_used > self.num_rollouts:
            raise ConfigError(
                f"rollouts_used={self.rollouts_used} is more than num_rollouts={self.num_rollouts}"
            )
