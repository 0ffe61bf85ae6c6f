"""Which of an operator's tasks this is, for transforms that must do something else in each."""

from __future__ import annotations

from contextvars import ContextVar

TASK: ContextVar[int] = ContextVar("shoal_data_task", default=0)
