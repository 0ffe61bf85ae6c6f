"""The settings of algorithms without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig

_POSITIVE = ("noise_stdev", "stepsize", "sgd_stepsize")
_WHOLE = ("episodes_per_batch", "num_rollouts", "rollouts_used")
_FILTERS = ("NoFilter", "MeanStdFilter")


def evolving_families(**training: Any) -> Mapping[str, Mapping[str, Any]]:
    """Return families of settings of an algorithm that follows no gradient, with its own.

    Example: `families = evolving_families(stepsize=0.01)`
    """
    families = AlgorithmConfig.families
    runners = {
        name: value
        for name, value in families["env_runners"].items()
        if name not in ("num_envs_per_env_runner", "rollout_fragment_length")
    }
    runners["observation_filter"] = "MeanStdFilter"
    model = {"model": families["training"]["model"], "noise_stdev": 0.02}
    return {**families, "training": {**model, **training}, "env_runners": runners}


class EvolvingConfig(AlgorithmConfig):
    """Settings of algorithms that follow no gradient.

    Of `env_runners` they take `num_env_runners` (0: this process plays; more: tasks, as many at a time as there are to
    be runners), `num_cpus_per_env_runner`, `sample_timeout_s`, and `observation_filter`: with "MeanStdFilter"
    observations are taken less their mean and over their spread.
    """

    def _checked(self, name: str, value: Any) -> Any:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if name in _POSITIVE and not (number and value > 0):
            raise ConfigError(f"{name} must be a number > 0, not {describe(value)}")
        if name == "l2_coeff" and not (number and value >= 0):
            raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
        if name in _WHOLE and not (isinstance(value, int) and number and value >= 1):
            raise ConfigError(f"{name} must be a whole number ≥ 1, not {describe(value)}")
        if name == "observation_filter" and value not in _FILTERS:
            raise ConfigError(
                f"observation_filter must be one of {', '.join(_FILTERS)}, not {describe(value)}"
            )
        return super()._checked(name, value)
