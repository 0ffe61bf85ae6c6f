"""What brings tasks from a queue, and puts them into it."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import attrs


@attrs.frozen
class TaskResult:
    """A task as it stands: its identifier, status ("PENDING", "STARTED", "RETRY", "SUCCESS", "FAILURE", "REVOKED").

    `created_at` is when it was put into the queue (seconds since 1970; None: nobody knows), `result` what it gave, or
    what it raised as text.
    """

    id: str
    status: str
    created_at: float | None = None
    result: Any = None


class TaskProcessorAdapter(ABC):
    """Brings tasks of one queue to functions, and puts tasks into it. One for each broker; users may write their own.

    A deployment's replica calls `initialize`, `register_task_handle` for each function and `start_consumer`; at its end
    `stop_consumer`, after which no task is taken, and which waits for those under way. Who only puts tasks in calls
    `initialize` and `enqueue_task_sync`. What ends in `_async` does the same without holding an event loop up.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take the TaskProcessorConfig as the first argument."""
        self.config = args[0] if args else kwargs["config"]

    @abstractmethod
    def initialize(self, consumer_concurrency: int = 1) -> None:
        """Prepare, for so many tasks at a time. Raises ConfigError if the broker cannot be had."""

    @abstractmethod
    def register_task_handle(self, func: Callable[..., Any], name: str | None = None) -> None:
        """Have a function do the tasks of a name (None: its own)."""

    @abstractmethod
    def enqueue_task_sync(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        """Put a task into the queue; `options` are the broker's."""

    @abstractmethod
    def get_task_status_sync(self, task_id: str) -> TaskResult:
        """Return how a task stands."""

    @abstractmethod
    def cancel_task_sync(self, task_id: str) -> bool:
        """Have a task not begin; return whether the broker was told. One that has begun goes on."""

    @abstractmethod
    def start_consumer(self, **kwargs: Any) -> None:
        """Begin to take tasks, beside what the process does; returns when it does."""

    @abstractmethod
    def stop_consumer(self, timeout: float = 10.0) -> None:
        """Take no more tasks, and wait at most so many seconds for those under way."""

    @abstractmethod
    def get_metrics_sync(self) -> dict[str, Any]:
        """Return numbers: `queue_length` (tasks that wait) and `active` (tasks under way here)."""

    @abstractmethod
    def health_check_sync(self) -> list[dict[str, Any]]:
        """Return what consumers answer, one for each that does; raises if the broker cannot be reached."""

    async def enqueue_task_async(
        self, task_name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> TaskResult:
        """Do as `enqueue_task_sync`."""
        return await asyncio.to_thread(self.enqueue_task_sync, task_name, args, kwargs, **options)

    async def get_task_status_async(self, task_id: str) -> TaskResult:
        """Do as `get_task_status_sync`."""
        return await asyncio.to_thread(self.get_task_status_sync, task_id)

    async def cancel_task_async(self, task_id: str) -> bool:
        """Do as `cancel_task_sync`."""
        return await asyncio.to_thread(self.cancel_task_sync, task_id)

    async def get_metrics_async(self) -> dict[str, Any]:
        """Do as `get_metrics_sync`."""
        return await asyncio.to_thread(self.get_metrics_sync)

    async def health_check_async(self) -> list[dict[str, Any]]:
        """Do as `health_check_sync`."""
        return await asyncio.to_thread(self.health_check_sync)
