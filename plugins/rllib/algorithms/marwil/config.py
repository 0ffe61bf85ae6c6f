"""The settings of MARWIL and BC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig
from shoal.rllib.offline.config import OfflineSettings, offline_families

_LEAST = {
    "beta": 0,
    "vf_coeff": 0,
    "moving_average_sqd_adv_norm_start": 0,
    "moving_average_sqd_adv_norm_update_rate": 0,
}


class MARWILConfig(OfflineSettings):
    """Settings of MARWIL.

    Besides those of all algorithms that do not play `training` takes `beta` (how much better actions count for more; 0
    imitates all alike), `vf_coeff`, and `moving_average_sqd_adv_norm_start` and
    `moving_average_sqd_adv_norm_update_rate` of the mean square that advantages are measured by.

    Example: `MARWILConfig().environment("CartPole-v1").offline_data(input_="episodes").training(beta=1.0)`
    """

    families: Mapping[str, Mapping[str, Any]] = offline_families(
        OffPolicyConfig.families,
        targets=False,
        lr=1e-4,
        train_batch_size=2000,
        beta=1.0,
        vf_coeff=1.0,
        moving_average_sqd_adv_norm_start=100.0,
        moving_average_sqd_adv_norm_update_rate=1e-8,
    )

    def _checked(self, name: str, value: Any) -> Any:
        if name in _LEAST and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or value < _LEAST[name]
        ):
            raise ConfigError(f"{name} must be a number ≥ {_LEAST[name]}, not {describe(value)}")
        return super()._checked(name, value)
