"""Validations that run beside the training."""

from __future__ import annotations

import time
from typing import Any

import attrs

import shoal
from shoal.errors import ShoalError
from shoal.train.checkpoint import Checkpoint
from shoal.train.controller.kept import Kept, KeptCheckpoints
from shoal.train.uploads import ReportedCheckpointStatus as Status
from shoal.train.validation import ValidationConfig, ValidationTaskConfig


@attrs.frozen
class _Pending:
    kept: Kept
    deadline: float


class Validating:
    """The tasks that validate checkpoints, and how far each checkpoint is."""

    def __init__(self, config: ValidationConfig | None) -> None:
        self._config = config
        self.pending: dict[Any, _Pending] = {}
        self.statuses: dict[int, str] = {}

    def begin(self, kept: Kept, checkpoint: Checkpoint, asked: Any) -> None:
        """Validate a checkpoint, as the trainer says or as was asked for this one."""
        if self._config is None:
            return
        own = asked if isinstance(asked, ValidationTaskConfig) else self._config.task_config
        task = shoal.remote(_validate).options(**dict(self._config.ray_remote_kwargs or {}))
        ref = task.remote(self._config.fn, checkpoint, dict(own.fn_kwargs or {}))
        deadline = float("inf") if own.timeout_s is None else time.monotonic() + own.timeout_s
        self.pending[ref] = _Pending(kept, deadline)
        self.statuses[kept.index] = Status.PENDING_VALIDATION.value

    def wait(self, seconds: float) -> None:
        """Wait until one is done, at most so long."""
        shoal.wait(list(self.pending), num_returns=1, timeout=seconds)

    def look(self, book: KeptCheckpoints) -> bool:
        """Note what is done, or takes too long; return whether something is."""
        if not self.pending:
            return False
        ready, _ = shoal.wait(list(self.pending), num_returns=len(self.pending), timeout=0)
        for ref in ready:
            self._note(book, self.pending.pop(ref).kept, ref)
        late = [ref for ref, each in self.pending.items() if time.monotonic() > each.deadline]
        for ref in late:
            shoal.cancel(ref)
            self.statuses[self.pending.pop(ref).kept.index] = Status.VALIDATION_TIMEOUT.value
        return bool(ready or late)

    def _note(self, book: KeptCheckpoints, kept: Kept, ref: Any) -> None:
        try:
            metrics = dict(shoal.get(ref))
        except (ShoalError, TypeError, ValueError):
            self.statuses[kept.index] = Status.VALIDATION_FAILED.value
            return
        self.statuses[kept.index] = Status.VALIDATED.value
        book.all = [
            attrs.evolve(each, metrics={**each.metrics, **metrics}) if each.index == kept.index else each
            for each in book.all
        ]


def _validate(function: Any, checkpoint: Checkpoint, arguments: dict[str, Any]) -> Any:
    return dict(function(checkpoint, **arguments))
