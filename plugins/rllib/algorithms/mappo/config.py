"""The settings of MAPPO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import MODEL
from shoal.rllib.algorithms.ppo import PPOConfig

_DEFAULTS: dict[str, Any] = {
    "lr": 5e-4,
    "minibatch_size": None,
    "num_epochs": 10,
    "lambda_": 0.95,
    "clip_param": 0.2,
    "entropy_coeff": 0.01,
    "use_kl_loss": False,
    "model": {**MODEL, "fcnet_hiddens": (64, 64)},
    "normalize_values": True,
}


class MAPPOConfig(PPOConfig):
    """Settings of MAPPO (Yu et al., 2021): PPO of several agents, whose values see what all agents see.

    They are those of PPO, with the defaults of the paper's section 5, and in `training` `normalize_values` (whether
    values are learned in units of the spread of returns). `multi_agent` says who plays which agents.

    Example: `MAPPOConfig().environment(Landmarks).multi_agent(policies=["shared"]).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **PPOConfig.families,
        "training": {**PPOConfig.families["training"], **_DEFAULTS},
    }

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        if self.policies is None:
            raise ConfigError(
                'MAPPO plays several agents: say who plays them, multi_agent(policies=["shared"])'
            )
        if self.model["vf_share_layers"]:
            raise ConfigError("vf_share_layers=True: values of MAPPO see more than its policies do")

    def _checked(self, name: str, value: Any) -> Any:
        if name == "normalize_values" and not isinstance(value, bool):
            raise ConfigError(f"normalize_values must be True or False, not {describe(value)}")
        return super()._checked(name, value)
