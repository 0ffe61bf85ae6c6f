"""The settings of DreamerV3."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.off_policy.config import REPLAY, OffPolicyConfig
from shoal.rllib.replay.buffers import is_number, is_whole
from shoal.rllib.world_models.algorithm import WorldModelConfig


@attrs.frozen
class Size:
    """Widths of a model: of layers, how many there are, of the recurrent state, and choices of the latent state."""

    units: int
    layers: int
    recurrent: int
    latents: int  # as many choices, each among as many


SIZES: Mapping[str, Size] = {
    "nano": Size(16, 1, 16, 4),
    "micro": Size(32, 1, 32, 8),
    "mini": Size(64, 1, 64, 16),
    "XXS": Size(128, 1, 128, 32),
    "XS": Size(256, 1, 256, 32),
    "S": Size(512, 2, 512, 32),
    "M": Size(640, 3, 1024, 32),
    "L": Size(768, 4, 2048, 32),
    "XL": Size(1024, 5, 4096, 32),
}
_DEFAULTS: dict[str, Any] = {
    "gamma": 0.997,
    "model_size": "XS",
    "training_ratio": 1024,
    "batch_size_B": 16,
    "batch_length_T": 64,
    "horizon_H": 15,
    "gae_lambda": 0.95,
    "entropy_scale": 3e-4,
    "return_normalization_decay": 0.99,
    "train_actor": True,
    "train_critic": True,
    "world_model_lr": 1e-4,
    "actor_lr": 3e-5,
    "critic_lr": 3e-5,
    "world_model_grad_clip_by_global_norm": 1000.0,
    "actor_grad_clip_by_global_norm": 100.0,
    "critic_grad_clip_by_global_norm": 100.0,
    "symlog_obs": True,
    "free_nats": 1.0,
    "dynamics_scale": 0.5,
    "representation_scale": 0.1,
    "tau": 0.02,
    "target_network_update_freq": 0,
    "num_steps_sampled_before_learning_starts": 1024,
    "replay_buffer_config": {**REPLAY, "type": "EpisodeReplayBuffer", "capacity": 100_000},
}
_GONE = ("lr", "grad_clip", "train_batch_size", "model", "n_step", "training_intensity")
_WHOLE = ("batch_size_B", "batch_length_T", "horizon_H")
_NUMBERS = (
    "training_ratio",
    "gae_lambda",
    "entropy_scale",
    "return_normalization_decay",
    "world_model_lr",
    "actor_lr",
    "critic_lr",
    "free_nats",
    "dynamics_scale",
    "representation_scale",
)


class DreamerV3Config(WorldModelConfig):
    """Settings of DreamerV3 (Hafner et al., 2023): a model of the environment, and a policy learned in imagination.

    Besides `gamma`, the replay's settings and `adam_epsilon`, `training` takes `model_size` ("nano" to "XL"),
    `training_ratio` (steps learned from for each step played), `batch_size_B` sequences of `batch_length_T` steps,
    `horizon_H` (imagined steps), `gae_lambda`, `entropy_scale`, `return_normalization_decay`, `train_actor` and
    `train_critic`, `world_model_lr`, `actor_lr`, `critic_lr` and a bound of each one's gradient
    (`world_model_grad_clip_by_global_norm`, …; None: none), `symlog_obs`, of the divergence `free_nats`,
    `dynamics_scale` and `representation_scale`, and `tau` (how far the critic's slow copy moves with each batch).
    Observations are flat numbers.

    Example: `DreamerV3Config().environment("CartPole-v1").training(model_size="nano", training_ratio=64).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **OffPolicyConfig.families,
        "training": {
            **{
                name: value
                for name, value in OffPolicyConfig.families["training"].items()
                if name not in _GONE
            },
            **_DEFAULTS,
        },
    }
    explorations: ClassVar[Mapping[str, str]] = {}

    @property
    def sequences(self) -> int:
        """How many sequences a batch has."""
        return int(self.batch_size_B)

    @property
    def length(self) -> int:
        """How many steps a sequence has."""
        return int(self.batch_length_T)

    @property
    def training_intensity(self) -> float:
        """How many steps are learned from for each step played."""
        return float(self.training_ratio)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "model_size" and value not in SIZES:
            raise ConfigError(f"model_size must be one of {', '.join(SIZES)}, not {describe(value)}")
        if name in _WHOLE and not is_whole(value):
            raise ConfigError(f"{name} must be a whole number ≥ 1, not {describe(value)}")
        if name in _NUMBERS and not is_number(value):
            raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
        if name.endswith("_global_norm") and value is not None and not is_number(value):
            raise ConfigError(f"{name} must be a number ≥ 0 or None, not {describe(value)}")
        if name in ("train_actor", "train_critic", "symlog_obs") and not isinstance(value, bool):
            raise ConfigError(f"{name} must be True or False, not {describe(value)}")
        return super()._checked(name, value)
