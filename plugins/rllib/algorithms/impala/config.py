"""The settings of IMPALA."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig

_DEFAULTS = {
    "lr": 5e-4,
    "grad_clip": 40.0,
    "train_batch_size": 500,
    "lambda_": 1.0,
    "vtrace_clip_rho_threshold": 1.0,
    "vtrace_clip_pg_rho_threshold": 1.0,
    "vf_loss_coeff": 0.5,
    "entropy_coeff": 0.01,
    "broadcast_interval": 1,
    "num_epochs": 1,
}


class IMPALAConfig(AlgorithmConfig):
    """Settings of IMPALA (Espeholt et al., 2018): runners play on while the learner learns from what they saw before.

    Besides those of all algorithms `training` takes `vtrace_clip_rho_threshold` and `vtrace_clip_pg_rho_threshold`,
    `lambda_` (of traces), `num_epochs` (steps with each batch), `vf_loss_coeff`, `entropy_coeff`, and
    `broadcast_interval` (updates between new weights for runners); `env_runners` takes
    `max_requests_in_flight_per_env_runner`. An iteration learns for at least `min_time_s_per_iteration` seconds
    (`reporting`).

    Example: `IMPALAConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **AlgorithmConfig.families,
        "training": {**AlgorithmConfig.families["training"], **_DEFAULTS},
        "env_runners": {
            **AlgorithmConfig.families["env_runners"],
            "num_env_runners": 2,
            "rollout_fragment_length": 50,
            "max_requests_in_flight_per_env_runner": 2,
        },
        "reporting": {**AlgorithmConfig.families["reporting"], "min_time_s_per_iteration": 10.0},
    }
