"""The settings of A3C."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError
from shoal.rllib.algorithms.a2c.config import A2CConfig


class A3CConfig(A2CConfig):
    """Settings of A3C (Mnih et al., 2016): runners play and compute gradients, the learner applies them as they come.

    They are those of A2C; `rollout_fragment_length` is how many steps of each environment a gradient is of.

    Example: `A3CConfig().environment("CartPole-v1").env_runners(num_env_runners=2).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **A2CConfig.families,
        "env_runners": {
            **A2CConfig.families["env_runners"],
            "num_env_runners": 2,
            "rollout_fragment_length": 100,
        },
    }

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        if not self.num_env_runners:
            raise ConfigError(
                "num_env_runners=0: A3C is asynchronous and needs runners; A2C learns in one process"
            )
