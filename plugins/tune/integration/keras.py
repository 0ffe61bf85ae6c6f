"""Reports of Keras' epochs to an experiment."""

from __future__ import annotations

from typing import Any

from shoal.train.checkpoint import Checkpoint
from shoal.train.tensorflow.keras import ReportCheckpointCallback
from shoal.tune.session import report

__all__ = ["TuneReportCheckpointCallback"]


class TuneReportCheckpointCallback(ReportCheckpointCallback):
    """Reports what Keras logs, and a checkpoint, when chosen events happen.

    Parameters: `checkpoint_on` and `report_metrics_on` are events such as "epoch_end", or lists of them; `metrics` are
    the names to report, or names to report them by; None: all. Raises ValueError for an unknown event.

    Example: `model.fit(x, y, callbacks=[TuneReportCheckpointCallback()])`
    """

    def _tell(self, metrics: dict[str, Any], checkpoint: Checkpoint | None = None) -> None:
        report(metrics, checkpoint=checkpoint)

    def _saves(self) -> bool:
        return True
