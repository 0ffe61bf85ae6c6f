"""The settings of learning from recorded episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import shoal.data
from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.off_policy.config import OffPolicyConfig

C = TypeVar("C", bound="OfflineSettings")

# What only those have that play.
_OF_PLAY = (
    "n_step",
    "num_steps_sampled_before_learning_starts",
    "training_intensity",
    "replay_buffer_config",
    "store_buffer_in_checkpoints",
    "target_network_update_freq",
)


def offline_families(
    families: Mapping[str, Mapping[str, Any]], *, targets: bool = True, **training: Any
) -> Mapping[str, Mapping[str, Any]]:
    """Return families of settings without those of playing, with those of recorded episodes and of an algorithm.

    Example: `families = offline_families(SACConfig.families, min_q_weight=5.0)`
    """
    left_out = {*_OF_PLAY, *(() if targets else ("tau",))}
    kept = {name: value for name, value in families["training"].items() if name not in left_out}
    data = {"input_": None, "input_read_method": "auto", "dataset_num_iters_per_learner": 200}
    reporting = {**families["reporting"], "min_sample_timesteps_per_iteration": 0}
    return {**families, "training": {**kept, **training}, "offline_data": data, "reporting": reporting}


class OfflineSettings(OffPolicyConfig):
    """Settings of algorithms that learn from recorded episodes and do not play."""

    def offline_data(self: C, **settings: Any) -> C:
        """Say what it learns from: `input_` (paths, or a dataset), `input_read_method` (a function of shoal.data;
        "auto": by the files' names) and `dataset_num_iters_per_learner` (batches an iteration)."""
        return self._set("offline_data", settings)

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        if self.env is None:
            raise ConfigError("name the environment whose spaces the data has: config.environment(...)")
        if self.input_ is None:
            raise ConfigError(
                'it learns from recorded episodes: config.offline_data(input_="a folder of them")'
            )
        if self.num_env_runners:
            raise ConfigError(
                "num_env_runners must be 0: nobody plays while it learns from recorded episodes"
            )

    def _checked(self, name: str, value: Any) -> Any:
        if name == "input_read_method" and value != "auto" and not hasattr(shoal.data, str(value)):
            raise ConfigError(
                f'input_read_method must be "auto" or a function of shoal.data such as "read_parquet", not {value!r}'
            )
        if name == "dataset_num_iters_per_learner" and (
            isinstance(value, bool) or not isinstance(value, int) or value < 1
        ):
            raise ConfigError(f"{name} must be a whole number ≥ 1, not {describe(value)}")
        return super()._checked(name, value)
