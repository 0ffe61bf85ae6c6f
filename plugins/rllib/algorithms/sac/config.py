"""The settings of SAC."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import MODEL
from shoal.rllib.algorithms.off_policy.config import REPLAY, OffPolicyConfig

_DEFAULTS: dict[str, Any] = {
    "lr": None,
    "actor_lr": 3e-4,
    "critic_lr": 3e-4,
    "alpha_lr": 3e-4,
    "train_batch_size": 256,
    "model": {**MODEL, "fcnet_activation": "relu"},
    "twin_q": True,
    "tau": 5e-3,
    "target_network_update_freq": 0,
    "initial_alpha": 1.0,
    "target_entropy": "auto",
    "num_steps_sampled_before_learning_starts": 1500,
    "replay_buffer_config": {**REPLAY, "capacity": 100_000},
}
_RATES = {
    "actor_learning_rate": "actor_lr",
    "critic_learning_rate": "critic_lr",
    "entropy_learning_rate": "alpha_lr",
}


class SACConfig(OffPolicyConfig):
    """Settings of soft actor-critic (Haarnoja et al., 2018; for choices Christodoulou, 2019).

    Besides those of algorithms with replay `training` takes `actor_lr`, `critic_lr` and `alpha_lr` (or `lr` for all
    three), `twin_q`, `initial_alpha`, and `target_entropy`: a number, or "auto", which is minus the number of real
    actions, or 0.98 of the entropy of choices that are all alike.

    Example: `SACConfig().environment("Pendulum-v1").training(actor_lr=1e-3, critic_lr=1e-3).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **OffPolicyConfig.families,
        "training": {**OffPolicyConfig.families["training"], **_DEFAULTS},
    }

    def training(self, **settings: Any) -> SACConfig:
        """Say how it learns: the settings of this class and of all algorithms; `optimization_config` has the rates
        under the names that they had before."""
        for name, value in dict(settings.pop("optimization_config", {})).items():
            if name not in _RATES:
                raise ConfigError(f"optimization_config has no setting {name!r}; it has {', '.join(_RATES)}")
            settings[_RATES[name]] = value
        return super().training(**settings)

    def rate(self, name: str) -> float:
        """Return a rate of learning: `lr` where it was given."""
        return float(self.lr if self.lr is not None else getattr(self, name))

    def _checked(self, name: str, value: Any) -> Any:
        if name in ("actor_lr", "critic_lr", "alpha_lr", "initial_alpha"):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
                raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
            if name == "initial_alpha" and value == 0:
                raise ConfigError("initial_alpha must be more than 0: its logarithm is what is learned")
        if name == "lr" and value is None:
            return None
        if name == "target_entropy" and value != "auto" and not isinstance(value, (int, float)):
            raise ConfigError(f'target_entropy must be a number or "auto", not {describe(value)}')
        return super()._checked(name, value)
