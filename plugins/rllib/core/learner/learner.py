"""What learns: modules, optimisers, and a loss for each module."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from shoal.errors import ConfigError
from shoal.rllib.checkpoints import Checkpointable, chosen
from shoal.rllib.core.columns import COMPONENT_OPTIMIZER, COMPONENT_RL_MODULE
from shoal.rllib.core.learner.minibatches import MiniBatchCyclicIterator
from shoal.rllib.core.learner.training_data import TrainingData
from shoal.rllib.core.rl_module.rl_module import MultiRLModule, RLModule, RLModuleSpec
from shoal.rllib.metrics.metrics_logger import MetricsLogger
from shoal.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

DEFAULT_OPTIMIZER = "default_optimizer"


class Learner(Checkpointable, ABC):
    """Learns from episodes or batches. Override `compute_loss_for_module`; more if it must be.

    `update` makes a batch of episodes by the learner's connectors, and for each minibatch goes forward, computes a loss
    for each module, gradients, and a step of the optimisers.

    Parameters: `config` is the algorithm's; `module_spec` or `module` are what is learned.

    Example:
        class Mine(TorchLearner):
            def compute_loss_for_module(self, *, module_id, config, batch, fwd_out):
                kind = self.module[module_id].get_train_action_dist_cls()
                logp = kind.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS]).logp(batch[Columns.ACTIONS])
                return -(logp * batch[Columns.RETURNS_TO_GO]).mean()
        config.training(learner_class=Mine)
    """

    framework: str | None = None
    TOTAL_LOSS_KEY = "total_loss"

    def __init__(self, *, config: Any, module_spec: Any = None, module: RLModule | None = None) -> None:
        if (module_spec is None) == (module is None):
            raise ConfigError("a Learner needs either module_spec or module")
        self.config = config
        self._module_spec = None if module_spec is None else module_spec.as_multi_rl_module_spec()
        self._module = module
        self._optimizers: dict[str, dict[str, Any]] = {}
        self._parameters: dict[str, list[Any]] = {}
        self._should_update: Any = getattr(config, "policies_to_train", None)
        self._learner_connector: Any = None
        self._built = False
        self.metrics = MetricsLogger()
        self.weights_seq_no = 0

    def build(self) -> None:
        """Make what is learned, its optimisers and its connectors. Raises ConfigError for modules that do not fit."""
        if self._built:
            return
        spec: Any = self._module_spec
        made: Any = self._module if self._module is not None else spec.build()
        several = self._module = self._placed(made.as_multi_rl_module())
        for name, each in several.items():
            self._check(name, each)
        self._learner_connector = self.config.build_learner_connector(
            self._module_spec.observation_space if self._module_spec is not None else None,
            self._module_spec.action_space if self._module_spec is not None else None,
            device=self.device,
        )
        self.configure_optimizers()
        self._built = True

    @property
    def module(self) -> Any:
        """The modules that are learned, by name (a MultiRLModule)."""
        return self._module

    @property
    def distributed(self) -> bool:
        """Whether there are several learners that share gradients."""
        return int(getattr(self.config, "num_learners", 0) or 0) > 1

    @property
    def node(self) -> str:
        """The node that it runs on."""
        import shoal

        return str(shoal.get_runtime_context().get_node_id()) if shoal.is_initialized() else "local"

    @property
    @abstractmethod
    def device(self) -> Any:
        """The device that it learns on."""

    @classmethod
    def rl_module_required_apis(cls) -> list[type]:
        """Return what modules must be able to do: classes of `shoal.rllib.core.rl_module.apis`."""
        return []

    def rl_module_is_compatible(self, module: RLModule) -> bool:
        """Return whether a module can be learned here."""
        return all(isinstance(module.unwrapped(), api) for api in self.rl_module_required_apis())

    def configure_optimizers(self) -> None:
        """Make optimisers for all modules that are learned."""
        for name in self.module.keys():  # noqa: SIM118  # no dictionary
            if self.should_module_be_updated(name):
                self.configure_optimizers_for_module(name, self._config_of(name))

    @abstractmethod
    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Make the optimisers of a module: call `register_optimizer` for each."""

    def register_optimizer(
        self,
        *,
        module_id: str = "all_modules",
        optimizer_name: str = DEFAULT_OPTIMIZER,
        optimizer: Any,
        params: Sequence[Any],
        lr_or_lr_schedule: Any = None,
    ) -> None:
        """Let an optimiser move parameters. Raises ConfigError if the name is taken.

        `lr_or_lr_schedule` is a rate, or [[step, rate], …] with rates between as they lie.
        """
        known = self._optimizers.setdefault(module_id, {})
        if optimizer_name in known:
            raise ConfigError(f"module {module_id!r} has an optimizer {optimizer_name!r} already")
        known[optimizer_name] = optimizer
        self._parameters[f"{module_id}/{optimizer_name}"] = list(params)
        if lr_or_lr_schedule is not None:
            from shoal.rllib.core.learner.scheduler import Scheduler

            Scheduler.validate(lr_or_lr_schedule, "lr_or_lr_schedule", "learning rate")
            self._schedule(f"{module_id}/{optimizer_name}", Scheduler(lr_or_lr_schedule))

    def get_optimizer(self, module_id: str = "all_modules", optimizer_name: str = DEFAULT_OPTIMIZER) -> Any:
        """Return an optimiser. Raises KeyError if there is none of that name."""
        return self._optimizers[module_id][optimizer_name]

    def get_optimizers_for_module(self, module_id: str = "all_modules") -> list[tuple[str, Any]]:
        """Return (name, optimiser) of a module's."""
        return list(self._optimizers.get(module_id, {}).items())

    @abstractmethod
    def get_parameters(self, module: Any) -> Sequence[Any]:
        """Return the parameters of a module."""

    @abstractmethod
    def get_param_ref(self, param: Any) -> Any:
        """Return what a parameter is known by in dictionaries of gradients."""

    def filter_param_dict_for_optimizer(
        self, param_dict: Mapping[Any, Any], optimizer: Any
    ) -> dict[Any, Any]:
        """Return those items of a dictionary of gradients that an optimiser moves."""
        for module, known in self._optimizers.items():
            for name, each in known.items():
                if each is optimizer:
                    refs = [self.get_param_ref(param) for param in self._parameters[f"{module}/{name}"]]
                    return {ref: param_dict[ref] for ref in refs if ref in param_dict}
        raise KeyError("this optimizer is not registered here")

    def should_module_be_updated(self, module_id: str, multi_agent_batch: Any = None) -> bool:
        """Return whether a module is learned: `policies_to_train`, names or a function of (name, batch), says so."""
        said = self._should_update
        if said is None:
            return True
        return bool(said(module_id, multi_agent_batch)) if callable(said) else module_id in said

    def compute_losses(self, *, fwd_out: dict[str, Any], batch: dict[str, Any]) -> dict[str, Any]:
        """Return the loss of each module, of what they gave and the batch."""
        from shoal.rllib.core.rl_module.apis import SelfSupervisedLossAPI

        losses = {}
        for name, given in fwd_out.items():
            if name not in self.module or not self.should_module_be_updated(name):
                continue
            module = self.module[name].unwrapped()
            config = self._config_of(name)
            if isinstance(module, SelfSupervisedLossAPI):
                losses[name] = module.compute_self_supervised_loss(
                    learner=self, module_id=name, config=config, batch=batch[name], fwd_out=given
                )
            else:
                losses[name] = self.compute_loss_for_module(
                    module_id=name, config=config, batch=batch[name], fwd_out=given
                )
        return losses

    def compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        """Do as `compute_losses`."""
        return self.compute_losses(*args, **kwargs)

    @abstractmethod
    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Any], fwd_out: dict[str, Any]
    ) -> Any:
        """Return the loss of one module, a tensor of no dimensions."""

    @abstractmethod
    def compute_gradients(self, loss_per_module: Mapping[str, Any], **kwargs: Any) -> dict[Any, Any]:
        """Return gradients by `get_param_ref` of their parameters."""

    def postprocess_gradients(self, gradients_dict: Mapping[Any, Any]) -> dict[Any, Any]:
        """Return gradients as they are to be applied: bounded, module by module."""
        made: dict[Any, Any] = {}
        for name in self.module.keys():  # noqa: SIM118
            for _, optimizer in self.get_optimizers_for_module(name):
                theirs = self.filter_param_dict_for_optimizer(gradients_dict, optimizer)
                made |= self.postprocess_gradients_for_module(
                    module_id=name, config=self._config_of(name), module_gradients_dict=theirs
                )
        return {**gradients_dict, **made}

    @abstractmethod
    def postprocess_gradients_for_module(
        self, *, module_id: str, config: Any = None, module_gradients_dict: Mapping[Any, Any]
    ) -> dict[Any, Any]:
        """Return a module's gradients as they are to be applied: bounded by `grad_clip` and `grad_clip_by`."""

    @abstractmethod
    def apply_gradients(self, gradients_dict: Mapping[Any, Any]) -> None:
        """Let the optimisers make a step."""

    def before_gradient_based_update(self, *, timesteps: Mapping[str, Any]) -> None:
        """Is called before the minibatches of an update; `timesteps` are the steps of the algorithm so far by name."""

    def after_gradient_based_update(self, *, timesteps: Mapping[str, Any]) -> None:
        """Is called after the minibatches of an update."""

    def update(
        self,
        batch: Any = None,
        batches: Sequence[Any] | None = None,
        batch_refs: Sequence[Any] | None = None,
        episodes: Sequence[Any] | None = None,
        episodes_refs: Sequence[Any] | None = None,
        data_iterators: Sequence[Any] | None = None,
        training_data: TrainingData | None = None,
        *,
        timesteps: Mapping[str, Any] | None = None,
        num_total_minibatches: int = 0,
        num_epochs: int = 1,
        minibatch_size: int | None = None,
        shuffle_batch_per_epoch: bool = False,
        _no_metrics_reduce: bool = False,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Learn from what is given in one form (`TrainingData`), in epochs of minibatches; return numbers by module.

        Raises ConfigError if it is given in none or in several forms.
        """
        self.build()
        data = training_data or TrainingData(
            batch, batches, batch_refs, episodes, episodes_refs, data_iterators
        )
        data.validate()
        data.solve_refs()
        steps = dict(timesteps or {})
        whole = self._batch_of(data)
        self.before_gradient_based_update(timesteps=steps)
        if data.data_iterators is not None:
            from shoal.rllib.core.learner.minibatches import MiniBatchRayDataIterator

            parts: Any = MiniBatchRayDataIterator(
                iterator=data.data_iterators[0],
                device=self.device,
                minibatch_size=minibatch_size or 256,
                num_iters=num_total_minibatches or None,
            )
        else:
            parts = MiniBatchCyclicIterator(
                whole,
                num_epochs=num_epochs,
                minibatch_size=minibatch_size,
                shuffle_batch_per_epoch=shuffle_batch_per_epoch,
                num_total_minibatches=num_total_minibatches,
            )
        for part in parts:
            losses = self._update(dict(part.policy_batches), **kwargs)
            self.weights_seq_no += 1
            for name, loss in losses.items():
                self.metrics.log_value((name, self.TOTAL_LOSS_KEY), loss.detach(), reduce="item")
        self.after_gradient_based_update(timesteps=steps)
        self._move_rates(steps)
        told: dict[str, Any] = self.metrics.reduce(compile=not _no_metrics_reduce)
        return told

    def update_from_batch(self, batch: Any, **kwargs: Any) -> dict[str, Any]:
        """Do as `update(batch=…)`."""
        return self.update(batch=batch, **kwargs)

    def update_from_episodes(self, episodes: Sequence[Any], **kwargs: Any) -> dict[str, Any]:
        """Do as `update(episodes=…)`."""
        return self.update(episodes=episodes, **kwargs)

    def add_module(
        self,
        *,
        module_id: str,
        module_spec: RLModuleSpec,
        config_overrides: Mapping[str, Any] | None = None,
        new_should_module_be_updated: Any = None,
    ) -> Any:
        """Add a module to be learned; return how all are made now. Raises ConfigError for settings of its own."""
        if config_overrides:
            raise ConfigError("config_overrides: modules have the algorithm's settings")
        self.module.add_module(module_id, self._placed_one(module_spec.build()))
        if self._module_spec is not None:
            self._module_spec.add_modules({module_id: module_spec})
        if new_should_module_be_updated is not None:
            self._should_update = new_should_module_be_updated
        if self.should_module_be_updated(module_id):
            self.configure_optimizers_for_module(module_id, self._config_of(module_id))
        return self._module_spec

    def remove_module(self, module_id: str, *, new_should_module_be_updated: Any = None) -> Any:
        """Take a module and its optimisers away; return how all are made now."""
        self.module.remove_module(module_id)
        for name in self._optimizers.pop(module_id, {}):
            self._parameters.pop(f"{module_id}/{name}", None)
        if self._module_spec is not None:
            self._module_spec.remove_modules(module_id)
        if new_should_module_be_updated is not None:
            self._should_update = new_should_module_be_updated
        return self._module_spec

    def apply(self, func: Callable[..., Any], *_args: Any, **_kwargs: Any) -> Any:
        """Return what a function of this learner gives."""
        return func(self, *_args, **_kwargs)

    def shutdown(self) -> None:
        """Free what is held; nothing more is learned then."""
        self._optimizers, self._parameters = {}, {}

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what a learner like this one is made with."""
        return (), {"config": self.config, "module_spec": self._module_spec}

    def get_checkpointable_components(self) -> list[tuple[str, Any]]:
        """Return the modules."""
        self.build()
        return [(COMPONENT_RL_MODULE, self.module)]

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return weights and the optimisers' states."""
        self.build()
        state: dict[str, Any] = {"weights_seq_no": self.weights_seq_no}
        if chosen(COMPONENT_RL_MODULE, components, not_components):
            state[COMPONENT_RL_MODULE] = self.module.get_state(**kwargs)
        if chosen(COMPONENT_OPTIMIZER, components, not_components):
            state[COMPONENT_OPTIMIZER] = self._optimizer_state()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        """Take weights and the optimisers' states."""
        self.build()
        if COMPONENT_RL_MODULE in state:
            self.module.set_state(state[COMPONENT_RL_MODULE])
        if COMPONENT_OPTIMIZER in state:
            self._set_optimizer_state(state[COMPONENT_OPTIMIZER])
        self.weights_seq_no = state.get("weights_seq_no", self.weights_seq_no)

    @abstractmethod
    def _optimizer_state(self) -> dict[str, Any]:
        """Return the optimisers' states, by module and name."""

    @abstractmethod
    def _set_optimizer_state(self, state: dict[str, Any]) -> None:
        """Take them."""

    @abstractmethod
    def _update(self, batch: dict[str, Any], **kwargs: Any) -> dict[str, Any]:
        """Learn from one minibatch; return the losses."""

    @abstractmethod
    def _placed(self, module: MultiRLModule) -> MultiRLModule:
        """Return modules on the device."""

    @abstractmethod
    def _placed_one(self, module: RLModule) -> RLModule:
        """Return a module on the device."""

    @abstractmethod
    def _schedule(self, name: str, scheduler: Any) -> None:
        """Let a rate follow a schedule."""

    @abstractmethod
    def _move_rates(self, timesteps: Mapping[str, Any]) -> None:
        """Put rates where their schedules are now."""

    def _config_of(self, module_id: str) -> Any:
        return self.config.get_config_for_module(module_id)

    def _check(self, name: str, module: RLModule) -> None:
        if self.rl_module_is_compatible(module) or not self.should_module_be_updated(name):
            return
        wanted = ", ".join(api.__name__ for api in self.rl_module_required_apis())
        raise ConfigError(
            f"module {name!r} ({type(module.unwrapped()).__name__}) must have {wanted} for {type(self).__name__}"
        )

    def _batch_of(self, data: TrainingData) -> Any:
        if data.batch is not None:
            return data.batch.as_multi_agent()
        if data.episodes is None:
            return None
        copies = [each.slice(slice(None)) for each in data.episodes]  # pieces change episodes
        columns = self._learner_connector(
            rl_module=self.module,
            batch={},
            episodes=copies,
            explore=None,
            shared_data={},
            metrics=self.metrics,
        )
        parts = {}
        for name, each in columns.items():
            made = SampleBatch()
            for column, value in each.items():
                dict.__setitem__(made, column, value)
            parts[name] = made
        return MultiAgentBatch(parts, sum(len(each) for each in data.episodes))
