"""Reports of XGBoost's rounds to an experiment."""

from __future__ import annotations

from typing import Any

from shoal.train.checkpoint import Checkpoint
from shoal.train.xgboost.callback import ReportCallback
from shoal.tune.session import report

__all__ = ["TuneReportCallback", "TuneReportCheckpointCallback"]


class TuneReportCheckpointCallback(ReportCallback):
    """Reports the evaluation after each round, and now and then a checkpoint of the model.

    Parameters: `metrics` are the names to report ("train-logloss"), or names to report them by; None: all. There is a
    checkpoint every `frequency` rounds (0: none) and, with `checkpoint_at_end`, at the end.
    `results_postprocessing_fn` makes the report of the evaluation: dataset-metric with the values of all rounds.

    Example: `xgboost.train(params, matrix, callbacks=[TuneReportCheckpointCallback(frequency=10)])`
    """

    def _tell(self, metrics: dict[str, Any], checkpoint: Checkpoint | None = None) -> None:
        report(metrics, checkpoint=checkpoint)

    def _saves(self) -> bool:
        return True


class TuneReportCallback(TuneReportCheckpointCallback):
    """Reports the evaluation after each round, without checkpoints.

    Parameters: those of TuneReportCheckpointCallback.

    Example: `xgboost.train(params, matrix, callbacks=[TuneReportCallback()])`
    """

    def __init__(self, metrics: Any = None, results_postprocessing_fn: Any = None) -> None:
        super().__init__(
            metrics, checkpoint_at_end=False, results_postprocessing_fn=results_postprocessing_fn
        )
