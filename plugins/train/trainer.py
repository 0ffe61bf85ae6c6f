"""Trainers: a function that many workers run, and what it needs."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Mapping
from typing import Any
from uuid import uuid4

import shoal
from shoal.errors import ConfigError, describe
from shoal.train.backend import BackendConfig, backend_config_of
from shoal.train.callbacks import Callbacks, RunContext
from shoal.train.checkpoint import Checkpoint
from shoal.train.config import RunConfig, ScalingConfig
from shoal.train.controller.events import Fail, Succeed
from shoal.train.controller.records import Records
from shoal.train.controller.shell import Job, Shell, error_of
from shoal.train.data import DataConfig, check_datasets
from shoal.train.errors import ControllerError
from shoal.train.group import refuse_impossible
from shoal.train.result import STATE, Result, frame_of
from shoal.train.storage import Storage, locate
from shoal.train.validation import ValidationConfig
from shoal.train.worker import takes_config

log = logging.getLogger("shoal.train")


class DataParallelTrainer:
    """Runs a training function on many workers at once, with a backend that lets them find each other.

    Parameters: `train_loop_per_worker` is the function; it takes `train_loop_config` or nothing. `backend_config` is a
    BackendConfig or a plugin's name. `scaling_config` and `run_config` say how many workers there are and where the
    run's files go. `datasets` are dealt to the workers as `dataset_config` says. `metadata` goes to the run's context.
    `resume_from_checkpoint` is where the function begins from. `validation_config` validates checkpoints.
    Raises ConfigError and TypeError for what is wrong, at once.

    Example: `DataParallelTrainer(train, scaling_config=ScalingConfig(num_workers=2)).fit()`
    """

    def __init__(
        self,
        train_loop_per_worker: Callable[..., Any],
        *,
        train_loop_config: Mapping[str, Any] | None = None,
        backend_config: BackendConfig | str | None = None,
        scaling_config: ScalingConfig | None = None,
        run_config: RunConfig | None = None,
        datasets: Mapping[str, Any] | None = None,
        dataset_config: DataConfig | None = None,
        resume_from_checkpoint: Checkpoint | None = None,
        metadata: Mapping[str, Any] | None = None,
        validation_config: ValidationConfig | None = None,
    ) -> None:
        if not callable(train_loop_per_worker):
            raise TypeError(
                f"train_loop_per_worker must be a function, not {describe(train_loop_per_worker)}"
            )
        takes_config(train_loop_per_worker)
        _check("train_loop_config", train_loop_config, Mapping)
        _check("scaling_config", scaling_config, ScalingConfig)
        _check("run_config", run_config, RunConfig)
        _check("dataset_config", dataset_config, DataConfig)
        _check("resume_from_checkpoint", resume_from_checkpoint, Checkpoint)
        _check("metadata", metadata, Mapping)
        _check("validation_config", validation_config, ValidationConfig)
        self.train_loop_per_worker = train_loop_per_worker
        self.train_loop_config = train_loop_config
        self.backend_config = backend_config_of(backend_config)
        self.scaling_config = scaling_config or ScalingConfig()
        self.run_config = run_config or RunConfig()
        self.datasets = check_datasets(datasets)
        self.dataset_config = dataset_config or DataConfig()
        self.resume_from_checkpoint = resume_from_checkpoint
        self.metadata = dict(metadata or {})
        self.validation_config = validation_config

    def fit(self) -> Result:
        """Train; return what came of it.

        A run of the same name in the same storage goes on from its last checkpoint.
        Raises TrainingFailedError when workers fail more often than `failure_config` allows, ConfigError for what
        cannot be (no node has the resources, a run of that name goes on), NotSerializable for a function or
        configuration that cannot be sent.

        Example: `result = trainer.fit(); print(result.metrics, result.checkpoint)`
        """
        run = self.run_config
        logging.getLogger("shoal.train").setLevel(
            "ERROR" if run.verbose == 0 else run.logging_config.log_level
        )
        payload = shoal.put((self.train_loop_per_worker, self.train_loop_config))
        if self.scaling_config.wait_for_nodes_s == 0:
            refuse_impossible(self.scaling_config, shoal.nodes())
        name = run.name or f"{type(self).__name__}_{time.strftime('%Y-%m-%d_%H-%M-%S')}_{uuid4().hex[:6]}"
        above = run.storage_context
        storage = Storage(above.filesystem, f"{above.path.rstrip('/')}/{name}", above.patience)
        records = Records(storage, name)
        job = Job(
            name=name,
            storage=storage,
            scaling=self.scaling_config,
            run=run,
            payload=payload,
            backend=self.backend_config,
            datasets=self.datasets,
            data=self.dataset_config,
            metadata=self.metadata,
            resume=self.resume_from_checkpoint,
            validation=self.validation_config,
        )
        callbacks = Callbacks(
            run.callbacks,
            RunContext(
                name=name,
                path=storage.path,
                run_config=run,
                scaling_config=self.scaling_config,
                train_loop_config=dict(self.train_loop_config or {}),
            ),
        )
        records.save(records.kept())
        outcome: Succeed | Fail = Fail(RuntimeError("the program that called fit() ended it"))
        result = None
        try:
            callbacks.tell("on_start")
            try:
                outcome = Shell(job, records, callbacks).lead()
            except OSError as away:  # the storage's
                outcome = Fail(ControllerError(away))
        finally:
            error = error_of(outcome)
            records.finish(error)
            result = _result(job, records, outcome, error)
            callbacks.tell("on_end", result)
        if error is not None:
            raise error
        return result

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Return whether there was a run in that folder.

        Example: `TorchTrainer.can_restore("~/shoal_results/digits")`
        """
        filesystem, inside = locate(os.fspath(path), storage_filesystem)
        return Storage(filesystem, inside, patience=30.0).read(STATE) is not None

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        train_loop_per_worker: Callable[..., Any] | None = None,
        train_loop_config: Mapping[str, Any] | None = None,
        *,
        storage_filesystem: Any = None,
        datasets: Mapping[str, Any] | None = None,
        scaling_config: ScalingConfig | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return a trainer that goes on with the run in that folder, from its last checkpoint.

        Parameters: the function, its configuration and the rest are as for a new trainer.
        Raises ConfigError if there was no run, or without the function.

        Example: `TorchTrainer.restore("~/shoal_results/digits", train).fit()`
        """
        given = os.fspath(path).rstrip("/")
        if not cls.can_restore(given, storage_filesystem):
            raise ConfigError(f"there was no run in {given}: it has no file {STATE}")
        if train_loop_per_worker is None:
            raise ConfigError("restore() needs train_loop_per_worker: the function is not stored")
        import attrs

        where, _, name = given.rpartition("/")
        run = attrs.evolve(
            kwargs.pop("run_config", None) or RunConfig(),
            name=name,
            storage_path=where or ".",
            storage_filesystem=storage_filesystem,
        )
        return cls(
            train_loop_per_worker,
            train_loop_config=train_loop_config,
            datasets=datasets,
            scaling_config=scaling_config,
            run_config=run,
            **kwargs,
        )

    def get_dataset_config(self) -> DataConfig:
        """Return how the datasets are dealt."""
        return self.dataset_config

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.scaling_config.num_workers} workers>"


def format_datasets_for_repr(datasets: Mapping[str, Any]) -> str:
    """Return datasets as one line of text.

    Example: `format_datasets_for_repr({"train": dataset})`
    """
    return "{" + ", ".join(f"{name!r}: {dataset!r}" for name, dataset in datasets.items()) + "}"


def _check(name: str, given: Any, kind: type) -> None:
    if given is not None and not isinstance(given, kind):
        raise ConfigError(f"{name} must be a {kind.__name__}, not {describe(given)}")


def _result(job: Job, records: Records, outcome: Succeed | Fail, error: Exception | None) -> Result:
    rows = records.rows
    storage = job.storage
    kept = [
        (Checkpoint(each.path or storage.at(each.name), storage.filesystem), dict(each.metrics))
        for each in records.kept()
    ]
    return Result(
        metrics=rows[-1] if rows else None,
        checkpoint=kept[-1][0] if kept else None,
        error=error,
        path=storage.path,
        metrics_dataframe=frame_of(rows),
        best_checkpoints=kept,
        storage_filesystem=storage.filesystem,
        return_value=outcome.value if isinstance(outcome, Succeed) else None,
    )
