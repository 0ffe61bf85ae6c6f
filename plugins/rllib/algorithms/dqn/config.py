"""The settings of DQN and Rainbow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.off_policy.config import REPLAY, OffPolicyConfig
from shoal.rllib.algorithms.off_policy.schedule import checked

_DEFAULTS: dict[str, Any] = {
    "lr": 5e-4,
    "grad_clip": 40.0,
    "double_q": True,
    "dueling": True,
    "hiddens": (256,),
    "num_atoms": 1,
    "v_min": -10.0,
    "v_max": 10.0,
    "noisy": False,
    "sigma0": 0.5,
    "epsilon": ((0, 1.0), (10_000, 0.05)),
    "td_error_loss_fn": "huber",
    "replay_buffer_config": {**REPLAY, "type": "PrioritizedReplayBuffer"},
}


class DQNConfig(OffPolicyConfig):
    """Settings of DQN (Mnih et al., 2015) and what made it better.

    Besides those of algorithms with replay `training` takes `double_q` (van Hasselt et al., 2016), `dueling` (Wang et
    al., 2016) and `hiddens`, the widths of its two parts, `num_atoms` with `v_min` and `v_max` (C51: Bellemare et al.,
    2017), `noisy` with `sigma0` (Fortunato et al., 2018), `epsilon` (a number, or pairs of a step and a number) and
    `td_error_loss_fn` ("huber" or "mse"). All of them on, with `n_step=3`, are Rainbow (Hessel et al., 2018).

    Example: `DQNConfig().environment("CartPole-v1").training(lr=1e-3, n_step=3).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **OffPolicyConfig.families,
        "training": {**OffPolicyConfig.families["training"], **_DEFAULTS},
    }
    fragment = 4
    explorations: ClassVar[Mapping[str, str]] = {
        "initial_epsilon": "epsilon",
        "final_epsilon": "epsilon",
        "epsilon_timesteps": "epsilon",
    }

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        if self.num_atoms > 1 and self.v_min >= self.v_max:
            raise ConfigError(f"v_min={self.v_min} must be less than v_max={self.v_max}")

    def _explore(self, name: str, value: Any) -> None:
        old = self._settings["epsilon"]
        pairs = list(old) if not isinstance(old, float) else [(0, old), (1, old)]
        (_, first), (steps, last) = pairs[0], pairs[-1]
        first, last, steps = {
            "initial_epsilon": (value, last, steps),
            "final_epsilon": (first, value, steps),
            "epsilon_timesteps": (first, last, value),
        }[name]
        self._set("training", {"epsilon": [(0, first), (steps, last)]})

    def _checked(self, name: str, value: Any) -> Any:
        if name == "epsilon":
            return checked(name, value)
        if name == "num_atoms" and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
            raise ConfigError(f"num_atoms must be a whole number ≥ 1, not {describe(value)}")
        if name == "td_error_loss_fn" and value not in ("huber", "mse"):
            raise ConfigError(f'td_error_loss_fn must be "huber" or "mse", not {describe(value)}')
        return super()._checked(name, value)
