"""The settings of DDPG and of TD3, which is DDPG with three changes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import MODEL
from shoal.rllib.algorithms.off_policy.config import REPLAY, OffPolicyConfig

_DEFAULTS: dict[str, Any] = {
    "lr": None,
    "actor_lr": 1e-3,
    "critic_lr": 1e-3,
    "train_batch_size": 256,
    "model": {**MODEL, "fcnet_activation": "relu"},
    "actor_hiddens": None,
    "critic_hiddens": None,
    "tau": 5e-3,
    "target_network_update_freq": 0,
    "num_steps_sampled_before_learning_starts": 1500,
    "replay_buffer_config": {**REPLAY, "capacity": 100_000},
    "twin_q": False,
    "policy_delay": 1,
    "smooth_target_policy": False,
    "target_noise": 0.2,
    "target_noise_clip": 0.5,
    "noise": 0.1,
    "use_huber": False,
    "l2_reg": 0.0,
}
_NUMBERS = {
    "actor_lr": 0,
    "critic_lr": 0,
    "policy_delay": 1,
    "target_noise": 0,
    "target_noise_clip": 0,
    "noise": 0,
    "l2_reg": 0,
}


class DDPGConfig(OffPolicyConfig):
    """Settings of DDPG (Lillicrap et al., 2016), and of what made it TD3 (Fujimoto et al., 2018).

    Besides those of algorithms with replay `training` takes `actor_lr` and `critic_lr` (or `lr` for both),
    `actor_hiddens` and `critic_hiddens` (None: the model's), `noise` (the spread of normal noise on actions between -1
    and 1), `twin_q`, `policy_delay`, `smooth_target_policy` with `target_noise` and `target_noise_clip`, `use_huber`
    and `l2_reg`.

    Example: `DDPGConfig().environment("Pendulum-v1").training(noise=0.2).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **OffPolicyConfig.families,
        "training": {**OffPolicyConfig.families["training"], **_DEFAULTS},
    }
    explorations: ClassVar[Mapping[str, str]] = {
        "stddev": "noise",
        "random_timesteps": "num_steps_sampled_before_learning_starts",
    }

    def rate(self, name: str) -> float:
        """Return a rate of learning: `lr` where it was given."""
        return float(self.lr if self.lr is not None else getattr(self, name))

    def _checked(self, name: str, value: Any) -> Any:
        if name in _NUMBERS:
            least = _NUMBERS[name]
            if isinstance(value, bool) or not isinstance(value, (int, float)) or value < least:
                raise ConfigError(f"{name} must be a number ≥ {least}, not {describe(value)}")
        if name == "lr" and value is None:
            return None
        return super()._checked(name, value)
