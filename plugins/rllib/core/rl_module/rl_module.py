"""What plays and what is learned: a module with a way forward for each use, whatever it is computed with."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any

import attrs
import gymnasium

from shoal.errors import ConfigError, describe
from shoal.rllib.checkpoints import Checkpointable
from shoal.rllib.core.columns import DEFAULT_MODULE_ID


class RLModule(Checkpointable, ABC):
    """A network (or a rule) that gives actions, and what a loss needs of it.

    Override `setup` (make the layers) and `_forward`, or one of `_forward_exploration` (how runners play),
    `_forward_inference` (the best it knows) and `_forward_train`. They take a batch, a dictionary of columns, and
    return one: `Columns.ACTIONS`, or `Columns.ACTION_DIST_INPUTS` of the distribution that belongs to the space of
    actions. A module with a state returns its first one from `get_initial_state`; then `Columns.STATE_IN` is in each
    batch and `Columns.STATE_OUT` in what it returns.

    Parameters: the spaces; `inference_only` leaves out what only learning needs; `learner_only` is for modules that
    runners do not have; `model_config` is a mapping or an object, as the module wants it.

    Example: `class Mine(TorchRLModule): ...; config.rl_module(rl_module_spec=RLModuleSpec(module_class=Mine))`
    """

    STATE_FILE_NAME = "module_state"
    action_dist_cls: Any = None
    framework: str | None = None

    def __init__(
        self,
        config: Any = None,
        *,
        observation_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        inference_only: bool = False,
        learner_only: bool = False,
        model_config: Any = None,
        catalog_class: Any = None,
        **kwargs: Any,
    ) -> None:
        if config is not None:
            raise ConfigError("give the spaces and model_config by name; there is no config")
        self._made_with = {
            "observation_space": observation_space,
            "action_space": action_space,
            "inference_only": inference_only,
            "learner_only": learner_only,
            "model_config": model_config,
            "catalog_class": catalog_class,
            **kwargs,
        }
        self.observation_space: Any = observation_space
        self.action_space: Any = action_space
        self.inference_only, self.learner_only = inference_only, learner_only
        self.model_config = {} if model_config is None else model_config
        self.catalog = (
            None
            if catalog_class is None
            else catalog_class(
                observation_space=observation_space,
                action_space=action_space,
                model_config_dict=self.model_config,
            )
        )
        self.setup()

    def setup(self) -> None:
        """Make the layers. The spaces and `model_config` are there already."""

    def forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return what to do at best."""
        return self._forward_inference(batch, **kwargs)

    def forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return what to do to learn from."""
        return self._forward_exploration(batch, **kwargs)

    def forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Return what the loss is computed of. Raises RuntimeError for a module that is for inference only."""
        if self.inference_only:
            raise RuntimeError(f"{type(self).__name__} was made with inference_only: it cannot be trained")
        return self._forward_train(batch, **kwargs)

    def _forward(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        raise NotImplementedError(f"{type(self).__name__} has no method _forward")

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward(batch, **kwargs)

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward(batch, **kwargs)

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return self._forward(batch, **kwargs)

    def get_initial_state(self) -> Any:
        """Return the state before the first step, without a dimension of a batch; an empty one: it has none."""
        return {}

    def is_stateful(self) -> bool:
        """Return whether it has a state."""
        return bool(self.get_initial_state())

    def get_inference_action_dist_cls(self) -> Any:
        """Return the class of distributions of actions, for the best ones."""
        return self._distribution()

    def get_exploration_action_dist_cls(self) -> Any:
        """Return the class of distributions of actions, for playing."""
        return self._distribution()

    def get_train_action_dist_cls(self) -> Any:
        """Return the class of distributions of actions, for learning."""
        return self._distribution()

    @abstractmethod
    def _distribution(self) -> Any:
        """Return the class of distributions that belongs to the space of actions."""

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a module like this one is made with."""
        return (), dict(self._made_with)

    @abstractmethod
    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        inference_only: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the weights as arrays, by name; with `inference_only` those that playing needs."""

    def unwrapped(self) -> RLModule:
        """Return the module itself, which another may be wrapped around."""
        return self

    def as_multi_rl_module(self) -> Any:
        """Return a module of several with this one only, under the default name."""
        from shoal.rllib.core.rl_module.multi_rl_module import MultiRLModule

        made = MultiRLModule()
        made.add_module(DEFAULT_MODULE_ID, self)
        return made


@attrs.define(kw_only=True)
class RLModuleSpec:
    """How to make a module: what is None comes from the algorithm and the environment.

    Parameters: as `RLModule`; `load_state_path` is a folder that `save_to_path` wrote, whose weights it takes.

    Example: `RLModuleSpec(module_class=Mine, model_config={"hidden": 64})`
    """

    module_class: Any = None
    observation_space: gymnasium.Space[Any] | None = None
    action_space: gymnasium.Space[Any] | None = None
    inference_only: bool = False
    learner_only: bool = False
    model_config: Any = None
    catalog_class: Any = None
    load_state_path: str | os.PathLike[str] | None = None

    def build(self) -> RLModule:
        """Return the module. Raises ConfigError if something is missing."""
        if self.module_class is None:
            raise ConfigError("an RLModuleSpec without module_class cannot be built")
        if not isinstance(self.module_class, type) or not issubclass(self.module_class, RLModule):
            raise ConfigError(
                f"module_class must be a subclass of RLModule, not {describe(self.module_class)}"
            )
        made: RLModule = self.module_class(
            observation_space=self.observation_space,
            action_space=self.action_space,
            inference_only=self.inference_only,
            learner_only=self.learner_only,
            model_config=self.model_config,
            catalog_class=self.catalog_class,
        )
        if self.load_state_path is not None:
            made.restore_from_path(self.load_state_path)
        return made

    @classmethod
    def from_module(cls, module: RLModule) -> RLModuleSpec:
        """Return how a module like this one is made."""
        return cls(module_class=type(module), **module.get_ctor_args_and_kwargs()[1])

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name."""
        return attrs.asdict(self, recurse=False)

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> RLModuleSpec:
        """Return the specification that `to_dict` gave."""
        return cls(**d)

    def update(self, other: RLModuleSpec, override: bool = True) -> None:
        """Take what another tells; without `override` only what is not told here."""
        for name, value in other.to_dict().items():
            if value is not None and (override or getattr(self, name) is None):
                setattr(self, name, value)

    def as_multi_rl_module_spec(self) -> Any:
        """Return the specification of several with this one only, under the default name."""
        from shoal.rllib.core.rl_module.multi_rl_module import MultiRLModuleSpec

        specs: Any = {DEFAULT_MODULE_ID: self}
        return MultiRLModuleSpec(rl_module_specs=specs)
