"""The settings of the first Dreamer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.off_policy.config import REPLAY, OffPolicyConfig
from shoal.rllib.replay.buffers import is_number, is_whole
from shoal.rllib.world_models.algorithm import WorldModelConfig

DREAMER_MODEL = {"deter_size": 200, "stoch_size": 30, "hidden_size": 400, "action_init_std": 5.0}
_DEFAULTS: dict[str, Any] = {
    "td_model_learning_rate": 6e-4,
    "actor_learning_rate": 8e-5,
    "critic_learning_rate": 8e-5,
    "grad_clip": 100.0,
    "lambda_": 0.95,
    "dreamer_train_iters": 100,
    "batch_size": 50,
    "batch_length": 50,
    "imagine_horizon": 15,
    "free_nats": 3.0,
    "kl_coeff": 1.0,
    "explore_noise": 0.3,
    "dreamer_model": DREAMER_MODEL,
    "num_steps_sampled_before_learning_starts": 5000,
    "replay_buffer_config": {**REPLAY, "type": "EpisodeReplayBuffer", "capacity": 100_000},
}
_GONE = (
    "lr",
    "train_batch_size",
    "model",
    "n_step",
    "training_intensity",
    "tau",
    "target_network_update_freq",
)
_WHOLE = ("batch_size", "batch_length", "imagine_horizon")
_NUMBERS = (
    "td_model_learning_rate",
    "actor_learning_rate",
    "critic_learning_rate",
    "dreamer_train_iters",
    "lambda_",
    "free_nats",
    "kl_coeff",
    "explore_noise",
)


class DreamerConfig(WorldModelConfig):
    """Settings of Dreamer (Hafner et al., 2020): a model with normal latent states, and a policy of real actions
    that is moved up the slope of what the model promises.

    Besides `gamma` and the replay's settings `training` takes `td_model_learning_rate`, `actor_learning_rate`,
    `critic_learning_rate`, `grad_clip`, `lambda_`, `dreamer_train_iters` (batches after each request to the runners,
    which is of 500 steps unless `rollout_fragment_length` says another number), `batch_size` sequences of
    `batch_length` steps, `imagine_horizon`, `free_nats`, `kl_coeff`, `explore_noise` (the spread of noise on actions
    between -1 and 1), `prefill_timesteps` (of any actions, before it learns) and `dreamer_model` (`deter_size`,
    `stoch_size`, `hidden_size`, `action_init_std`). Observations are flat numbers.

    Example: `DreamerConfig().environment("Pendulum-v1").training(batch_length=20, prefill_timesteps=1000).build()`
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
    fragment = 500
    explorations: ClassVar[Mapping[str, str]] = {"stddev": "explore_noise"}
    target_network_update_freq = 0  # there is no target network

    def training(self, **settings: Any) -> DreamerConfig:
        """Say how it learns."""
        if "prefill_timesteps" in settings:
            settings["num_steps_sampled_before_learning_starts"] = settings.pop("prefill_timesteps")
        return super().training(**settings)

    @property
    def sequences(self) -> int:
        """How many sequences a batch has."""
        return int(self.batch_size)

    @property
    def length(self) -> int:
        """How many steps a sequence has."""
        return int(self.batch_length)

    @property
    def training_intensity(self) -> float:
        """How many steps are learned from for each step played."""
        environments = max(1, self.num_env_runners) * self.num_envs_per_env_runner
        return float(
            self.dreamer_train_iters * self.train_batch_size / (environments * self.steps_of_a_request())
        )

    def _checked(self, name: str, value: Any) -> Any:
        if name in _WHOLE and not is_whole(value):
            raise ConfigError(f"{name} must be a whole number ≥ 1, not {describe(value)}")
        if name in _NUMBERS and not is_number(value):
            raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
        if name == "dreamer_model":
            unknown = set(value) - set(DREAMER_MODEL)
            if unknown:
                raise ConfigError(
                    f"dreamer_model has no setting {', '.join(sorted(unknown))}; it has {', '.join(DREAMER_MODEL)}"
                )
            return {**DREAMER_MODEL, **value}
        return super()._checked(name, value)
