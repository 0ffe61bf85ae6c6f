"""Reports of Keras' epochs."""

from __future__ import annotations

import os
import tempfile
from importlib.util import find_spec
from typing import Any

if find_spec("tensorflow") is None:
    os.environ.setdefault("KERAS_BACKEND", "torch")  # Keras looks for TensorFlow alone if nothing is said

from keras.callbacks import Callback

from shoal.train.calls import report
from shoal.train.checkpoint import Checkpoint
from shoal.train.session import session_here

_EVENTS = (
    "train_begin",
    "train_end",
    "epoch_begin",
    "epoch_end",
    "train_batch_begin",
    "train_batch_end",
    "test_begin",
    "test_end",
    "test_batch_begin",
    "test_batch_end",
    "predict_begin",
    "predict_end",
    "predict_batch_begin",
    "predict_batch_end",
)


class ReportCheckpointCallback(Callback):  # type: ignore[misc]  # keras has no types
    """Reports what Keras logs, and a checkpoint, when chosen events happen.

    Parameters: `checkpoint_on` and `report_metrics_on` are events such as "epoch_end", or lists of them; `metrics` are
    the names to report, or names to report them by; None: all. Raises ValueError for an unknown event.

    Example: `model.fit(x, y, callbacks=[ReportCheckpointCallback()])`
    """

    def __init__(
        self,
        checkpoint_on: str | list[str] = "epoch_end",
        report_metrics_on: str | list[str] = "epoch_end",
        metrics: str | list[str] | dict[str, str] | None = None,
    ) -> None:
        super().__init__()
        self._saves_on = _events(checkpoint_on)
        self._reports_on = _events(report_metrics_on)
        names = [metrics] if isinstance(metrics, str) else metrics
        self._names = dict(names) if isinstance(names, dict) else {name: name for name in names or ()}

    def _happened(self, event: str, logs: Any) -> None:
        if event not in self._saves_on and event not in self._reports_on:
            return
        found = dict(logs or {})
        metrics = {theirs: found[name] for theirs, name in self._names.items() if name in found} or found
        if event not in self._saves_on or not self._saves():
            self._tell(metrics)
            return
        with tempfile.TemporaryDirectory() as folder:
            self.model.save(os.path.join(folder, "model.keras"))
            self._tell(metrics, Checkpoint.from_directory(folder))

    def _tell(self, metrics: dict[str, Any], checkpoint: Checkpoint | None = None) -> None:
        """Report: overridden where a trial's search is told instead of a run's trainer."""
        report(metrics, checkpoint)

    def _saves(self) -> bool:
        """Return whether this process saves the model."""
        return session_here("ReportCheckpointCallback").place.world_rank == 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("train_begin", logs)

    def on_train_end(self, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("train_end", logs)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("epoch_begin", logs)

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("epoch_end", logs)

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("train_batch_begin", logs)

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("train_batch_end", logs)

    def on_test_begin(self, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("test_begin", logs)

    def on_test_end(self, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("test_end", logs)

    def on_test_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("test_batch_begin", logs)

    def on_test_batch_end(self, batch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("test_batch_end", logs)

    def on_predict_begin(self, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("predict_begin", logs)

    def on_predict_end(self, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("predict_end", logs)

    def on_predict_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("predict_batch_begin", logs)

    def on_predict_batch_end(self, batch: int, logs: Any = None) -> None:
        """Report if this event was chosen."""
        self._happened("predict_batch_end", logs)


def _events(given: str | list[str]) -> frozenset[str]:
    events = frozenset([given] if isinstance(given, str) else given)
    unknown = sorted(events - set(_EVENTS))
    if unknown:
        raise ValueError(f"no event is called {', '.join(unknown)}; there are {', '.join(_EVENTS)}")
    return events
