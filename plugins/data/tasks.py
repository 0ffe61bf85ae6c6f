"""Which of an operator's tasks this is, and which file it reads, for transforms that must do something else in each."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

TASK: ContextVar[int] = ContextVar("shoal_data_task", default=0)
SOURCE: ContextVar[str | None] = ContextVar("shoal_data_source", default=None)
"""The file that the rows under way were read from, where the same task read them."""
STATE: ContextVar[dict[str, Any]] = ContextVar("shoal_data_state")
"""What steps go on with from block to block of one task, by ids of their own."""
