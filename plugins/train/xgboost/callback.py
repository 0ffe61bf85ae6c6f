"""Reports of XGBoost's rounds."""

from __future__ import annotations

import os
import tempfile
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import xgboost

from shoal.train.calls import report
from shoal.train.checkpoint import Checkpoint
from shoal.train.rounds import Rounds
from shoal.train.session import session_here


class ReportCallback(xgboost.callback.TrainingCallback):  # type: ignore[misc]  # xgboost has no types
    """Reports the evaluation after each round, and now and then a checkpoint of the model, which rank 0 saves.

    Parameters: `metrics` are the names to report ("train-logloss"), or names to report them by; None: all. There is a
    checkpoint every `frequency` rounds (0: none) and, with `checkpoint_at_end`, at the end. `results_postprocessing_fn`
    makes the report of the evaluation, a dict of dataset-metric and the values of all rounds.

    Example: `xgboost.train(params, matrix, callbacks=[ReportCallback(frequency=10)])`
    """

    CHECKPOINT_NAME: ClassVar[str] = "model.ubj"

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self._rounds = Rounds(metrics, frequency, checkpoint_at_end, results_postprocessing_fn)
        self._filename = filename

    def after_iteration(
        self, model: Any, epoch: int, evals_log: Mapping[str, Mapping[str, list[Any]]]
    ) -> bool:
        """Report a round."""
        found = OrderedDict(
            (f"{name}-{metric}", values)
            for name, metrics in evals_log.items()
            for metric, values in metrics.items()
        )
        if self._rounds.note(found):
            self._report(model)
        else:
            self._tell(self._rounds.metrics)
        return False

    def after_training(self, model: Any) -> Any:
        """Report the model at the end, unless the last round did."""
        if self._rounds.at_end():
            self._report(model)
        return model

    def _report(self, model: Any) -> None:
        if not self._saves():
            self._tell(self._rounds.metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            model.save_model(os.path.join(folder, self._filename))
            self._tell(self._rounds.metrics, Checkpoint.from_directory(folder))

    def _tell(self, metrics: dict[str, Any], checkpoint: Checkpoint | None = None) -> None:
        """Report: overridden where a trial's search is told instead of a run's trainer."""
        report(metrics, checkpoint)

    def _saves(self) -> bool:
        """Return whether this process saves the model."""
        return session_here("ReportCallback").place.world_rank == 0

    @classmethod
    def get_model(cls, checkpoint: Checkpoint, filename: str = CHECKPOINT_NAME) -> Any:
        """Return the booster in a checkpoint."""
        with checkpoint.as_directory() as folder:
            model = xgboost.Booster()
            model.load_model(os.path.join(folder, filename))
            return model
