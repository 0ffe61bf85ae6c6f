"""The settings of MBMPO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.rllib.algorithms.algorithm_config import MODEL, AlgorithmConfig
from shoal.rllib.replay.buffers import is_number, is_whole

DYNAMICS = {
    "ensemble_size": 5,
    "fcnet_hiddens": (256, 256),
    "fcnet_activation": "relu",
    "lr": 1e-3,
    "train_epochs": 100,
    "batch_size": 256,
    "valid_split_ratio": 0.2,
}
_DEFAULTS: dict[str, Any] = {
    "lr": 1e-3,
    "train_batch_size": 1000,
    "model": {**MODEL, "fcnet_hiddens": (64, 64)},
    "inner_lr": 1e-3,
    "inner_adaptation_steps": 1,
    "maml_optimizer_steps": 8,
    "num_maml_steps": 10,
    "num_trajectories": 20,
    "horizon": 200,
    "lambda_": 1.0,
    "clip_param": 0.5,
    "kl_coeff": 5e-4,
    "entropy_coeff": 0.0,
    "capacity": 100_000,
    "dynamics_model": DYNAMICS,
}
_WHOLE = (
    "inner_adaptation_steps",
    "maml_optimizer_steps",
    "num_maml_steps",
    "num_trajectories",
    "horizon",
    "capacity",
)
_NUMBERS = ("inner_lr", "lambda_", "clip_param", "kl_coeff", "entropy_coeff")


class MBMPOConfig(AlgorithmConfig):
    """Settings of MBMPO (Clavera et al., 2018): a policy that adapts to each of several models of the environment.

    Besides those of all algorithms `training` takes `train_batch_size` (steps played in an iteration), `num_maml_steps`
    (of the policy, in an iteration), each with `num_trajectories` of `horizon` steps in each model; `inner_lr` and
    `inner_adaptation_steps` of the adaptation to a model, `maml_optimizer_steps` with what adapted policies saw,
    `clip_param`, `kl_coeff`, `entropy_coeff`, `lambda_` (of advantages), `capacity` (steps that are kept), and
    `dynamics_model`: `ensemble_size`, `fcnet_hiddens`, `fcnet_activation`, `lr`, `train_epochs` (at most), `batch_size`
    and `valid_split_ratio`. The environment must have a method `reward(observations, actions, next_observations)`, of
    arrays with a transition a row; episodes in models end with the horizon.

    Example: `MBMPOConfig().environment(PointMass).training(horizon=25).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **AlgorithmConfig.families,
        "training": {**AlgorithmConfig.families["training"], **_DEFAULTS},
    }

    def _checked(self, name: str, value: Any) -> Any:
        if name in _WHOLE and not is_whole(value):
            raise ConfigError(f"{name} must be a whole number ≥ 1, not {describe(value)}")
        if name in _NUMBERS and not is_number(value):
            raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
        if name == "dynamics_model":
            return _dynamics(value)
        return super()._checked(name, value)


def _dynamics(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping) or set(value) - set(DYNAMICS):
        raise ConfigError(f"dynamics_model must be a mapping of {', '.join(DYNAMICS)}, not {describe(value)}")
    made = {**DYNAMICS, **value}
    for name in ("ensemble_size", "train_epochs", "batch_size"):
        if not is_whole(made[name]):
            raise ConfigError(
                f"dynamics_model's {name} must be a whole number ≥ 1, not {describe(made[name])}"
            )
    if not is_number(made["valid_split_ratio"]) or made["valid_split_ratio"] >= 1:
        raise ConfigError(
            "dynamics_model's valid_split_ratio must be from 0 to less than 1, not "
            f"{describe(made['valid_split_ratio'])}"
        )
    return made
