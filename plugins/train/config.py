"""What a run is asked to be: how many workers, where its files go, and what happens when something fails."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.mesh import AXES

if TYPE_CHECKING:
    from shoal.train.callbacks import UserCallback
    from shoal.train.storage import Storage

STRATEGIES = ("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD")
DEFAULT_STORAGE = "~/shoal_results"

T = TypeVar("T")

Stop = Mapping[str, float] | Callable[[Mapping[str, Any]], bool]


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _check_workers(value: Any) -> int | tuple[int, int]:
    if isinstance(value, int) and not isinstance(value, bool):
        if value < 1:
            raise ConfigError(f"num_workers must be at least 1, not {value}")
        return value
    if (
        isinstance(value, (tuple, list))
        and len(value) == 2
        and all(isinstance(each, int) and not isinstance(each, bool) for each in value)
    ):
        low, high = value
        if not 1 <= low <= high:
            raise ConfigError(f"num_workers=(min, max) must have 1 <= min <= max, not {describe(value)}")
        return low, high
    raise ConfigError(f"num_workers must be a number or (min, max), not {describe(value)}")


@attrs.frozen
class ScalingConfig:
    """How many workers train, and what each of them gets.

    Parameters: `num_workers` is a number, or (min, max): then training shrinks when a worker's place is lost and grows
    when there is room, looked for every `elastic_resize_monitor_interval_s` seconds. `use_gpu` gives each worker a GPU.
    `resources_per_worker` are the resources of one ({"CPU": 1} by default). `trainer_resources` are held beside them.
    `placement_strategy` is PACK, SPREAD, STRICT_PACK or STRICT_SPREAD. `accelerator_type` names a kind of device that
    the nodes must have, `label_selector` labels (one mapping, or one for each worker). `topology` is a TPU's, as "2x2".
    `parallel` lays the workers out as a device mesh, {"dp": 2, "tp": 2}: sizes whose product is their number; "dp": -1
    takes the rest. Ranks that differ along dp and fsdp have rows of their own, along tp, pp and cp they share them.
    `wait_for_nodes_s` is how long nodes that could hold the workers may be missing.
    Raises ConfigError for what cannot be.

    Example: `ScalingConfig(num_workers=4, resources_per_worker={"CPU": 0.5})`
    """

    trainer_resources: Mapping[str, float] | None = None
    num_workers: int | tuple[int, int] = attrs.field(default=1, converter=_check_workers)
    use_gpu: bool = False
    resources_per_worker: Mapping[str, float] | None = None
    placement_strategy: str = "PACK"
    accelerator_type: str | None = None
    label_selector: Mapping[str, str] | Sequence[Mapping[str, str]] | None = None
    use_tpu: bool = False
    topology: str | None = None
    elastic_resize_monitor_interval_s: float = 60.0
    parallel: Mapping[str, int] | None = None
    wait_for_nodes_s: float = 0.0

    def __attrs_post_init__(self) -> None:
        if self.placement_strategy not in STRATEGIES:
            raise ConfigError(
                f"placement_strategy must be one of {', '.join(STRATEGIES)}, not {describe(self.placement_strategy)}"
            )
        for name in ("resources_per_worker", "trainer_resources"):
            _check_resources(name, getattr(self, name))
        own = self.resources_per_worker or {}
        if self.use_gpu and self.use_tpu:
            raise ConfigError("use_gpu and use_tpu cannot both be set")
        if own.get("GPU", 0) and not self.use_gpu:
            raise ConfigError(f"resources_per_worker asks for {own['GPU']:g} GPU, but use_gpu is not set")
        if self.use_gpu and own.get("GPU", 1) == 0:
            raise ConfigError("use_gpu is set, but resources_per_worker gives a worker 0 GPU")
        if self.topology is not None and not self.use_tpu:
            raise ConfigError("topology is a TPU's: set use_tpu=True with it")
        if not self.elastic_resize_monitor_interval_s > 0:
            raise ConfigError("elastic_resize_monitor_interval_s must be more than 0 seconds")
        if isinstance(self.label_selector, (list, tuple)) and len(self.label_selector) != self.max_workers:
            raise ConfigError(
                f"label_selector has {len(self.label_selector)} mappings for {self.max_workers} workers"
            )
        if self.parallel is not None:
            self.mesh(self.max_workers)

    @property
    def elasticity_enabled(self) -> bool:
        """Whether the number of workers may change."""
        return isinstance(self.num_workers, tuple)

    @property
    def min_workers(self) -> int:
        """The least number of workers to train with."""
        return self.num_workers[0] if isinstance(self.num_workers, tuple) else self.num_workers

    @property
    def max_workers(self) -> int:
        """The most workers to train with."""
        return self.num_workers[1] if isinstance(self.num_workers, tuple) else self.num_workers

    @property
    def num_tpus_per_worker(self) -> float:
        """How many TPU chips one worker gets."""
        return self.bundle().get("TPU", 0.0)

    def bundle(self) -> dict[str, float]:
        """Return the resources of one worker.

        Example: `ScalingConfig(use_gpu=True).bundle()  # {"CPU": 1.0, "GPU": 1.0}`
        """
        bundle = {name: float(value) for name, value in (self.resources_per_worker or {}).items() if value}
        if self.resources_per_worker is None:
            bundle["CPU"] = 1.0
        if self.use_gpu:
            bundle.setdefault("GPU", 1.0)
        if self.use_tpu:
            bundle.setdefault("TPU", 1.0)
        if self.accelerator_type:
            bundle[f"accelerator_type:{self.accelerator_type}"] = 0.001
        return bundle

    def mesh(self, workers: int) -> dict[str, int]:
        """Return the device mesh for so many workers: axes and their sizes. Raises ConfigError if it does not fit.

        Example: `ScalingConfig(num_workers=4, parallel={"dp": -1, "tp": 2}).mesh(4)  # {"dp": 2, "tp": 2}`
        """
        asked = dict(self.parallel or {"dp": workers})
        unknown = sorted(asked.keys() - set(AXES))
        if unknown:
            raise ConfigError(f"parallel has no axis {', '.join(unknown)}; it has {', '.join(AXES)}")
        for axis, size in asked.items():
            if not _is_count(size) or (size < 1 and size != -1):
                raise ConfigError(
                    f"parallel[{axis!r}] must be a number of workers or -1, not {describe(size)}"
                )
        open_axes = [axis for axis, size in asked.items() if size == -1]
        fixed = math.prod(size for size in asked.values() if size != -1)
        if len(open_axes) > 1:
            raise ConfigError(
                f"parallel has -1 for {' and '.join(open_axes)}; only one axis can take the rest"
            )
        if workers % fixed or (not open_axes and fixed != workers):
            raise ConfigError(f"parallel={asked} needs a multiple of {fixed} workers, not {workers}")
        return {axis: workers // fixed if size == -1 else size for axis, size in asked.items()}


def _check_resources(name: str, given: Any) -> None:
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ConfigError(f"{name} must be a mapping of resources, not {describe(given)}")
    for resource, amount in given.items():
        if (
            not isinstance(amount, (int, float))
            or isinstance(amount, bool)
            or not math.isfinite(amount)
            or amount < 0
        ):
            raise ConfigError(f"{name}[{resource!r}] must be a number of at least 0, not {describe(amount)}")


@attrs.frozen
class FailureConfig:
    """What happens when workers fail.

    Parameters: `max_failures` is how often training begins anew from its last checkpoint (−1: always). `fail_fast`
    ends the run at the first failure. `hang_timeout_s` is for how long nobody need report: then every rank's place in
    the code is shown, and it counts as a failure (None: for ever); `on_nan` says what a metric that is not a number
    does: "ignore", "stop" (end well) or "fail". `max_preemption_failures` is how many losses of nodes that were
    announced are not counted (−1: all). `preemption_grace_s` moves training away from nodes that will go (that are
    drained): with the next checkpoint, or after so many seconds without one; None stays until they are gone.
    What leads the run lives in the program that calls `fit()`, so `controller_failure_limit` can only be −1.
    Raises ConfigError.

    Example: `FailureConfig(max_failures=3, hang_timeout_s=600)`
    """

    max_failures: int = 0
    fail_fast: bool | str = False
    controller_failure_limit: int = -1
    max_preemption_failures: int = -1
    relax_collectives_on_preemption: bool = False
    preemption_grace_s: float | None = None
    hang_timeout_s: float | None = None
    on_nan: str = "ignore"

    def __attrs_post_init__(self) -> None:
        if not _is_count(self.max_failures) or self.max_failures < -1:
            raise ConfigError(
                f"max_failures must be a number of at least -1, not {describe(self.max_failures)}"
            )
        if self.fail_fast and self.max_failures != 0:
            raise ConfigError("fail_fast ends a run at its first failure: leave max_failures at 0 with it")
        if self.controller_failure_limit != -1:
            raise ConfigError(
                "controller_failure_limit can only be -1: the controller lives in the program that calls fit()"
            )
        if self.relax_collectives_on_preemption:
            raise ConfigError(
                "relax_collectives_on_preemption cannot be set: a group has all of its ranks or begins anew; "
                "preemption_grace_s moves training away from nodes that will go"
            )
        if self.preemption_grace_s is not None and not self.preemption_grace_s >= 0:
            raise ConfigError("preemption_grace_s must be at least 0 seconds, or None")
        if self.hang_timeout_s is not None and not self.hang_timeout_s > 0:
            raise ConfigError("hang_timeout_s must be more than 0 seconds, or None")
        if self.on_nan not in ("ignore", "stop", "fail"):
            raise ConfigError(f"on_nan must be 'ignore', 'stop' or 'fail', not {describe(self.on_nan)}")


@attrs.frozen
class CheckpointConfig:
    """Which checkpoints are kept.

    Parameters: `num_to_keep` is how many (None: all). `checkpoint_score_attribute` is the metric by which the best are
    kept, in the order `checkpoint_score_order` ("max" or "min"); without one the newest are. The newest is always kept,
    to go on from. `checkpoint_frequency` and `checkpoint_at_end` are for trainers with a loop of their own (XGBoost,
    LightGBM): a checkpoint every so many rounds, and at the end. With `in_memory` every checkpoint is held in the
    memory of two processes, on two nodes if there are two, and training goes on from there; only those of every
    `storage_frequency`-th report go to the storage, and the newest when the run ends.
    Raises ConfigError.

    Example: `CheckpointConfig(num_to_keep=2, checkpoint_score_attribute="accuracy")`
    """

    num_to_keep: int | None = None
    checkpoint_score_attribute: str | None = None
    checkpoint_score_order: str = "max"
    checkpoint_frequency: int = 0
    checkpoint_at_end: bool | None = None
    in_memory: bool = False
    storage_frequency: int = 1

    def __attrs_post_init__(self) -> None:
        if self.num_to_keep is not None and (not _is_count(self.num_to_keep) or self.num_to_keep < 1):
            raise ConfigError(f"num_to_keep must be None or at least 1, not {describe(self.num_to_keep)}")
        if self.checkpoint_score_order not in ("max", "min"):
            raise ConfigError(
                f"checkpoint_score_order must be 'max' or 'min', not {describe(self.checkpoint_score_order)}"
            )
        if self.checkpoint_frequency < 0:
            raise ConfigError("checkpoint_frequency must be at least 0")
        if not _is_count(self.storage_frequency) or self.storage_frequency < 1:
            raise ConfigError(
                f"storage_frequency must be a number of at least 1, not {describe(self.storage_frequency)}"
            )
        if self.storage_frequency > 1 and not self.in_memory:
            raise ConfigError(
                "storage_frequency is for checkpoints that are held in memory: set in_memory=True"
            )


@attrs.frozen
class SyncConfig:
    """How files get to the storage. Checkpoints go there by themselves.

    Parameters: `sync_timeout` is for how many seconds a storage that fails is tried again. `sync_artifacts` takes what
    each worker has written to its current folder to the storage as well, at the end of the run and, with
    `sync_artifacts_on_checkpoint`, with each checkpoint; `sync_period` is the least number of seconds between.

    Example: `SyncConfig(sync_timeout=600)`
    """

    sync_period: float = 300.0
    sync_timeout: float = 120.0
    sync_artifacts: bool = False
    sync_artifacts_on_checkpoint: bool = False

    def __attrs_post_init__(self) -> None:
        if not self.sync_timeout > 0:
            raise ConfigError("sync_timeout must be more than 0 seconds")
        if self.sync_artifacts or self.sync_artifacts_on_checkpoint:
            raise ConfigError(
                "sync_artifacts is not there: put what is to be kept into a checkpoint's folder"
            )


@attrs.frozen
class LoggingConfig:
    """How much the controller and the workers say. `log_level` is a level of the module logging.

    Example: `LoggingConfig(log_level="WARNING")`
    """

    log_level: int | str = "INFO"

    def __attrs_post_init__(self) -> None:
        if isinstance(self.log_level, str) and not isinstance(
            logging.getLevelName(self.log_level.upper()), int
        ):
            raise ConfigError(f"log_level must be one of logging's levels, not {describe(self.log_level)}")


def _listed(callbacks: Any) -> list[Any]:
    if callbacks is None:
        return []
    if not isinstance(callbacks, (list, tuple)):
        raise ConfigError(f"callbacks must be a list, not {describe(callbacks)}")
    return list(callbacks)


def _made(name: str, kind: type[T], given: Any) -> T:
    if given is None:
        return kind()
    if not isinstance(given, kind):
        raise ConfigError(f"{name} must be a {kind.__name__}, not {describe(given)}")
    return given


def _failure_config(given: FailureConfig | None) -> FailureConfig:
    return _made("failure_config", FailureConfig, given)


def _checkpoint_config(given: CheckpointConfig | None) -> CheckpointConfig:
    return _made("checkpoint_config", CheckpointConfig, given)


def _logging_config(given: LoggingConfig | None) -> LoggingConfig:
    return _made("logging_config", LoggingConfig, given)


def _sync_config(given: SyncConfig | None) -> SyncConfig:
    return _made("sync_config", SyncConfig, given)


@attrs.frozen
class RunConfig:
    """What a run is called, where its files go, and when it ends.

    Parameters: `name` is the folder's in `storage_path`, a path or URL of any filesystem that pyarrow or fsspec knows
    (~/shoal_results); `storage_filesystem` is one that was made for it. A run of a name that was there goes on from its
    last checkpoint. `worker_runtime_env` is the workers' environment. `callbacks` are told what happens, see
    `UserCallback`. `stop` ends the run: {"accuracy": 0.9} when a metric has reached a value ("training_iteration" is
    the number of reports), or a function of the metrics. `verbose` of 0 says nothing, 1 what matters, 2 every report.
    Raises ConfigError.

    Example: `RunConfig(name="digits", storage_path="s3://bucket/runs")`
    """

    name: str | None = None
    storage_path: str | None = None
    storage_filesystem: Any = None
    failure_config: FailureConfig = attrs.field(factory=FailureConfig, converter=_failure_config)
    checkpoint_config: CheckpointConfig = attrs.field(factory=CheckpointConfig, converter=_checkpoint_config)
    callbacks: list[UserCallback] = attrs.field(factory=list, converter=_listed)
    worker_runtime_env: Mapping[str, Any] | None = None
    logging_config: LoggingConfig = attrs.field(factory=LoggingConfig, converter=_logging_config)
    sync_config: SyncConfig = attrs.field(factory=SyncConfig, converter=_sync_config)
    verbose: int = 1
    stop: Stop | None = None
    progress_reporter: Callable[[int, Mapping[str, Any]], None] | None = None
    log_to_file: bool = False

    def __attrs_post_init__(self) -> None:
        name: Any = self.name
        if name is not None and (not isinstance(name, str) or not name or "/" in name or name in (".", "..")):
            raise ConfigError(f"name must be a folder's name, not {describe(self.name)}")
        if self.storage_path is not None and not isinstance(self.storage_path, (str, os.PathLike)):
            raise ConfigError(f"storage_path must be a path or URL, not {describe(self.storage_path)}")
        if self.stop is not None and not isinstance(self.stop, Mapping) and not callable(self.stop):
            raise ConfigError(f"stop must be metrics with values, or a function, not {describe(self.stop)}")
        if self.log_to_file:
            raise ConfigError(
                "log_to_file is not there: the session keeps what workers print (`shoal logs --actor`)"
            )

    @property
    def storage(self) -> str:
        """The path or URL of the folder that the run's folder lies in."""
        return os.fspath(self.storage_path or os.environ.get("SHOAL_TRAIN_STORAGE") or DEFAULT_STORAGE)

    @property
    def storage_context(self) -> Storage:
        """The folder that runs' folders lie in, opened. Raises ValueError for a URL of an unknown kind."""
        from shoal.train.storage import Storage, locate

        filesystem, path = locate(self.storage, self.storage_filesystem)
        return Storage(filesystem, path, self.sync_config.sync_timeout)

    def should_stop(self, metrics: Mapping[str, Any], reports: int) -> bool:
        """Return whether `stop` says that these metrics, of the report of that number from 1, are the last.

        Example: `RunConfig(stop={"training_iteration": 5}).should_stop({}, 5)  # True`
        """
        if self.stop is None:
            return False
        if not isinstance(self.stop, Mapping):
            return bool(self.stop(metrics))
        seen = {"training_iteration": reports, **metrics}
        return any(name in seen and seen[name] >= bound for name, bound in self.stop.items())
