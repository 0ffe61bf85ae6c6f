"""Reports as files of CSV and JSON, in each trial's folder."""

from __future__ import annotations

import csv
import json
import os
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError
from shoal.tune.analysis import flat
from shoal.tune.logger.logger import LoggerCallback
from shoal.tune.result import EXPR_PARAM_FILE, EXPR_PARAM_PICKLE_FILE, EXPR_PROGRESS_FILE, EXPR_RESULT_FILE

if TYPE_CHECKING:
    from shoal.tune.experiment.trial import Trial

__all__ = ["CSVLoggerCallback", "JsonLoggerCallback"]


def _folder(path: str, trial: Trial) -> str:
    if not os.path.isdir(path):
        raise ConfigError(f"files of CSV and JSON need a local folder; the experiment's, {path}, is none")
    folder = os.path.join(path, trial.dirname)
    os.makedirs(folder, exist_ok=True)
    return folder


class CSVLoggerCallback(LoggerCallback):
    """Writes each trial's reports to `progress.csv`: the columns are those of its first report.

    Raises ConfigError when the experiment's folder is not local.
    """

    def __init__(self) -> None:
        self._columns: dict[str, list[str]] = {}

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Add a line."""
        row = flat(result)
        path = os.path.join(_folder(self.path, trial), EXPR_PROGRESS_FILE)
        columns = self._columns.get(trial.trial_id)
        if columns is None and os.path.exists(path):  # of the experiment's run before
            with open(path, newline="", encoding="utf-8") as file:
                columns = next(csv.reader(file), None)
        with open(path, "a", newline="", encoding="utf-8") as file:
            if columns is None:
                columns = list(row)
                csv.writer(file).writerow(columns)
            csv.DictWriter(file, columns, extrasaction="ignore").writerow(row)
        self._columns[trial.trial_id] = columns

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """Forget the trial's columns."""
        self._columns.pop(trial.trial_id, None)


class JsonLoggerCallback(LoggerCallback):
    """Writes each trial's configuration to `params.json` and its reports to `result.json`, one in a line.

    Raises ConfigError when the experiment's folder is not local.
    """

    def log_trial_start(self, trial: Trial) -> None:
        """Write the configuration."""
        self.update_config(trial, trial.config)

    def log_trial_restore(self, trial: Trial) -> None:
        """Write the configuration, which may be another one."""
        self.update_config(trial, trial.config)

    def update_config(self, trial: Trial, config: dict[str, Any]) -> None:
        """Write a configuration to `params.json`, and pickled to `params.pkl`. Raises ConfigError elsewhere."""
        import cloudpickle

        folder = _folder(self.path, trial)
        with open(os.path.join(folder, EXPR_PARAM_FILE), "w", encoding="utf-8") as file:
            json.dump(config, file, default=str, indent=2)
        with open(os.path.join(folder, EXPR_PARAM_PICKLE_FILE), "wb") as pickled:
            cloudpickle.dump(config, pickled)

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """Add a line."""
        with open(os.path.join(_folder(self.path, trial), EXPR_RESULT_FILE), "a", encoding="utf-8") as file:
            file.write(json.dumps({**result, "config": trial.config}, default=str) + "\n")
