"""The settings of CQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.sac.config import SACConfig
from shoal.rllib.offline.config import OfflineSettings, offline_families

_LEAST = {"min_q_weight": 0, "temperature": 1e-6, "num_actions": 1}


class CQLConfig(OfflineSettings, SACConfig):
    """Settings of conservative Q-learning (Kumar et al., 2020): those of SAC that do not play, and in `training`
    `min_q_weight` (of the penalty), `temperature` and `num_actions` (drawn for each row, of real actions).

    Example: `CQLConfig().environment("Pendulum-v1").offline_data(input_="episodes").training(min_q_weight=1.0)`
    """

    families: Mapping[str, Mapping[str, Any]] = offline_families(
        SACConfig.families, min_q_weight=5.0, temperature=1.0, num_actions=10
    )

    def _checked(self, name: str, value: Any) -> Any:
        if name in _LEAST and (
            isinstance(value, bool) or not isinstance(value, (int, float)) or value < _LEAST[name]
        ):
            raise ConfigError(f"{name} must be a number ≥ {_LEAST[name]}, not {describe(value)}")
        return super()._checked(name, value)
