"""The learners of an algorithm: one in its process, or several that share gradients."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import shoal
from shoal.errors import ConfigError
from shoal.rllib.checkpoints import Checkpointable, chosen
from shoal.rllib.core.columns import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from shoal.rllib.core.learner.training_data import TrainingData
from shoal.rllib.metrics.metrics_logger import MetricsLogger

_SECONDS = 600.0  # for which an update of learners that are actors may take
_AHEAD = 2  # updates that may wait at each


class LearnerGroup(Checkpointable):
    """Learns with one learner in this process (`num_learners=0`), or with several that are workers of shoal.train's.

    Several are ranks of torch.distributed: each gets a part of the episodes, and their gradients are averaged, so that
    all have the same weights at any time. A rank that dies fails the update with ActorDied.

    Parameters: `config` is the algorithm's, `module_spec` what is learned.

    Example: `LearnerGroup(config=config, module_spec=spec).update(episodes=episodes)`
    """

    def __init__(self, *, config: Any, module_spec: Any = None, placement_group: Any = None) -> None:
        if placement_group is not None:
            raise ConfigError("placement_group: learners find places of their own; leave it out")
        self.config = config
        self._spec = module_spec or config.get_multi_rl_module_spec()
        self._count: int = config.num_learners
        self._learner: Any = None
        self._workers: Any = None
        self._waiting: deque[list[Any]] = deque()
        if not self._count:
            self._learner = config.learner_class(config=config, module_spec=self._spec)
            self._learner.build()
            return
        from shoal.train.config import ScalingConfig
        from shoal.train.workers import RankedWorkers

        gpus = config.num_gpus_per_learner
        resources = {"CPU": config.num_cpus_per_learner, **({"GPU": gpus} if gpus else {})}
        scaling = ScalingConfig(num_workers=self._count, use_gpu=bool(gpus), resources_per_worker=resources)
        if not shoal.is_initialized():
            shoal.init()
        self._workers = RankedWorkers(scaling, "torch")
        self._workers.group.execute(_build, config, self._spec)

    @property
    def is_local(self) -> bool:
        """Whether the learner is in this process."""
        return self._learner is not None

    @property
    def is_remote(self) -> bool:
        """Whether learners are processes of their own."""
        return self._learner is None

    def __len__(self) -> int:
        return max(1, self._count)

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
        async_update: bool = False,
        return_state: bool = False,
        **kwargs: Any,
    ) -> list[dict[str, Any]]:
        """Learn from what is given in one form; return for each learner numbers that can be aggregated.

        With `async_update` learners that are processes are not waited for: what is returned is of updates before that
        are through. With `return_state` the weights are in the first one's numbers, under "_rl_module_state".
        `kwargs` go to `Learner.update`.
        """
        data = training_data or TrainingData(
            batch, batches, batch_refs, episodes, episodes_refs, data_iterators
        )
        data.validate()
        more = {"timesteps": timesteps, **kwargs}
        if self._learner is not None:
            if async_update:
                raise ConfigError(
                    "async_update is for learners that are processes: num_learners of 1 or more"
                )
            told = [self._learner.update(training_data=data, _no_metrics_reduce=True, **more)]
        else:
            size = more.get("minibatch_size")
            if size:
                more["minibatch_size"] = max(1, size // self._count)
            if more.get("num_epochs") and size and data.episodes is not None:
                # All ranks must make as many steps, however episodes were divided: else one waits for ever.
                steps = sum(len(each) for each in data.episodes)
                more["num_total_minibatches"] = more["num_epochs"] * max(1, steps // size)
            asked = [
                worker.actor.run.remote(_update, shard, more)
                for worker, shard in zip(self._workers.group.workers, data.shard(self._count), strict=True)
            ]
            told = self._later(asked) if async_update else shoal.get(asked, timeout=_SECONDS)
        if return_state and told:
            told[0]["_rl_module_state"] = self.get_weights()
        return told

    def async_update(self, *args: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Do as `update(async_update=True)`."""
        return self.update(*args, async_update=True, **kwargs)

    def update_from_batch(self, batch: Any, **kwargs: Any) -> list[dict[str, Any]]:
        """Do as `update(batch=…)`."""
        return self.update(batch=batch, **kwargs)

    def update_from_episodes(self, episodes: Sequence[Any], **kwargs: Any) -> list[dict[str, Any]]:
        """Do as `update(episodes=…)`."""
        return self.update(episodes=episodes, **kwargs)

    def foreach_learner(
        self,
        func: Callable[..., Any],
        *,
        healthy_only: bool = True,
        remote_actor_ids: Sequence[int] | None = None,
        timeout_seconds: float | None = None,
        return_obj_refs: bool = False,
        mark_healthy: bool = True,
        **kwargs: Any,
    ) -> list[Any]:
        """Return what a function of a learner gives, for each (or those ranks of `remote_actor_ids`)."""
        if self._learner is not None:
            return [func(self._learner, **kwargs)]
        workers = self._workers.group.workers
        chosen_ones = [
            each for rank, each in enumerate(workers) if remote_actor_ids is None or rank in remote_actor_ids
        ]
        asked = [each.actor.run.remote(_apply, func, kwargs) for each in chosen_ones]
        if return_obj_refs:
            return asked
        found: list[Any] = shoal.get(asked, timeout=timeout_seconds or _SECONDS)
        return found

    def get_weights(self, module_ids: Collection[str] | None = None) -> dict[str, Any]:
        """Return the modules' weights as arrays, by module and name."""

        def weights(learner: Any) -> dict[str, Any]:
            state: dict[str, Any] = learner.module.get_state(module_ids, inference_only=True)
            return state

        found: dict[str, Any] = self.foreach_learner(weights, remote_actor_ids=[0])[0]
        return found

    def set_weights(self, weights: dict[str, Any]) -> None:
        """Let all learners take weights."""
        self.set_state({COMPONENT_LEARNER: {COMPONENT_RL_MODULE: weights}})

    def get_stats(self) -> dict[str, Any]:
        """Return how many learners there are, and how many updates wait."""
        return {"num_learners": len(self), "updates_waiting": len(self._waiting)}

    def add_module(
        self,
        *,
        module_id: str,
        module_spec: Any,
        config_overrides: Mapping[str, Any] | None = None,
        new_should_module_be_updated: Any = None,
    ) -> Any:
        """Let all learners learn one module more; return how all are made now."""

        def add(learner: Any) -> Any:
            return learner.add_module(
                module_id=module_id,
                module_spec=module_spec,
                config_overrides=config_overrides,
                new_should_module_be_updated=new_should_module_be_updated,
            )

        return self.foreach_learner(add)[0]

    def remove_module(self, module_id: str, *, new_should_module_be_updated: Any = None) -> Any:
        """Let all learners forget a module; return how all are made now."""

        def remove(learner: Any) -> Any:
            return learner.remove_module(module_id, new_should_module_be_updated=new_should_module_be_updated)

        return self.foreach_learner(remove)[0]

    def load_module_state(
        self,
        *,
        multi_rl_module_ckpt_dir: str | None = None,
        modules_to_load: Collection[str] | None = None,
        rl_module_ckpt_dirs: Mapping[str, str] | None = None,
    ) -> None:
        """Take modules' weights of folders: of one with all of them, or of one each."""
        folders = dict(rl_module_ckpt_dirs or {})

        def load(learner: Any) -> None:
            if multi_rl_module_ckpt_dir is not None:
                for name in modules_to_load or list(learner.module.keys()):
                    learner.module[name].restore_from_path(f"{multi_rl_module_ckpt_dir}/{name}")
            for name, folder in folders.items():
                learner.module[name].restore_from_path(folder)

        self.foreach_learner(load)

    def get_state(
        self,
        components: str | Collection[str] | None = None,
        *,
        not_components: str | Collection[str] | None = None,
        **kwargs: Any,
    ) -> dict[str, Any]:
        """Return the state of a learner: they are alike."""
        if not chosen(COMPONENT_LEARNER, components, not_components):
            return {}
        return {
            COMPONENT_LEARNER: self.foreach_learner(
                lambda learner: learner.get_state(), remote_actor_ids=[0]
            )[0]
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Let all learners take a state."""
        if COMPONENT_LEARNER in state:
            given = state[COMPONENT_LEARNER]
            self.foreach_learner(lambda learner: learner.set_state(given))

    def get_ctor_args_and_kwargs(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Return what learners like these are made with."""
        return (), {"config": self.config, "module_spec": self._spec}

    def shutdown(self) -> None:
        """End the learners."""
        if self._learner is not None:
            self._learner.shutdown()
        elif self._workers is not None:
            self._workers.stop()

    def _later(self, asked: list[Any]) -> list[dict[str, Any]]:
        self._waiting.append(asked)
        told: list[dict[str, Any]] = []
        while self._waiting:
            first = self._waiting[0]
            if len(self._waiting) <= _AHEAD and len(shoal.wait(first, num_returns=len(first), timeout=0)[1]):
                break
            told += shoal.get(self._waiting.popleft(), timeout=_SECONDS)
        return told


class _Here:
    """The learner of a worker's process."""

    learner: Any = None


def _build(config: Any, spec: Any) -> None:
    _Here.learner = config.learner_class(config=config, module_spec=spec)
    _Here.learner.build()
    # Ranks begin with the weights of the first.
    from torch import distributed

    for listed in _Here.learner._parameters.values():
        for param in listed:
            distributed.broadcast(param.data, 0)


def _update(shard: TrainingData, more: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = _Here.learner.update(training_data=shard, _no_metrics_reduce=True, **more)
    return told


def _apply(func: Callable[..., Any], kwargs: dict[str, Any]) -> Any:
    return func(_Here.learner, **kwargs)


def merged(told: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return what several learners' numbers come to.

    Example: `merged(group.update(episodes=episodes))["default_policy"]["total_loss"]`
    """
    if len(told) == 1:
        found: dict[str, Any] = MetricsLogger.peek_results(told[0])
        return found
    logger = MetricsLogger(root=True)
    by_mean = [_as_means(each) for each in told]
    logger.aggregate(by_mean)
    means: dict[str, Any] = logger.peek()
    return means


def _as_means(told: Any) -> Any:
    from shoal.rllib.metrics.stats import ItemStats, MeanStats

    if isinstance(told, Mapping):
        return {name: _as_means(each) for name, each in told.items() if not name.startswith("_rl_module")}
    if not isinstance(told, ItemStats):
        return told
    made = MeanStats()
    made.push(told.peek())
    return made
