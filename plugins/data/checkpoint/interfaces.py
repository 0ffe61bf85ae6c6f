"""What is wrong with a checkpoint's settings, or with a pipeline that cannot have one."""

from __future__ import annotations


class InvalidCheckpointingConfig(ValueError):
    """The settings contradict each other or the data: no such column, values that are null, an empty path."""


class InvalidCheckpointingOperators(ValueError):
    """The pipeline has a step that a checkpoint cannot look through, or writes to a sink without files of tasks."""
