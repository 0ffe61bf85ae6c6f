"""The socket for where rows come from."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from shoal.data.block import Block


@attrs.frozen
class BlockMetadata:
    """What is known of a block before it is read; None where it is not.

    Example: `BlockMetadata(num_rows=1000, input_files=["a.csv"])`
    """

    num_rows: int | None = None
    size_bytes: int | None = None
    input_files: Sequence[str] | None = None


@attrs.frozen(eq=False)
class ReadTask:
    """One piece of a source: a function that yields its tables, wherever it is called.

    Parameters: `read_fn` takes nothing and returns the tables one after another; it travels to another process.
    `metadata` says what is known of the piece, `schema` its columns.

    Example: `ReadTask(lambda: [pa.table({"x": [1, 2]})], BlockMetadata(num_rows=2))`
    """

    read_fn: Callable[[], Iterable[Block]]
    metadata: BlockMetadata = BlockMetadata()
    schema: Any = None

    def __call__(self) -> Iterator[Block]:
        """Yield the piece's tables. Raises what reading raises."""
        yield from self.read_fn()


class Datasource(ABC):
    """Where rows come from: something that can be cut into pieces which are read independently.

    It is made at the driver. The same source may be read many times, and each time `get_read_tasks` is called again. A
    task may be read more than once, in another process, and must give the same rows each time.
    """

    @abstractmethod
    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return about `parallelism` pieces that together are the whole source, in its order.

        A piece need not yield more than `per_task_row_limit` rows. Raises what looking at the source raises.
        """

    @abstractmethod
    def estimate_inmemory_data_size(self) -> int | None:
        """Return how many bytes all rows take in memory, as far as that is known without reading them."""

    def describe(self) -> str:
        """Return what a person calls this kind of source."""
        return type(self).__name__.removesuffix("Datasource").lstrip("_")

    def get_name(self) -> str:
        """Return what a person calls this kind of source."""
        return self.describe()


@runtime_checkable
class SupportsProjection(Protocol):
    """A source that can leave columns unread."""

    def project(self, columns: Sequence[str]) -> Datasource:
        """Return the same source with these columns only, in this order."""
        ...


@runtime_checkable
class SupportsPredicate(Protocol):
    """A source that can leave rows unread."""

    def restrict(self, expression: Any) -> Datasource:
        """Return the same source with the rows only for which an Arrow expression holds."""
        ...
