"""Reports of LightGBM's rounds."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any, ClassVar

from shoal.train.calls import report
from shoal.train.checkpoint import Checkpoint
from shoal.train.rounds import Rounds
from shoal.train.session import session_here


class ReportCallback:
    """Reports the evaluation after each round, and now and then a checkpoint of the model, which rank 0 saves.

    Parameters: `metrics` are the names to report ("train-binary_logloss"), or names to report them by; None: all. There
    is a checkpoint every `frequency` rounds (0: none) and, with `checkpoint_at_end`, at the end.
    `results_postprocessing_fn` makes the report of the evaluation: dataset-metric with the values of all rounds.

    Example: `lightgbm.train(params, dataset, callbacks=[ReportCallback(frequency=10)])`
    """

    CHECKPOINT_NAME: ClassVar[str] = "model.txt"
    order: ClassVar[int] = 30  # after LightGBM's own

    def __init__(
        self,
        metrics: str | list[str] | dict[str, str] | None = None,
        filename: str = CHECKPOINT_NAME,
        frequency: int = 0,
        checkpoint_at_end: bool = True,
        results_postprocessing_fn: Callable[[dict[str, Any]], dict[str, Any]] | None = None,
    ) -> None:
        self._rounds = Rounds(metrics, frequency, checkpoint_at_end, results_postprocessing_fn)
        self._values: dict[str, list[Any]] = {}
        self._filename = filename

    def __call__(self, env: Any) -> None:
        """Report a round."""
        for name, metric, value, *_ in env.evaluation_result_list or ():
            self._values.setdefault(f"{name}-{metric}", []).append(value)
        saves = self._rounds.note(self._values)
        if saves or (env.iteration == env.end_iteration - 1 and self._rounds.at_end()):
            self._report(env.model)
        else:
            self._tell(self._rounds.metrics)

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
        import lightgbm

        with checkpoint.as_directory() as folder:
            return lightgbm.Booster(model_file=os.path.join(folder, filename))
