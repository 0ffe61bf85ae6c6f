"""The settings of APPO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.rllib.algorithms.impala.config import IMPALAConfig

_DEFAULTS = {
    "clip_param": 0.4,
    "use_kl_loss": False,
    "kl_coeff": 1.0,
    "kl_target": 0.01,
    "tau": 1.0,
    "target_network_update_freq": 2,
    "vf_loss_coeff": 0.5,
    "entropy_coeff": 0.01,
}


class APPOConfig(IMPALAConfig):
    """Settings of APPO: PPO's clipped objective on IMPALA's pipeline (IMPACT: Luo et al., 2020).

    Besides those of IMPALA `training` takes `clip_param`, `use_kl_loss` with the first `kl_coeff` and the `kl_target`
    that moves it, and of the target network `target_network_update_freq` (updates) and `tau` (how far it moves then).

    Example: `APPOConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **IMPALAConfig.families,
        "training": {**IMPALAConfig.families["training"], **_DEFAULTS},
    }
