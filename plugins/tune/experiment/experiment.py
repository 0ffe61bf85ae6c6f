"""An experiment as one object: what the older `run` and `run_experiments` take."""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.config import CheckpointConfig, FailureConfig, RunConfig, SyncConfig
from shoal.tune.config import TuneConfig
from shoal.tune.experiment.export_format import ExportFormat
from shoal.tune.launch import Extras, Plan
from shoal.tune.output import files_of
from shoal.tune.registry import name_of, register_trainable, trainable_named
from shoal.tune.stopper import NoopStopper, Stopper, stopper_of
from shoal.tune.trainable.given import with_resources

__all__ = ["Experiment"]

_SHORT = ("name", "run")


class Experiment:
    """What is tried, with which configurations, and where the results go.

    Parameters: `name` is the experiment's, `run` a trainable or the name of one that was registered. `stop`,
    `storage_path`, `storage_filesystem`, `sync_config` and `checkpoint_config` are those of RunConfig; `time_budget_s`,
    `num_samples`, `trial_name_creator` and `trial_dirname_creator` those of TuneConfig; `config` is the space.
    `resources_per_trial` is what each trial gets. `log_to_file` is True, a file's name or two of them, for standard
    output and errors: what a trial prints is in its folder too. A class exports its model at its end, in
    `export_formats`. A trial that fails is tried again `max_failures` times. All trials begin from the checkpoint in
    the folder `restore`.
    Raises ConfigError.

    Example: `run_experiments(Experiment("walks", Walk, config={"speed": tune.grid_search([1, 2])}))`
    """

    PUBLIC_KEYS: ClassVar[frozenset[str]] = frozenset({"stop", "num_samples", "time_budget_s"})

    def __init__(
        self,
        name: str,
        run: Any,
        *,
        stop: Any = None,
        time_budget_s: float | datetime.timedelta | None = None,
        config: Mapping[str, Any] | None = None,
        resources_per_trial: Any = None,
        num_samples: int = 1,
        storage_path: str | None = None,
        storage_filesystem: Any = None,
        sync_config: SyncConfig | None = None,
        checkpoint_config: CheckpointConfig | None = None,
        trial_name_creator: Callable[..., str] | None = None,
        trial_dirname_creator: Callable[..., str] | None = None,
        log_to_file: Any = False,
        export_formats: Sequence[str] | None = None,
        max_failures: int = 0,
        restore: str | os.PathLike[str] | None = None,
    ) -> None:
        if config is not None and not isinstance(config, Mapping):
            raise ConfigError(f"config must be a mapping, not {describe(config)}")
        formats = list(export_formats or ())
        ExportFormat.validate(formats)
        self.name = name
        self._run_identifier = self.register_if_needed(run)
        self._trainable = trainable_named(run) if isinstance(run, str) else run
        if resources_per_trial is not None:
            self._trainable = with_resources(self._trainable, resources_per_trial)
        self._stopper = stopper_of(stop)
        self._config = dict(config or {})
        self._tune = TuneConfig(
            num_samples=num_samples,
            time_budget_s=time_budget_s,
            trial_name_creator=trial_name_creator,
            trial_dirname_creator=trial_dirname_creator,
        )
        self._run = RunConfig(
            name=name,
            storage_path=storage_path,
            storage_filesystem=storage_filesystem,
            stop=stop,
            failure_config=FailureConfig(max_failures=max_failures),
            checkpoint_config=checkpoint_config,
            sync_config=sync_config,
        )
        self._extras = Extras(
            files=files_of(log_to_file),
            export_formats=tuple(formats),
            begin_from=None if restore is None else os.path.abspath(os.path.expanduser(os.fspath(restore))),
        )
        self.spec: dict[str, Any] = {
            "run": self._run_identifier,
            "stop": stop,
            "config": self._config,
            "resources_per_trial": resources_per_trial,
            "num_samples": num_samples,
            "time_budget_s": self._tune.time_budget_s,
            "max_failures": max_failures,
            "export_formats": formats,
            "restore": self._extras.begin_from,
        }

    @classmethod
    def from_json(cls, name: str, spec: Mapping[str, Any]) -> Experiment:
        """Return an experiment of a mapping with the arguments by name, "run" among them. Raises ConfigError.

        Example: `Experiment.from_json("walks", {"run": Walk, "config": {"speed": 1}})`
        """
        rest = {key: value for key, value in spec.items() if key not in _SHORT}
        if "run" not in spec:
            raise ConfigError(
                f"the experiment {name!r} has no 'run', the trainable; it has {', '.join(spec)}"
            )
        try:
            return cls(name, spec["run"], **rest)
        except TypeError as error:
            raise ConfigError(f"the experiment {name!r}: {error}") from error

    @classmethod
    def get_trainable_name(cls, run_object: Any) -> str:
        """Return what a trainable is called."""
        return run_object if isinstance(run_object, str) else name_of(run_object)

    @classmethod
    def register_if_needed(cls, run_object: Any) -> str:
        """Give a trainable its name, unless it is a name; return the name. Raises ConfigError for what is none."""
        name = cls.get_trainable_name(run_object)
        if isinstance(run_object, str):
            trainable_named(run_object)
        else:
            register_trainable(name, run_object)
        return name

    @property
    def run_identifier(self) -> str:
        """The trainable's name."""
        return self._run_identifier

    @property
    def stopper(self) -> Stopper | None:
        """What ends trials, None if nothing does."""
        return None if isinstance(self._stopper, NoopStopper) else self._stopper

    @property
    def checkpoint_config(self) -> CheckpointConfig:
        """Which checkpoints are kept."""
        return self._run.checkpoint_config

    @property
    def path(self) -> str:
        """The path or URL of the experiment's folder."""
        return f"{self._run.storage.rstrip('/')}/{self.name}"

    @property
    def local_path(self) -> str | None:
        """The path of the experiment's folder, None if it is not on this machine."""
        above = self._run.storage_context
        return above.at(self.name) if above.is_local else None

    @property
    def remote_path(self) -> str:
        """The path of the experiment's folder in its storage."""
        return self._run.storage_context.at(self.name)

    @property
    def public_spec(self) -> dict[str, Any]:
        """Those of its arguments that a trial's listeners may know."""
        return {name: value for name, value in self.spec.items() if name in self.PUBLIC_KEYS}

    def plan(self, tune: TuneConfig, run: RunConfig, extras: Extras | None = None) -> Plan:
        """Return the plan to launch, with what the caller says of searchers, schedulers and listeners.

        Parameters: `tune` has what is not the experiment's own; of `run` callbacks, reporter, `verbose` and `fail_fast`
        are taken.
        """
        own = self._tune
        return Plan.of(
            self._trainable,
            self._config,
            attrs.evolve(
                tune,
                num_samples=own.num_samples,
                time_budget_s=own.time_budget_s,
                trial_name_creator=own.trial_name_creator,
                trial_dirname_creator=own.trial_dirname_creator,
            ),
            attrs.evolve(
                self._run,
                callbacks=run.callbacks,
                verbose=run.verbose,
                progress_reporter=run.progress_reporter,
                failure_config=FailureConfig(
                    max_failures=self._run.failure_config.max_failures, fail_fast=run.failure_config.fail_fast
                ),
            ),
            more=extras or self._extras,
        )

    def __repr__(self) -> str:
        return f"<Experiment {self.name} of {self._run_identifier}>"
