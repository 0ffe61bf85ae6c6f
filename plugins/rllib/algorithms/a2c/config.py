"""The settings of A2C, and of A3C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig

_DEFAULTS = {
    "lr": 1e-3,
    "grad_clip": 40.0,
    "train_batch_size": 500,
    "lambda_": 0.95,
    "vf_loss_coeff": 0.5,
    "entropy_coeff": 0.01,
}


class A2CConfig(AlgorithmConfig):
    """Settings of A2C, the synchronous form of A3C (Mnih et al., 2016).

    Besides those of all algorithms `training` takes `lambda_` (of advantages), `vf_loss_coeff` and `entropy_coeff`. An
    iteration plays at least `min_sample_timesteps_per_iteration` steps (`reporting`), in batches of `train_batch_size`.

    Example: `A2CConfig().environment("CartPole-v1").training(lr=1e-3).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **AlgorithmConfig.families,
        "training": {**AlgorithmConfig.families["training"], **_DEFAULTS},
        "reporting": {**AlgorithmConfig.families["reporting"], "min_sample_timesteps_per_iteration": 5000},
    }
