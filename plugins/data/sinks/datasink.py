"""The socket for where rows go."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, TypeVar

import attrs

from shoal.data.block import Block

WriteReturnType = TypeVar("WriteReturnType")


@attrs.frozen
class TaskContext:
    """Which of a write's tasks this is.

    Parameters: `task_idx` is the task's number. A task that is tried again has the same number, so that what it writes
    can replace what the first try left.
    """

    task_idx: int


@attrs.frozen
class WriteResult(Generic[WriteReturnType]):
    """What a whole write did: the rows and bytes written, and what each task's `write` returned, in order."""

    num_rows: int
    size_bytes: int
    write_returns: list[WriteReturnType]

    @classmethod
    def combine(cls, *wrs: WriteResult[WriteReturnType]) -> WriteResult[WriteReturnType]:
        """Return what several writes did together.

        Example: `WriteResult.combine(one, other).num_rows`
        """
        returns = [each for result in wrs for each in result.write_returns]
        return cls(sum(each.num_rows for each in wrs), sum(each.size_bytes for each in wrs), returns)


class Datasink(ABC, Generic[WriteReturnType]):
    """Where rows go. `write` runs in tasks, everything else at the driver; the sink travels to them by pickling.

    The calls are: `on_write_start`, then `write` any number of times at once, then one of `on_write_complete` and
    `on_write_failed`.
    """

    def on_write_start(self, schema: Any = None) -> None:
        """Make ready, once. Raises what makes writing impossible, before anything is computed."""

    @abstractmethod
    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> WriteReturnType:
        """Write blocks and return what `on_write_complete` is to know. May be called again with the same `ctx`."""

    def on_write_complete(self, write_result: WriteResult[WriteReturnType]) -> None:
        """Note that every task has written."""

    def on_write_failed(self, error: BaseException) -> None:
        """Note that the write has failed and is over."""

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows one call of `write` should have at least; None: as they come."""
        return None

    @property
    def supports_distributed_writes(self) -> bool:
        """Whether `write` may run in several tasks at once; where not, one task after another writes."""
        return True

    def describe(self) -> str:
        """Return what a person calls this kind of sink."""
        return type(self).__name__.removesuffix("Datasink").lstrip("_")

    def get_name(self) -> str:
        """Return what a person calls this kind of sink."""
        return self.describe()


class DummyOutputDatasink(Datasink[int]):
    """Takes rows and keeps none of them: for measuring what comes before. Counts rows and writes that ended.

    Example: `sink = DummyOutputDatasink(); ds.write_datasink(sink); sink.rows_written`
    """

    def __init__(self) -> None:
        self.rows_written = 0
        self.num_ok = 0
        self.num_failed = 0

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Return how many rows there were."""
        return sum(block.num_rows for block in blocks)

    def on_write_complete(self, write_result: WriteResult[int]) -> None:
        """Count the rows and the write."""
        self.rows_written += sum(write_result.write_returns)
        self.num_ok += 1

    def on_write_failed(self, error: BaseException) -> None:
        """Count the write."""
        self.num_failed += 1
