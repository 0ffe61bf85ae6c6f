"""Validating checkpoints beside the training."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import attrs

from shoal.errors import ConfigError, describe
from shoal.train.checkpoint import Checkpoint
from shoal.train.uploads import ReportedCheckpointStatus


class ValidationFn(Protocol):
    """A function that is given a checkpoint, and returns metrics of it."""

    def __call__(self, checkpoint: Checkpoint, **kwargs: Any) -> Mapping[str, Any]:
        """Return metrics of a checkpoint."""
        ...


@attrs.frozen
class ValidationTaskConfig:
    """How one checkpoint is validated: what the function is given, and how many seconds it has (None: no bound).

    Example: `train.report({}, checkpoint, validation=ValidationTaskConfig({"rows": 100}, timeout_s=60))`
    """

    fn_kwargs: Mapping[str, Any] | None = None
    timeout_s: float | None = None


@attrs.frozen
class ValidationConfig:
    """How a trainer validates checkpoints that are reported with `validation=`: a task for each, beside the training.

    Parameters: `fn` is the function; `task_config` what holds for a checkpoint that says nothing of its own;
    `ray_remote_kwargs` are the task's options, as of `shoal.remote`. What the function returns joins the checkpoint's
    metrics. Raises ConfigError.

    Example: `ValidationConfig(lambda checkpoint: {"accuracy": accuracy_of(checkpoint)})`
    """

    fn: ValidationFn | Callable[..., Mapping[str, Any]]
    task_config: ValidationTaskConfig = attrs.field(factory=ValidationTaskConfig)
    ray_remote_kwargs: Mapping[str, Any] | None = None

    def __attrs_post_init__(self) -> None:
        if not callable(self.fn):
            raise ConfigError(f"fn must be a function, not {describe(self.fn)}")


@attrs.frozen
class ReportedCheckpoint:
    """A checkpoint that was reported, with its metrics, and how far it is."""

    checkpoint: Checkpoint
    metrics: dict[str, Any]
    status: ReportedCheckpointStatus = ReportedCheckpointStatus.COMMITTED
