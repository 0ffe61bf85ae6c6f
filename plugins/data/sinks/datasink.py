"""The socket for where rows go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import attrs

from shoal.data.block import Block

R = TypeVar("R")


@attrs.frozen
class TaskContext:
    """Which of a write's tasks this is.

    Parameters: `task_idx` is the task's number. A task that is tried again has the same number, so that what it writes
    can replace what the first try left.
    """

    task_idx: int


@attrs.frozen
class WriteResult(Generic[R]):
    """What a whole write did: the rows and bytes written, and what each task's `write` returned, in order."""

    num_rows: int
    size_bytes: int
    write_returns: list[R]


class Datasink(ABC, Generic[R]):
    """Where rows go. `write` runs in tasks, everything else at the driver; the sink travels to them by pickling.

    The calls are: `on_write_start`, then `write` any number of times at once, then one of `on_write_complete` and
    `on_write_failed`.
    """

    def on_write_start(self, schema: Any = None) -> None:
        """Make ready, once. Raises what makes writing impossible, before anything is computed."""

    @abstractmethod
    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> R:
        """Write blocks and return what `on_write_complete` is to know. May be called again with the same `ctx`."""

    def on_write_complete(self, write_result: WriteResult[R]) -> None:
        """Note that every task has written."""

    def on_write_failed(self, error: BaseException) -> None:
        """Note that the write has failed and is over."""

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows one call of `write` should have at least; None: as they come."""
        return None

    def describe(self) -> str:
        """Return what a person calls this kind of sink."""
        return type(self).__name__.removesuffix("Datasink").lstrip("_")

    def get_name(self) -> str:
        """Return what a person calls this kind of sink."""
        return self.describe()
