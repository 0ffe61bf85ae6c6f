"""Settings of what an algorithm is put together from: modules, learners, connectors, runners."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from shoal.errors import ConfigError, describe
from shoal.rllib.callbacks.callbacks import heard_by_runners

if TYPE_CHECKING:
    from shoal.rllib.connectors.connector_pipeline_v2 import ConnectorPipelineV2
    from shoal.rllib.core.rl_module.rl_module import MultiRLModuleSpec, RLModuleSpec

C = TypeVar("C", bound="ComponentConfig")

# By family, what is only heard by algorithms that are put together from components.
COMPONENTS: Mapping[str, Mapping[str, Any]] = {
    "rl_module": {"rl_module_spec": None},
    "learners": {
        "num_learners": 0,
        "num_cpus_per_learner": 1,
        "num_gpus_per_learner": 0,
        "learner_class": None,
        "learner_connector": None,
        "add_default_connectors_to_learner_pipeline": True,
        "learner_config_dict": {},
    },
    "env_runners": {
        "env_runner_cls": None,
        "env_to_module_connector": None,
        "module_to_env_connector": None,
        "add_default_connectors_to_env_to_module_pipeline": True,
        "add_default_connectors_to_module_to_env_pipeline": True,
        "episode_lookback_horizon": 1,
        "episodes_to_numpy": True,
        "batch_mode": "truncate_episodes",
        "explore": True,
    },
    "training": {"grad_clip_by": "global_norm"},
}


class ComponentConfig:
    """What configurations can do about components. `AlgorithmConfig` is made of it."""

    if TYPE_CHECKING:
        _settings: dict[str, Any]

        def __getattr__(self, name: str) -> Any: ...

        def _set(self: C, family: str, given: Mapping[str, Any]) -> C: ...

    def learners(self: C, **settings: Any) -> C:
        """Say who learns: `num_learners` processes (0: this one) that share gradients, `num_cpus_per_learner`,
        `num_gpus_per_learner`, `learner_class` (a TorchLearner), `learner_connector` (a function of the spaces that
        returns a piece or several, before the algorithm's own ones unless
        `add_default_connectors_to_learner_pipeline` is False), and `learner_config_dict` for whatever the class
        wants."""
        return self._set("learners", settings)

    def told_components(self) -> list[str]:
        """Return the names of settings of components that are not as they are by default."""
        settings = [
            name
            for family in COMPONENTS.values()
            for name, default in family.items()
            if self._settings.get(name, default) != default
        ]
        return settings + heard_by_runners(self._settings["callbacks_class"], self.moments())

    def get_default_rl_module_spec(self) -> RLModuleSpec:
        """Return what the algorithm learns unless it is told. Configurations of algorithms override it."""
        raise ConfigError(
            f"{type(self).__name__} has no module of its own: config.rl_module(rl_module_spec=RLModuleSpec(…))"
        )

    def get_default_learner_class(self) -> Any:
        """Return what learns unless it is told. Configurations of algorithms override it."""
        raise ConfigError(
            f"{type(self).__name__} has no learner of its own: config.training(learner_class=…)"
        )

    @property
    def learner_class(self) -> Any:
        """The class that learns."""
        return self._settings["learner_class"] or self.get_default_learner_class()

    @property
    def rl_module_spec(self) -> Any:
        """How what is learned is made."""
        return self._settings["rl_module_spec"] or self.get_default_rl_module_spec()

    @property
    def model_config(self) -> dict[str, Any]:
        """What modules are told that have no `model_config` of their own."""
        found: dict[str, Any] = self._settings["model"]
        return found

    def get_rl_module_spec(
        self, env: Any = None, spaces: Mapping[str, Any] | None = None, inference_only: bool | None = None
    ) -> RLModuleSpec:
        """Return how the module is made, with spaces of `spaces` or the environment. Raises ConfigError for several."""
        from shoal.rllib.core.rl_module.rl_module import RLModuleSpec

        given = self.rl_module_spec
        if not isinstance(given, RLModuleSpec):
            raise ConfigError(f"rl_module_spec must be an RLModuleSpec, not {describe(given)}")
        made = RLModuleSpec.from_dict(given.to_dict())
        seen, acted = self._module_spaces(env, spaces)
        made.observation_space = made.observation_space or seen
        made.action_space = made.action_space or acted
        made.module_class = made.module_class or self.get_default_rl_module_spec().module_class
        own = made.model_config
        if own is None or isinstance(own, Mapping):
            made.model_config = {**self.model_config, **(own or {})}
        if inference_only is not None:
            made.inference_only = inference_only
        return made

    def get_multi_rl_module_spec(
        self,
        *,
        env: Any = None,
        spaces: Mapping[str, Any] | None = None,
        inference_only: bool = False,
        policy_dict: Mapping[str, Any] | None = None,
        single_agent_rl_module_spec: Any = None,
    ) -> MultiRLModuleSpec:
        """Return how all modules are made: the one under the default name."""
        made = single_agent_rl_module_spec or self.get_rl_module_spec(env, spaces, inference_only)
        found: MultiRLModuleSpec = made.as_multi_rl_module_spec()
        found.inference_only = inference_only
        return found

    def build_env_to_module_connector(
        self, env: Any = None, spaces: Mapping[str, Any] | None = None, device: Any = None
    ) -> ConnectorPipelineV2:
        """Return the pieces between environments and the module: the user's, then the default ones."""
        from shoal.rllib.connectors.batching import BatchIndividualItems, NumpyToTensor
        from shoal.rllib.connectors.connector_pipeline_v2 import pipeline_of
        from shoal.rllib.connectors.env_to_module import EnvToModulePipeline
        from shoal.rllib.connectors.episodes_to_batch import (
            AddObservationsFromEpisodesToBatch,
            AddStatesFromEpisodesToBatch,
            AddTimeDimToBatchAndZeroPad,
        )

        made = self._user_pieces("env_to_module_connector", env, spaces, device)
        pipeline = pipeline_of(EnvToModulePipeline, made, self._env_spaces(env, spaces))
        if self.add_default_connectors_to_env_to_module_pipeline:
            for piece in (
                AddObservationsFromEpisodesToBatch(),
                AddTimeDimToBatchAndZeroPad(),
                AddStatesFromEpisodesToBatch(),
                BatchIndividualItems(),
                NumpyToTensor(device=device),
            ):
                pipeline.append(piece)
        return pipeline

    def build_module_to_env_connector(
        self, env: Any = None, spaces: Mapping[str, Any] | None = None
    ) -> ConnectorPipelineV2:
        """Return the pieces between the module and environments: the user's, then the default ones."""
        from shoal.rllib.connectors.batching import TensorToNumpy
        from shoal.rllib.connectors.connector_pipeline_v2 import pipeline_of
        from shoal.rllib.connectors.module_to_env import (
            GetActions,
            ListifyDataForVectorEnv,
            ModuleToEnvPipeline,
            NormalizeAndClipActions,
            RemoveSingleTsTimeRankFromBatch,
            UnBatchToIndividualItems,
        )

        made = self._user_pieces("module_to_env_connector", env, spaces, None)
        pipeline = pipeline_of(ModuleToEnvPipeline, made, self._env_spaces(env, spaces))
        if self.add_default_connectors_to_module_to_env_pipeline:
            for piece in (
                GetActions(),
                TensorToNumpy(),
                RemoveSingleTsTimeRankFromBatch(),
                UnBatchToIndividualItems(),
                NormalizeAndClipActions(clip_actions=self.clip_actions),
                ListifyDataForVectorEnv(),
            ):
                pipeline.append(piece)
        return pipeline

    def build_learner_connector(
        self, input_observation_space: Any = None, input_action_space: Any = None, device: Any = None
    ) -> ConnectorPipelineV2:
        """Return the pieces between episodes and learners: the user's, then the default ones."""
        from shoal.rllib.connectors.batching import BatchIndividualItems, NumpyToTensor
        from shoal.rllib.connectors.connector_pipeline_v2 import pipeline_of
        from shoal.rllib.connectors.episodes_to_batch import (
            AddColumnsFromEpisodesToTrainBatch,
            AddObservationsFromEpisodesToBatch,
            AddStatesFromEpisodesToBatch,
            AddTimeDimToBatchAndZeroPad,
        )
        from shoal.rllib.connectors.learner import LearnerConnectorPipeline

        function = self.learner_connector
        made = None if function is None else function(input_observation_space, input_action_space)
        pipeline = pipeline_of(LearnerConnectorPipeline, made, (input_observation_space, input_action_space))
        if self.add_default_connectors_to_learner_pipeline:
            for piece in (
                AddObservationsFromEpisodesToBatch(as_learner_connector=True),
                AddColumnsFromEpisodesToTrainBatch(),
                AddTimeDimToBatchAndZeroPad(as_learner_connector=True),
                AddStatesFromEpisodesToBatch(as_learner_connector=True),
                BatchIndividualItems(),
                NumpyToTensor(device=device),
            ):
                pipeline.append(piece)
        return pipeline

    def build_learner(self, *, env: Any = None, spaces: Mapping[str, Any] | None = None) -> Any:
        """Return a learner in this process, ready to learn."""
        spec = self.get_multi_rl_module_spec(env=env, spaces=spaces)
        learner = self.learner_class(config=self, module_spec=spec)
        learner.build()
        return learner

    def build_learner_group(
        self,
        *,
        env: Any = None,
        spaces: Mapping[str, Any] | None = None,
        rl_module_spec: Any = None,
        placement_group: Any = None,
    ) -> Any:
        """Return the learners: one in this process, or `num_learners` that share gradients."""
        from shoal.rllib.core.learner.learner_group import LearnerGroup

        spec = rl_module_spec or self.get_multi_rl_module_spec(env=env, spaces=spaces)
        return LearnerGroup(config=self, module_spec=spec, placement_group=placement_group)

    def runner_class(self) -> Any:
        """Return the class of runners."""
        from shoal.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

        return self.env_runner_cls or SingleAgentEnvRunner

    def get_config_for_module(self: C, module_id: str) -> C:
        """Return the settings for a module: these."""
        return self

    def get_rollout_fragment_length(self, worker_index: int = 0) -> int:
        """Return how many steps each environment of a runner is played in one go."""
        if self.rollout_fragment_length != "auto":
            return int(self.rollout_fragment_length)
        places = max(1, self.num_env_runners) * self.num_envs_per_env_runner
        return int(max(1, -(-self.train_batch_size // places)))

    def _user_pieces(self, name: str, env: Any, spaces: Any, device: Any) -> Any:
        import inspect

        function = self._settings[name]
        if function is None:
            return None
        if not callable(function):
            raise ConfigError(f"{name} must be a function of (env, spaces, device), not {describe(function)}")
        takes = inspect.signature(function).parameters
        every = {"env": env, "spaces": spaces, "device": device}
        if any(each.kind is each.VAR_KEYWORD for each in takes.values()):
            return function(**every)
        named = [name for name in takes if name in every]
        if len(named) == len(takes):
            return function(**{name: every[name] for name in named})
        return function(*list(every.values())[: len(takes)])

    def _env_spaces(self, env: Any, spaces: Mapping[str, Any] | None) -> tuple[Any, Any]:
        if env is not None:
            return env.observation_space, env.action_space
        if spaces:
            found: tuple[Any, Any] = spaces.get("__env__") or next(iter(spaces.values()))
            return found
        return None, None

    def _module_spaces(self, env: Any, spaces: Mapping[str, Any] | None) -> tuple[Any, Any]:
        from shoal.rllib.core.columns import DEFAULT_MODULE_ID

        if spaces and DEFAULT_MODULE_ID in spaces:
            found: tuple[Any, Any] = spaces[DEFAULT_MODULE_ID]
            return found
        if env is None:
            return None, None
        return self.build_env_to_module_connector(env=env, device="cpu").observation_space, env.action_space
