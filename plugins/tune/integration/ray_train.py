"""Reports of a trainer that a trial's function runs."""

from __future__ import annotations

from typing import Any

from shoal.train.callbacks import RunContext, UserCallback
from shoal.train.checkpoint import Checkpoint
from shoal.tune.session import session_here

__all__ = ["CHECKPOINT_PATH_KEY", "TuneReportCallback"]

CHECKPOINT_PATH_KEY = "checkpoint_path"


class TuneReportCallback(UserCallback):
    """Tells the experiment what the trainer of this trial reports: rank 0's metrics, and where the checkpoint lies.

    The checkpoint itself stays the trainer's. A trial that is over ends the trainer's run.
    Raises SessionMisuseError outside of a trial.

    Example: `TorchTrainer(train, run_config=RunConfig(callbacks=[TuneReportCallback()])).fit()  # in a trainable`
    """

    def __init__(self) -> None:
        session_here("TuneReportCallback()")

    def after_report(
        self, run_context: RunContext, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None
    ) -> None:
        """Report it."""
        where = {} if checkpoint is None else {CHECKPOINT_PATH_KEY: checkpoint.path}
        session_here("a trainer's report").report({**metrics[0], **where})
