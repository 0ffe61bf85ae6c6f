"""Which modules of ours those of the reference's library for reinforcement learning are."""

from __future__ import annotations

from shoal.compat.sources import Source, of

_INSIDE: tuple[Source, ...] = ()  # has sub-modules only

_MULTI_AGENT = of("shoal.rllib.multi_agent.environment", "MultiAgentEnv make_multi_agent")
_BATCHES = of("shoal.rllib.policy.sample_batch")
_POLICY_SPEC = of("shoal.rllib.multi_agent.policies", "PolicySpec")

RLLIB: dict[str, tuple[Source, ...]] = {
    "ray.rllib": (
        of("shoal.rllib"),
        _MULTI_AGENT,
        of("shoal.rllib.policy.sample_batch", "SampleBatch"),
    ),
    "ray.rllib.callbacks.callbacks": (of("shoal.rllib.callbacks", "RLlibCallback"),),
    "ray.rllib.algorithms.ppo.default_ppo_rl_module": (
        of("shoal.rllib.core.rl_module.torch_rl_module", "DefaultPPORLModule=DefaultPPOTorchRLModule"),
    ),
    "ray.rllib.algorithms.ppo.ppo_learner": (
        of("shoal.rllib.algorithms.ppo.ppo_torch_learner", "PPOLearner=PPOTorchLearner"),
    ),
    "ray.rllib.algorithms.ppo.torch": _INSIDE,
    "ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module": (
        of("shoal.rllib.core.rl_module.torch_rl_module", "DefaultPPOTorchRLModule"),
    ),
    "ray.rllib.algorithms.ppo.torch.ppo_torch_learner": (
        of("shoal.rllib.algorithms.ppo.ppo_torch_learner", "PPOTorchLearner"),
    ),
    "ray.rllib.connectors.common": (
        of("shoal.rllib.connectors.batching"),
        of("shoal.rllib.connectors.episodes_to_batch"),
    ),
    "ray.rllib.connectors.common.flatten_observations": (
        of("shoal.rllib.connectors.env_to_module", "FlattenObservations"),
    ),
    "ray.rllib.connectors.common.frame_stacking": (
        of("shoal.rllib.connectors.env_to_module.frame_stacking", "FrameStacking"),
    ),
    "ray.rllib.core.distribution.torch": _INSIDE,
    "ray.rllib.core.distribution.torch.torch_distribution": (
        of("shoal.rllib.core.distribution.torch_distribution"),
    ),
    "ray.rllib.core.learner.torch": _INSIDE,
    "ray.rllib.core.learner.torch.torch_learner": (of("shoal.rllib.core.learner.torch_learner"),),
    "ray.rllib.core.learner.utils": (
        of("shoal.rllib.tensors.torch_tensors", "update_target_network"),
        of("shoal.rllib.tensors.torch_tensors", "make_target_network"),
    ),
    "ray.rllib.core.rl_module.torch": (of("shoal.rllib.core.rl_module.torch_rl_module", "TorchRLModule"),),
    "ray.rllib.core.rl_module.torch.torch_rl_module": (of("shoal.rllib.core.rl_module.torch_rl_module"),),
    "ray.rllib.env": (
        _MULTI_AGENT,
        of("shoal.rllib.multi_agent.pettingzoo", "ParallelPettingZooEnv PettingZooEnv"),
    ),
    "ray.rllib.env.multi_agent_env": (_MULTI_AGENT,),
    "ray.rllib.env.utils": (of("shoal.rllib.errors", "EnvError"), of("shoal.rllib.imports")),
    "ray.rllib.env.utils.infinite_lookback_buffer": (
        of("shoal.rllib.env.infinite_lookback_buffer", "InfiniteLookbackBuffer"),
    ),
    "ray.rllib.env.wrappers": _INSIDE,
    "ray.rllib.env.wrappers.atari_wrappers": (of("shoal.rllib.wrappers.atari_wrappers"),),
    "ray.rllib.env.wrappers.pettingzoo_env": (of("shoal.rllib.multi_agent.pettingzoo"),),
    "ray.rllib.evaluation": (of("shoal.rllib.policy.sample_batch", "MultiAgentBatch"),),
    "ray.rllib.execution": (of("shoal.rllib.env.env_runner_group", "synchronous_parallel_sample"),),
    "ray.rllib.execution.rollout_ops": (
        of("shoal.rllib.env.env_runner_group", "synchronous_parallel_sample"),
    ),
    "ray.rllib.policy.policy": (_POLICY_SPEC,),
    "ray.rllib.env.env_errors": (of("shoal.rllib.errors", "StepFailedRecreateEnvError"),),
    "ray.rllib.utils": (
        of("shoal.rllib.tensors.arrays"),
        of("shoal.rllib.annotations"),
        of("shoal.rllib.imports", "try_import_jax try_import_tf try_import_tfp try_import_torch"),
    ),
    "ray.rllib.utils.actor_manager": (of("shoal.rllib.sampling.actor_manager"),),
    "ray.rllib.utils.error": (of("shoal.rllib.errors"),),
    "ray.rllib.utils.framework": (of("shoal.rllib.imports"),),
    "ray.rllib.utils.images": (of("shoal.rllib.imports", "is_package_installed"),),
    "ray.rllib.utils.serialization": (of("shoal.rllib.spaces.serialization"),),
    "ray.rllib.utils.spaces.flexdict": (of("shoal.rllib.spaces.flexdict"),),
    "ray.rllib.utils.spaces.repeated": (of("shoal.rllib.spaces.repeated"),),
    "ray.rllib.utils.spaces.simplex": (of("shoal.rllib.spaces.simplex"),),
    "ray.rllib.utils.annotations": (of("shoal.rllib.annotations"),),
    "ray.rllib.utils.checkpoints": (
        of("shoal.rllib.checkpoints"),
        of("shoal.rllib.imports", "try_import_msgpack"),
    ),
    "ray.rllib.utils.metrics": (of("shoal.rllib.metrics.names"),),
    "ray.rllib.utils.metrics.metrics_logger": (of("shoal.rllib.metrics.metrics_logger"),),
    "ray.rllib.utils.metrics.stats": (of("shoal.rllib.metrics.stats"),),
    "ray.rllib.utils.metrics.stats.percentiles": (of("shoal.rllib.metrics.stats", "compute_percentiles"),),
    "ray.rllib.utils.metrics.stats.utils": (
        of("shoal.rllib.metrics.stats", "batch_values_to_cpu safe_isnan single_value_to_cpu"),
    ),
    "ray.rllib.utils.minibatch_utils": (of("shoal.rllib.core.learner.minibatches"),),
    "ray.rllib.utils.numpy": (of("shoal.rllib.tensors.arrays"),),
    "ray.rllib.utils.postprocessing": _INSIDE,
    "ray.rllib.utils.postprocessing.episodes": (of("shoal.rllib.postprocessing.episodes"),),
    "ray.rllib.utils.postprocessing.value_predictions": (of("shoal.rllib.postprocessing.value_predictions"),),
    "ray.rllib.utils.postprocessing.zero_padding": (of("shoal.rllib.postprocessing.zero_padding"),),
    "ray.rllib.utils.schedules": _INSIDE,
    "ray.rllib.utils.schedules.scheduler": (of("shoal.rllib.core.learner.scheduler"),),
    "ray.rllib.utils.spaces": _INSIDE,
    "ray.rllib.utils.spaces.space_utils": (of("shoal.rllib.spaces.space_values"),),
    "ray.rllib.utils.torch_utils": (of("shoal.rllib.tensors.torch_tensors"),),
}

RLLIB_SAME_AS: dict[str, str] = {
    "ray.rllib.core.columns": "ray.rllib.core",
    "ray.rllib.core.rl_module.multi_rl_module": "ray.rllib.core.rl_module",
    "ray.rllib.utils.metrics.stats.base": "ray.rllib.utils.metrics.stats",
}
