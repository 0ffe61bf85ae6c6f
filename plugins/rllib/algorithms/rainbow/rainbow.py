"""Rainbow: DQN with everything on (Hessel et al., 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.dqn import DQN, DQNConfig

_DEFAULTS: dict[str, Any] = {"num_atoms": 51, "noisy": True, "n_step": 3}


class Rainbow(DQN):
    """DQN that is double, dueling, over three steps, prioritised, distributional and noisy.

    Example: `RainbowConfig().environment("CartPole-v1").training(v_min=0, v_max=100).build()`
    """


class RainbowConfig(DQNConfig):
    """Settings of Rainbow: those of DQN, with `num_atoms=51`, `noisy=True` and `n_step=3`.

    Example: `RainbowConfig().environment("CartPole-v1").training(v_min=0, v_max=100)`
    """

    algo_class = Rainbow
    families: Mapping[str, Mapping[str, Any]] = {
        **DQNConfig.families,
        "training": {**DQNConfig.families["training"], **_DEFAULTS},
    }
