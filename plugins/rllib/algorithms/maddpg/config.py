"""The settings of MADDPG."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import MODEL
from shoal.rllib.algorithms.off_policy.config import REPLAY, OffPolicyConfig
from shoal.rllib.algorithms.off_policy.team import TeamConfig
from shoal.rllib.replay.buffers import is_number

_DEFAULTS: dict[str, Any] = {
    "gamma": 0.95,
    "lr": None,
    "actor_lr": 1e-2,
    "critic_lr": 1e-2,
    "grad_clip": 0.5,
    "train_batch_size": 1024,
    "model": {**MODEL, "fcnet_hiddens": (64, 64), "fcnet_activation": "relu"},
    "actor_hiddens": None,
    "critic_hiddens": None,
    "tau": 0.01,
    "target_network_update_freq": 0,
    "num_steps_sampled_before_learning_starts": 1024,
    "use_local_critic": False,
    "actor_feature_reg": 1e-3,
    "noise": 0.1,
    "replay_buffer_config": {**REPLAY, "capacity": 100_000},
}


class MADDPGConfig(TeamConfig):
    """Settings of MADDPG (Lowe et al., 2017): each agent has a policy, and values that see what all see and do.

    Besides those of algorithms with replay `training` takes `actor_lr` and `critic_lr` (or `lr` for both),
    `actor_hiddens` and `critic_hiddens` (None: the model's), `use_local_critic` (values that see the agent alone, which
    is DDPG), `actor_feature_reg` (a penalty for the squares of what policies' networks give) and `noise` (the spread of
    normal noise on real actions between -1 and 1; choices are drawn). Learning is by a batch for every hundred steps,
    as in the paper, unless `training_intensity` or `rollout_fragment_length` say something else.

    Example: `MADDPGConfig().environment(Landmarks).training(training_intensity=64).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **OffPolicyConfig.families,
        "training": {
            **{
                name: value
                for name, value in OffPolicyConfig.families["training"].items()
                if name != "n_step"
            },
            **_DEFAULTS,
        },
    }
    fragment = 100
    explorations: ClassVar[Mapping[str, str]] = {
        "stddev": "noise",
        "random_timesteps": "num_steps_sampled_before_learning_starts",
    }

    def rate(self, name: str) -> float:
        """Return a rate of learning: `lr` where it was given."""
        return float(self.lr if self.lr is not None else getattr(self, name))

    def _checked(self, name: str, value: Any) -> Any:
        if name in ("actor_lr", "critic_lr", "actor_feature_reg", "noise") and not is_number(value):
            raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
        if name == "lr" and value is None:
            return None
        return super()._checked(name, value)
