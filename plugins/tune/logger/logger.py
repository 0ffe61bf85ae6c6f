"""The socket for loggers."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.tune.callback import Callback

if TYPE_CHECKING:
    from shoal.tune.experiment.trial import Trial

__all__ = ["LoggerCallback", "pretty_print"]


class LoggerCallback(Callback):
    """Writes down what each trial reports: override the methods `log_trial_…`.

    `self.path` is the experiment's folder.

    Example: `RunConfig(callbacks=[CSVLoggerCallback()])`
    """

    path = ""

    def setup(
        self,
        stop: Any = None,
        num_samples: int | None = None,
        total_num_samples: int | None = None,
        **info: Any,
    ) -> None:
        """Know the experiment's folder."""
        self.path = info.get("path", "")

    def log_trial_start(self, trial: Trial) -> None:
        """A trial begins, or goes on."""

    def log_trial_restore(self, trial: Trial) -> None:
        """A trial goes on from a checkpoint."""

    def log_trial_save(self, trial: Trial) -> None:
        """A trial has a new checkpoint."""

    def log_trial_result(self, iteration: int, trial: Trial, result: dict[str, Any]) -> None:
        """A trial has reported."""

    def log_trial_end(self, trial: Trial, failed: bool = False) -> None:
        """A trial has ended."""

    def on_trial_start(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on."""
        self.log_trial_start(trial)

    def on_trial_restore(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on."""
        self.log_trial_restore(trial)

    def on_trial_result(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Pass it on."""
        self.log_trial_result(iteration, trial, result)

    def on_checkpoint(
        self, iteration: int, trials: Sequence[Trial], trial: Trial, checkpoint: Any, **info: Any
    ) -> None:
        """Pass it on."""
        self.log_trial_save(trial)

    def on_trial_complete(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on."""
        self.log_trial_end(trial, failed=False)

    def on_trial_error(self, iteration: int, trials: Sequence[Trial], trial: Trial, **info: Any) -> None:
        """Pass it on."""
        self.log_trial_end(trial, failed=True)


def pretty_print(result: Mapping[str, Any], exclude: set[str] | None = None) -> str:
    """Return a report as lines of text, without what is None and what is excluded.

    Example: `pretty_print({"loss": 0.5, "config": {}}, exclude={"config"})`
    """
    lines = []
    for name, value in result.items():
        if value is None or name in (exclude or ()):
            continue
        text = json.dumps(value, default=str) if isinstance(value, (dict, list, tuple)) else str(value)
        lines.append(f"{name}: {text}")
    return "\n".join(lines) + "\n"
