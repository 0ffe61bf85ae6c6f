"""The settings of IQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import MODEL
from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig
from shoal.rllib.offline.config import OfflineSettings, offline_families

_RATES = ("actor_lr", "critic_lr", "value_lr")


class IQLConfig(OfflineSettings):
    """Settings of implicit Q-learning (Kostrikov et al., 2022).

    Besides those of all algorithms that do not play `training` takes `actor_lr`, `critic_lr` and `value_lr` (or `lr`
    for all three), `expectile` (between 0.5, which is a mean, and 1, which would be the best), `beta` (how much better
    actions count for more), `twin_q` and `tau`.

    Example: `IQLConfig().environment("Pendulum-v1").offline_data(input_="episodes").training(expectile=0.8)`
    """

    families: Mapping[str, Mapping[str, Any]] = offline_families(
        OffPolicyConfig.families,
        lr=None,
        actor_lr=3e-4,
        critic_lr=3e-4,
        value_lr=3e-4,
        train_batch_size=256,
        model={**MODEL, "fcnet_activation": "relu"},
        expectile=0.8,
        beta=3.0,
        twin_q=True,
        tau=5e-3,
    )

    def rate(self, name: str) -> float:
        """Return a rate of learning: `lr` where it was given."""
        return float(self.lr if self.lr is not None else getattr(self, name))

    def _checked(self, name: str, value: Any) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in (*_RATES, "beta") and not (number and value >= 0):
            raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
        if name == "expectile" and not (number and 0 < value < 1):
            raise ConfigError(f"expectile must be a number between 0 and 1, not {describe(value)}")
        if name == "lr" and value is None:
            return None
        return super()._checked(name, value)
