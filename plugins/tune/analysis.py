"""What an experiment has come to, trial by trial."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from typing import Any

from shoal.errors import ConfigError
from shoal.train.checkpoint import Checkpoint
from shoal.train.controller.kept import Kept
from shoal.train.result import Result
from shoal.train.storage import Storage, locate
from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers.trial_scheduler import missing_metric
from shoal.tune.state import FILE, ExperimentFile

__all__ = ["ExperimentAnalysis"]

_SCOPES = ("last", "all", "avg", "last-5-avg", "last-10-avg")


class ExperimentAnalysis:
    """Looks into an experiment, one that has ended or one that goes on.

    Parameters: `experiment_checkpoint_path` is the experiment's folder, or its file in there; `storage_filesystem` one
    that was made for it. `trials` are the experiment's, None to read them. `default_metric` and `default_mode` are
    what the methods take where they are given none.
    Raises FileNotFoundError if there is no experiment.

    Example: `ExperimentAnalysis("~/shoal_results/search").get_best_config("loss", "min")`
    """

    def __init__(
        self,
        experiment_checkpoint_path: str | os.PathLike[str],
        *,
        storage_filesystem: Any = None,
        trials: list[Trial] | None = None,
        default_metric: str | None = None,
        default_mode: str | None = None,
    ) -> None:
        path = os.fspath(experiment_checkpoint_path).rstrip("/").removesuffix(f"/{FILE}")
        filesystem, inside = locate(path, storage_filesystem)
        self.storage = Storage(filesystem, inside, patience=30.0)
        self.default_metric = default_metric
        self.default_mode = default_mode
        self._reports: dict[int, list[dict[str, Any]]] = {}
        self._all = False
        if trials is None:
            with self._open() as file:
                trials = file.trials()
                meta = file.meta()
            self.default_metric = default_metric or meta.get("metric")
            self.default_mode = default_mode or meta.get("mode")
        self.trials = trials

    def _open(self) -> ExperimentFile:
        return ExperimentFile(self.storage, create=False, read_only=True)

    @property
    def experiment_path(self) -> str:
        """The path of the experiment's folder."""
        return self.storage.path

    def reports(self, trial: Trial) -> list[dict[str, Any]]:
        """Return a trial's reports, in order."""
        if not self._all:
            with self._open() as file:
                self._reports = file.reports_by_trial()
            self._all = True
        return self._reports.get(trial.number, [])

    def _metric(self, metric: str | None, mode: str | None) -> tuple[str, str]:
        metric, mode = metric or self.default_metric, mode or self.default_mode
        if not metric or not isinstance(metric, str):
            raise ValueError("which metric? Give metric=, or TuneConfig(metric=…) before the search")
        if mode not in ("max", "min"):
            raise ValueError(f"mode must be 'max' or 'min', not {mode!r}")
        return metric, mode

    # The best

    def get_best_trial(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Trial | None:
        """Return the best trial, None if none has reported such a number.

        Parameters: `scope` is "last" (each trial's last report), "all" (its best), "avg", "last-5-avg" or
        "last-10-avg". Without `filter_nan_and_inf` what is infinite counts as well.
        Raises ValueError for a scope or mode that is none of these, and for a metric that nobody has reported.
        """
        metric, mode = self._metric(metric, mode)
        if scope not in _SCOPES:
            raise ValueError(f"scope must be one of {', '.join(_SCOPES)}, not {scope!r}")
        best: Trial | None = None
        best_score = -math.inf
        sign = 1.0 if mode == "max" else -1.0
        for trial in self.trials:
            value = self._value(trial, metric, mode, scope)
            if value is None or math.isnan(value) or (filter_nan_and_inf and math.isinf(value)):
                continue
            if best is None or sign * value > best_score:
                best, best_score = trial, sign * value
        if best is None:
            reported = [trial for trial in self.trials if trial.last_result]
            if reported and not any(metric in trial.last_result for trial in reported):
                raise ValueError(missing_metric(metric, reported[0].last_result))
        return best

    def _value(self, trial: Trial, metric: str, mode: str, scope: str) -> float | None:
        if scope == "last":
            found = trial.last_result.get(metric)
        elif scope in ("all", "avg"):
            known = trial.best.get(metric)
            if known is None:
                return None
            low, high, total, number = known
            return total / number if scope == "avg" else (high if mode == "max" else low)
        else:
            values = [row[metric] for row in self.reports(trial) if metric in row][
                -int(scope.split("-")[1]) :
            ]
            found = sum(values) / len(values) if values else None
        try:
            return None if found is None else float(found)
        except (TypeError, ValueError):
            return None

    def get_best_config(
        self, metric: str | None = None, mode: str | None = None, scope: str = "last"
    ) -> dict[str, Any] | None:
        """Return the best trial's configuration."""
        best = self.get_best_trial(metric, mode, scope)
        return None if best is None else best.config

    def get_best_checkpoint(
        self, trial: Trial, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """Return the checkpoint of a trial that has the best metric."""
        metric, mode = self._metric(metric, mode)
        having = [each for each in trial.kept.all if metric in each.metrics]
        if not having:
            return None
        pick = max if mode == "max" else min
        return self.checkpoint_of(trial, pick(having, key=lambda each: each.metrics[metric]))

    def get_last_checkpoint(
        self, trial: Trial | None = None, metric: str | None = None, mode: str | None = None
    ) -> Checkpoint | None:
        """Return the newest checkpoint of a trial, of the best one if none is given."""
        trial = trial or self.get_best_trial(metric, mode)
        return (
            None if trial is None or trial.checkpoint is None else self.checkpoint_of(trial, trial.checkpoint)
        )

    def checkpoint_of(self, trial: Trial, kept: Kept) -> Checkpoint:
        """Return one of a trial's checkpoints."""
        return Checkpoint(kept.path or self.storage.at(trial.dirname, kept.name), self.storage.filesystem)

    @property
    def best_trial(self) -> Trial:
        """The best trial by the default metric. Raises ValueError if there is none."""
        found = self.get_best_trial()
        if found is None:
            raise ValueError("no trial has reported the metric as a finite number")
        return found

    @property
    def best_config(self) -> dict[str, Any]:
        """The best trial's configuration."""
        return self.best_trial.config

    @property
    def best_result(self) -> dict[str, Any]:
        """The best trial's last report."""
        return self.best_trial.last_result

    @property
    def best_checkpoint(self) -> Checkpoint | None:
        """The best trial's best checkpoint."""
        return self.get_best_checkpoint(self.best_trial)

    @property
    def best_dataframe(self) -> Any:
        """The best trial's reports as a pandas frame."""
        return self.trial_dataframes[self.best_trial.trial_id]

    @property
    def best_result_df(self) -> Any:
        """The best trial's last report as a pandas frame of one row."""
        import pandas

        return pandas.DataFrame([self._row(self.best_trial, self.best_result)])

    # All

    @property
    def results(self) -> dict[str, dict[str, Any]]:
        """Each trial's last report, by the trial's name."""
        return {trial.trial_id: trial.last_result for trial in self.trials}

    @property
    def results_df(self) -> Any:
        """Each trial's last report and configuration as a pandas frame."""
        return self.dataframe()

    @property
    def trial_dataframes(self) -> dict[str, Any]:
        """Each trial's reports as a pandas frame, by the trial's name."""
        import pandas

        return {trial.trial_id: pandas.DataFrame(self.reports(trial)) for trial in self.trials}

    def dataframe(self, metric: str | None = None, mode: str | None = None) -> Any:
        """Return a pandas frame with a row for each trial: its last report, or the one with the best metric.

        Configurations are in columns such as "config/lr".
        Raises ValueError for one of `metric` and `mode` without the other.
        """
        import pandas

        if (metric is None) != (mode is None):
            raise ValueError(
                "metric and mode belong together: give both, or none for each trial's last report"
            )
        rows = []
        for trial in self.trials:
            result: Mapping[str, Any] = trial.last_result
            if metric is not None and mode is not None:
                having = [row for row in self.reports(trial) if metric in row]
                if having:
                    result = (max if mode == "max" else min)(having, key=lambda row: row[metric])
            if result:
                rows.append(self._row(trial, result))
        return pandas.DataFrame(rows)

    def _row(self, trial: Trial, result: Mapping[str, Any]) -> dict[str, Any]:
        config = {f"config/{name}": value for name, value in flat(trial.config).items()}
        return {**flat(result), **config, "logdir": self.storage.at(trial.dirname)}

    def get_all_configs(self, prefix: bool = False) -> dict[str, dict[str, Any]]:
        """Return each trial's configuration, by the trial's name; with `prefix` as "config/…"."""
        return {
            trial.trial_id: {f"config/{name}": value for name, value in trial.config.items()}
            if prefix
            else trial.config
            for trial in self.trials
        }

    def set_filetype(self, file_type: str = "json") -> None:
        """Do nothing but check: reports come from the experiment's file, whatever loggers have written."""
        if file_type not in ("json", "csv"):
            raise ConfigError(f"file_type must be 'json' or 'csv', not {file_type!r}")

    def result_of(self, trial: Trial) -> Result:
        """Return what one trial has come to."""
        kept = [(self.checkpoint_of(trial, each), dict(each.metrics)) for each in trial.kept.all]
        error = trial.exception if trial.status == Trial.ERROR else None
        if error is not None and not isinstance(error, Exception):
            error = RuntimeError(trial.error)
        return TrialResult(
            metrics={**trial.last_result, "config": trial.config}
            if trial.last_result
            else {"config": trial.config},
            checkpoint=kept[-1][0] if kept else None,
            error=error,
            path=self.storage.at(trial.dirname),
            best_checkpoints=kept,
            storage_filesystem=self.storage.filesystem,
            rows=lambda: self.reports(trial),
        )


class TrialResult(Result):
    """What a trial has come to; its frame is made when it is asked for."""

    def __init__(self, *, rows: Any, **parts: Any) -> None:
        super().__init__(**parts)
        self._rows = rows

    def __getattribute__(self, name: str) -> Any:
        # The frame is a plain field of Result, which would have to be filled for every trial at once.
        if name == "metrics_dataframe":
            from shoal.train.result import frame_of

            return frame_of([flat(row) for row in object.__getattribute__(self, "_rows")()])
        return object.__getattribute__(self, name)


def flat(values: Mapping[str, Any], before: str = "") -> dict[str, Any]:
    """Return a mapping without mappings in it: {"a": {"b": 1}} as {"a/b": 1}.

    Example: `flat({"a": {"b": 1}})`
    """
    found: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            found.update(flat(value, f"{before}{name}/"))
        else:
            found[f"{before}{name}"] = value
    return found
