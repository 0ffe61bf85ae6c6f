"""What plays and what is learned: modules with a way forward for each use, one or several by name."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping
from typing import Any

import attrs
import gymnasium

from shoal.errors import ConfigError, describe
from shoal.rllib.checkpoints import Checkpointable, chosen
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
        specs: Any = {DEFAULT_MODULE_ID: self}
        return MultiRLModuleSpec(rl_module_specs=specs)


def validate_module_id(policy_id: Any, error: bool = False) -> bool:
    """Return whether a name may be a module's: text that can be a folder's name. With `error` raise ValueError.

    Example: `validate_module_id("runner")  # True`
    """
    fine = isinstance(policy_id, str) and bool(policy_id) and not set(policy_id) & set('<>:"/\\|?*')
    if error and not fine:
        raise ValueError(f"{policy_id!r} is no module's name: text without any of < > : \" / \\ | ? *")
    return fine


class MultiRLModule(RLModule):
    """Modules by name. Batches and what comes back are dictionaries by the modules' names.

    Subclasses may share layers among them: override `setup`.

    Example: `MultiRLModule(rl_module_specs={"a": spec, "b": spec}).forward_inference({"a": batch})`
    """

    def __init__(
        self,
        config: Any = None,
        *,
        observation_space: gymnasium.Space[Any] | None = None,
        action_space: gymnasium.Space[Any] | None = None,
        inference_only: bool = False,
        learner_only: bool = False,
        model_config: Any = None,
        rl_module_specs: Mapping[str, RLModuleSpec] | None = None,
        **kwargs: Any,
    ) -> None:
        self.rl_module_specs = dict(rl_module_specs or {})
        self._rl_modules: dict[str, RLModule] = {}
        super().__init__(
            config,
            observation_space=observation_space,
            action_space=action_space,
            inference_only=inference_only,
            learner_only=learner_only,
            model_config=model_config,
            **kwargs,
        )
        self._made_with["rl_module_specs"] = self.rl_module_specs

    def setup(self) -> None:
        """Make the modules of `rl_module_specs`; those for learners only are left out where nothing is learned."""
        for name, spec in self.rl_module_specs.items():
            if not (self.inference_only and spec.learner_only):
                self.add_module(name, spec.build())

    def add_module(self, module_id: str, module: RLModule, *, override: bool = False) -> None:
        """Add a module. Raises ValueError if the name is taken, unless `override` says to replace it."""
        validate_module_id(module_id, error=True)
        if module_id in self._rl_modules and not override:
            raise ValueError(f"there is a module {module_id!r} already; override=True replaces it")
        self._rl_modules[module_id] = module
        self.rl_module_specs.setdefault(module_id, RLModuleSpec.from_module(module))

    def remove_module(self, module_id: str, *, raise_err_if_not_found: bool = True) -> None:
        """Take a module away. Raises KeyError if there is none of that name, unless told otherwise."""
        if raise_err_if_not_found and module_id not in self._rl_modules:
            raise KeyError(f"there is no module {module_id!r}; there are {', '.join(self._rl_modules)}")
        self._rl_modules.pop(module_id, None)
        self.rl_module_specs.pop(module_id, None)

    def foreach_module(self, func: Callable[..., Any], *, return_dict: bool = False, **kwargs: Any) -> Any:
        """Return what a function of (name, module) gives for each, as a list or by name."""
        told = {name: func(name, module.unwrapped(), **kwargs) for name, module in self._rl_modules.items()}
        return told if return_dict else list(told.values())

    def keys(self) -> Any:
        """Return the names."""
        return self._rl_modules.keys()

    def values(self) -> Any:
        """Return the modules."""
        return self._rl_modules.values()

    def items(self) -> Any:
        """Return (name, module) of each."""
        return self._rl_modules.items()

    def get(self, module_id: str, default: Any = None) -> Any:
        """Return a module, or `default`."""
        return self._rl_modules.get(module_id, default)

    def __contains__(self, item: object) -> bool:
        return item in self._rl_modules

    def __getitem__(self, module_id: str) -> RLModule:
        if module_id not in self._rl_modules:
            raise KeyError(f"there is no module {module_id!r}; there are {', '.join(self._rl_modules)}")
        return self._rl_modules[module_id]

    def __len__(self) -> int:
        return len(self._rl_modules)

    def _forward_inference(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {name: self[name].forward_inference(part, **kwargs) for name, part in batch.items()}

    def _forward_exploration(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {name: self[name].forward_exploration(part, **kwargs) for name, part in batch.items()}

    def _forward_train(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        return {name: self[name].forward_train(part, **kwargs) for name, part in batch.items()}

    def get_initial_state(self) -> Any:
        """Return the first states of those modules that have one, by name."""
        return {name: each.get_initial_state() for name, each in self.items() if each.is_stateful()}

    def _distribution(self) -> Any:
        raise TypeError("each module has a distribution of its own: ask module[name]")

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        inference_only: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the modules' states by name."""
        return {
            name: each.get_state(inference_only=inference_only)
            for name, each in self.items()
            if chosen(name, components, not_components)
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Take modules' states by name. Raises KeyError for a module that is not there."""
        for name, each in state.items():
            self[name].set_state(each)

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the modules by name."""
        return list(self._rl_modules.items())

    def as_multi_rl_module(self) -> MultiRLModule:
        """Return this one."""
        return self


@attrs.define(kw_only=True)
class MultiRLModuleSpec:
    """How to make several modules: a specification for each, and the class that holds them.

    Parameters: `rl_module_specs` by name; the spaces, `model_config` and `inference_only` are those of specifications
    that have none; `load_state_path` is a folder that `save_to_path` wrote, of which `modules_to_load` are taken.

    Example: `MultiRLModuleSpec(rl_module_specs={"a": RLModuleSpec(module_class=Mine)})`
    """

    multi_rl_module_class: type[MultiRLModule] = MultiRLModule
    observation_space: gymnasium.Space[Any] | None = None
    action_space: gymnasium.Space[Any] | None = None
    inference_only: bool | None = None
    model_config: Any = None
    rl_module_specs: dict[str, RLModuleSpec] = attrs.field(factory=dict, converter=dict)
    load_state_path: str | os.PathLike[str] | None = None
    modules_to_load: Collection[str] | None = None

    def build(self, module_id: str | None = None) -> RLModule:
        """Return all modules, or one of them. Raises ConfigError if there are none, KeyError for an unknown name."""
        if not self.rl_module_specs:
            raise ConfigError("a MultiRLModuleSpec without rl_module_specs cannot be built")
        filled = {name: self._filled(spec) for name, spec in self.rl_module_specs.items()}
        if module_id is not None:
            return filled[module_id].build()
        if not issubclass(self.multi_rl_module_class, MultiRLModule):
            raise ConfigError(
                f"multi_rl_module_class must be a subclass of MultiRLModule, not {describe(self.multi_rl_module_class)}"
            )
        made = self.multi_rl_module_class(
            observation_space=self.observation_space,
            action_space=self.action_space,
            inference_only=bool(self.inference_only),
            model_config=self.model_config,
            rl_module_specs=filled,
        )
        if self.load_state_path is not None:
            for name in self.modules_to_load or filled:
                made[name].restore_from_path(os.path.join(self.load_state_path, name))
        return made

    def add_modules(self, module_specs: Mapping[str, RLModuleSpec], override: bool = True) -> None:
        """Add specifications; without `override` those whose names are taken are merged into what is there."""
        for name, spec in module_specs.items():
            if override or name not in self.rl_module_specs:
                self.rl_module_specs[name] = spec
            else:
                self.rl_module_specs[name].update(spec)

    def remove_modules(self, module_ids: Collection[str] | str) -> None:
        """Take specifications away; names that are not there do nothing."""
        for name in [module_ids] if isinstance(module_ids, str) else module_ids:
            self.rl_module_specs.pop(name, None)

    @classmethod
    def from_module(cls, module: MultiRLModule) -> MultiRLModuleSpec:
        """Return how modules like these are made."""
        return cls(
            multi_rl_module_class=type(module),
            rl_module_specs={name: RLModuleSpec.from_module(each) for name, each in module.items()},
        )

    def to_dict(self) -> dict[str, Any]:
        """Return everything by name."""
        return {
            **attrs.asdict(self, recurse=False),
            "rl_module_specs": {name: spec.to_dict() for name, spec in self.rl_module_specs.items()},
        }

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> MultiRLModuleSpec:
        """Return the specification that `to_dict` gave."""
        specs = {name: RLModuleSpec.from_dict(each) for name, each in d["rl_module_specs"].items()}
        return cls(**{**d, "rl_module_specs": specs})

    def update(self, other: MultiRLModuleSpec | RLModuleSpec, override: bool = True) -> None:
        """Take what another tells; a specification of one module is merged into each of these."""
        if isinstance(other, RLModuleSpec):
            for spec in self.rl_module_specs.values():
                spec.update(other, override)
        else:
            self.add_modules(other.rl_module_specs, override)

    def as_multi_rl_module_spec(self) -> MultiRLModuleSpec:
        """Return this one."""
        return self

    def __contains__(self, item: object) -> bool:
        return item in self.rl_module_specs

    def __getitem__(self, item: str) -> RLModuleSpec:
        return self.rl_module_specs[item]

    def _filled(self, spec: RLModuleSpec) -> RLModuleSpec:
        made = RLModuleSpec.from_dict(spec.to_dict())
        for name in ("observation_space", "action_space", "model_config"):
            if getattr(made, name) is None:
                setattr(made, name, getattr(self, name))
        if self.inference_only is not None:
            made.inference_only = self.inference_only
        return made


def only_module(module: RLModule) -> RLModule:
    """Return the module that a module of several has, if there is just one under the default name; or it itself.

    Example: `only_module(module.as_multi_rl_module()) is module`
    """
    if isinstance(module, MultiRLModule) and set(module.keys()) == {DEFAULT_MODULE_ID}:
        return module[DEFAULT_MODULE_ID]
    return module
