"""The results of an experiment, trial by trial."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shoal.train.result import Result
from shoal.tune.analysis import ExperimentAnalysis
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import Trial
from shoal.tune.pareto import front

__all__ = ["ResultGrid"]


class ResultGrid:
    """The results of an experiment, in the order its trials were made.

    Example: `results = tuner.fit(); print(results.get_best_result("loss", "min").config)`
    """

    def __init__(self, experiment_analysis: ExperimentAnalysis) -> None:
        self._analysis = experiment_analysis

    @property
    def experiment_path(self) -> str:
        """The path of the experiment's folder."""
        return self._analysis.experiment_path

    @property
    def filesystem(self) -> Any:
        """The filesystem that the folder lies in."""
        return self._analysis.storage.filesystem

    def get_best_result(
        self,
        metric: str | None = None,
        mode: str | None = None,
        scope: str = "last",
        filter_nan_and_inf: bool = True,
    ) -> Result:
        """Return the best trial's result.

        Parameters: `metric` and `mode` are those of TuneConfig or the scheduler if they are not given. `scope` is
        "last" (each trial's last report), "all" (its best), "avg", "last-5-avg" or "last-10-avg". With
        `filter_nan_and_inf` what is no finite number does not count.
        Raises ValueError without a metric, for one that was not reported, and RuntimeError if no trial has a number.
        """
        if len(self) == 1 and metric is None and self._analysis.default_metric is None:
            return self[0]
        best = self._analysis.get_best_trial(metric, mode, scope, filter_nan_and_inf)
        if best is None:
            raise RuntimeError(
                f"no trial has reported {metric or self._analysis.default_metric!r} as a number"
                f"{' that is finite' if filter_nan_and_inf else ''}: {self.num_errors} of {len(self)} failed"
            )
        return self._analysis.result_of(best)

    def get_pareto_front(self, objectives: Mapping[str, str]) -> list[Result]:
        """Return the results that no other one beats in every objective, from each trial's last report.

        Parameters: `objectives` are metrics with "max" or "min".

        Example: `results.get_pareto_front({"accuracy": "max", "seconds": "min"})`
        """
        trials = [
            trial
            for trial in self._analysis.trials
            if all(metric in trial.last_result for metric in objectives)
        ]
        chosen = front([trial.last_result for trial in trials], objectives)
        return [self._analysis.result_of(trials[index]) for index in chosen]

    def get_dataframe(self, filter_metric: str | None = None, filter_mode: str | None = None) -> Any:
        """Return a pandas frame with a row for each trial: its last report, or the one that is best by the filter."""
        return self._analysis.dataframe(filter_metric, filter_mode)

    def __len__(self) -> int:
        return len(self._analysis.trials)

    def __getitem__(self, i: int) -> Result:
        return self._analysis.result_of(self._analysis.trials[i])

    def __iter__(self) -> Iterator[Result]:
        for trial in self._analysis.trials:
            yield self._analysis.result_of(trial)

    @property
    def errors(self) -> list[Exception]:
        """What trials have failed with."""
        return [
            trial.exception if isinstance(trial.exception, Exception) else TuneError(trial.error)
            for trial in self._analysis.trials
            if trial.status == Trial.ERROR
        ]

    @property
    def num_errors(self) -> int:
        """How many trials have failed."""
        return sum(trial.status == Trial.ERROR for trial in self._analysis.trials)

    @property
    def num_terminated(self) -> int:
        """How many trials have ended well, or were stopped."""
        return sum(trial.status == Trial.TERMINATED for trial in self._analysis.trials)

    def __repr__(self) -> str:
        return f"ResultGrid<{len(self)} trials, {self.num_errors} failed, {self.experiment_path}>"
