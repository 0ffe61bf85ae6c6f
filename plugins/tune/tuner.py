"""The public tuner, and the older `run`."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError, describe
from shoal.train.storage import Storage, locate
from shoal.tune.config import ResumeConfig, RunConfig, TuneConfig
from shoal.tune.launch import Plan, launch, reopen
from shoal.tune.result_grid import ResultGrid
from shoal.tune.state import FILE

__all__ = ["Tuner"]


class Tuner:
    """Runs a trainable with many configurations.

    Parameters: `trainable` is a function of the configuration, a class of `Trainable`, a trainer of shoal.train, or the
    name that one was registered under. `param_space` is the space of configurations. `tune_config` says how they are
    chosen, `run_config` what the experiment is called, where its files go and when trials end.
    Raises ConfigError for what is wrong, at once.

    Example: `Tuner(train, param_space={"lr": tune.loguniform(1e-4, 1e-1)}).fit()`
    """

    def __init__(
        self,
        trainable: Any = None,
        *,
        param_space: Mapping[str, Any] | None = None,
        tune_config: TuneConfig | None = None,
        run_config: RunConfig | None = None,
    ) -> None:
        if trainable is None:
            raise ConfigError("Tuner needs a trainable: a function, a class of tune.Trainable or a trainer")
        given_space: Any = param_space
        space = given_space.to_dict() if hasattr(given_space, "to_dict") else given_space
        if space is not None and not isinstance(space, Mapping):
            raise ConfigError(f"param_space must be a mapping, not {describe(param_space)}")
        for name, given, kind in (
            ("tune_config", tune_config, TuneConfig),
            ("run_config", run_config, RunConfig),
        ):
            if given is not None and not isinstance(given, kind):
                raise ConfigError(f"{name} must be a {kind.__name__}, not {describe(given)}")
        self._plan = Plan.of(trainable, space or {}, tune_config or TuneConfig(), run_config)
        self._results: ResultGrid | None = None

    def fit(self) -> ResultGrid:
        """Run the experiment; return its results. Trials that fail do not end it: `results.errors` has what happened.

        Raises TuneError when the experiment itself cannot go on: a metric that is never reported, a searcher or
        scheduler that raises, a disk that is full. What was done is stored, and `Tuner.restore` goes on.
        """
        self._results = ResultGrid(launch(self._plan))
        return self._results

    def get_results(self) -> ResultGrid:
        """Return the results of `fit`, or those stored of an experiment that is restored. Raises RuntimeError."""
        if self._results is None:
            if self._plan.restored is None:
                raise RuntimeError("there are no results yet: call fit() first")
            from shoal.tune.analysis import ExperimentAnalysis

            return ResultGrid(
                ExperimentAnalysis(
                    self._plan.restored.path, storage_filesystem=self._plan.restored.filesystem
                )
            )
        return self._results

    @classmethod
    def can_restore(cls, path: str | os.PathLike[str], storage_filesystem: Any = None) -> bool:
        """Return whether there is an experiment in that folder.

        Example: `Tuner.can_restore("~/shoal_results/search")`
        """
        filesystem, inside = locate(os.fspath(path), storage_filesystem)
        storage = Storage(filesystem, inside, patience=30.0)
        if storage.is_local:
            return os.path.exists(storage.at(FILE))
        return storage.read(FILE) is not None

    @classmethod
    def restore(
        cls,
        path: str | os.PathLike[str],
        trainable: Any,
        resume_unfinished: bool = True,
        resume_errored: bool = False,
        restart_errored: bool = False,
        param_space: Mapping[str, Any] | None = None,
        storage_filesystem: Any = None,
        _resume_config: ResumeConfig | None = None,
    ) -> Tuner:
        """Return a tuner that goes on with the experiment in that folder. Trials that have ended do not run again.

        Parameters: `trainable` is the experiment's; where its code has changed, or `param_space`, that is said.
        `resume_unfinished` has trials that had not ended go on from their checkpoints. Trials that had failed go on
        with `resume_errored`, begin again with `restart_errored`, and stay as they are without.
        Raises ConfigError if there is no experiment, or if it goes on in another process.

        Example: `Tuner.restore("~/shoal_results/search", train, resume_errored=True).fit()`
        """
        if not cls.can_restore(path, storage_filesystem):
            raise ConfigError(f"there is no experiment in {os.fspath(path)}: it has no file {FILE}")
        if resume_errored and restart_errored:
            raise ConfigError("resume_errored and restart_errored cannot both be set")
        resume = _resume_config or ResumeConfig(
            unfinished="RESUME" if resume_unfinished else "SKIP",
            errored="RESUME" if resume_errored else "RESTART" if restart_errored else "SKIP",
        )
        made = cls.__new__(cls)
        made._plan = reopen(os.fspath(path), storage_filesystem, trainable, param_space, resume)
        made._results = None
        return made

    def __repr__(self) -> str:
        return f"<Tuner of {self._plan.name}, {self._plan.tune.num_samples} samples>"
