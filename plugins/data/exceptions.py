"""What goes wrong with an execution itself, not with what its tasks do."""

from __future__ import annotations

from shoal.errors import ShoalError


class ExecutionTimeoutError(ShoalError, TimeoutError):
    """No task of an execution told anything for longer than `DataContext.execution_no_progress_timeout_s` allows."""
