"""The settings of PPO."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError
from shoal.rllib.algorithms.algorithm_config import AlgorithmConfig

if TYPE_CHECKING:
    from shoal.rllib.core.rl_module.rl_module import RLModuleSpec

_DEFAULTS = {
    "lr": 5e-5,
    "train_batch_size": 4000,
    "minibatch_size": 128,
    "num_epochs": 30,
    "shuffle_batch_per_epoch": True,
    "lambda_": 1.0,
    "clip_param": 0.3,
    "vf_clip_param": 10.0,
    "vf_loss_coeff": 1.0,
    "entropy_coeff": 0.0,
    "use_kl_loss": True,
    "kl_coeff": 0.2,
    "kl_target": 0.01,
}


class PPOConfig(AlgorithmConfig):
    """Settings of PPO (Schulman et al., 2017).

    Besides those of all algorithms `training` takes `minibatch_size` (steps; None: the whole batch), `num_epochs`,
    `shuffle_batch_per_epoch`, `lambda_` (of advantages), `clip_param`, `vf_clip_param` (which bounds the squared
    error of values), `vf_loss_coeff`, `entropy_coeff`, `use_kl_loss`, and of the penalty for divergence the first
    `kl_coeff` and the `kl_target` that moves it.

    Example: `PPOConfig().environment("CartPole-v1").training(lr=3e-4, lambda_=0.95).build()`
    """

    families: Mapping[str, Mapping[str, Any]] = {
        **AlgorithmConfig.families,
        "training": {**AlgorithmConfig.families["training"], **_DEFAULTS},
    }

    def algorithm_class(self) -> Any:
        """Return the class: PPO, or if components are told that of the same algorithm which is made of them."""
        from shoal.rllib.algorithms.ppo.component_ppo import ComponentPPO
        from shoal.rllib.algorithms.ppo.ppo import PPO

        return ComponentPPO if self._algo_class is PPO and self.told_components() else self._algo_class

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """Return a policy with values, of layers as `model` tells."""
        from shoal.rllib.core.rl_module.rl_module import RLModuleSpec
        from shoal.rllib.core.rl_module.torch_rl_module import DefaultPPOTorchRLModule

        return RLModuleSpec(module_class=DefaultPPOTorchRLModule)

    def get_default_learner_class(self) -> Any:
        """Return PPO's learner."""
        from shoal.rllib.algorithms.ppo.ppo_torch_learner import PPOTorchLearner

        return PPOTorchLearner

    def validate(self) -> None:
        """Raise ConfigError for settings that are wrong together."""
        super().validate()
        if self.minibatch_size is not None and self.minibatch_size > self.train_batch_size:
            raise ConfigError(
                f"minibatch_size={self.minibatch_size} is more than train_batch_size={self.train_batch_size}"
            )
