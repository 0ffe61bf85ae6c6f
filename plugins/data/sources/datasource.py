"""The socket for where rows come from."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

import attrs

from shoal.data.block import Block


@attrs.frozen(kw_only=True)
class BlockStats:
    """A block's rows, bytes, and what making it took."""

    num_rows: int | None
    size_bytes: int | None
    exec_stats: Any = None
    task_exec_stats: Any = None


@attrs.frozen
class BlockMetadata:
    """What is known of a block before it is read; None where it is not.

    `exec_stats` and `task_exec_stats` are what making it took, as of `shoal.data.block_stats`.

    Example: `BlockMetadata(num_rows=1000, input_files=["a.csv"])`
    """

    num_rows: int | None = None
    size_bytes: int | None = None
    input_files: Sequence[str] | None = None
    exec_stats: Any = None
    task_exec_stats: Any = None

    def to_stats(self) -> BlockStats:
        """Return the numbers of it."""
        return BlockStats(
            num_rows=self.num_rows,
            size_bytes=self.size_bytes,
            exec_stats=self.exec_stats,
            task_exec_stats=self.task_exec_stats,
        )


@attrs.frozen(eq=False)
class ReadTask:
    """One piece of a source: a function that yields its tables, wherever it is called.

    Parameters: `read_fn` takes nothing and returns the tables one after another; it travels to another process.
    `metadata` says what is known of the piece, `schema` its columns. With `per_task_row_limit` no more rows are read.

    Example: `ReadTask(lambda: [pa.table({"x": [1, 2]})], BlockMetadata(num_rows=2))`
    """

    read_fn: Callable[[], Iterable[Block]]
    metadata: BlockMetadata = BlockMetadata()
    schema: Any = None
    per_task_row_limit: int | None = None

    def __call__(self) -> Iterator[Block]:
        """Yield the piece's tables, up to the limit of rows. Raises what reading raises."""
        left = self.per_task_row_limit
        if left is None:
            yield from self.read_fn()
            return
        for table in self.read_fn():
            yield table.slice(0, left)
            left -= min(left, table.num_rows)
            if not left:
                return


class Reader(ABC):
    """What cuts a source of the older kind into pieces: its `create_reader` gives it."""

    @abstractmethod
    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        """Return about `parallelism` pieces that together are the whole source, in its order."""

    @abstractmethod
    def estimate_inmemory_data_size(self) -> int | None:
        """Return how many bytes all rows take in memory, as far as that is known without reading them."""


class Datasource:
    """Where rows come from: something that can be cut into pieces which are read independently.

    A source defines `get_read_tasks` and `estimate_inmemory_data_size`; an older one defines `create_reader` or
    `prepare_read`. It is made at the driver. The same source may be read many times, and each time it is asked for
    pieces again. A task may be read more than once, in another process, and must give the same rows each time.
    """

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return about `parallelism` pieces that together are the whole source, in its order.

        A piece need not yield more than `per_task_row_limit` rows. Raises what looking at the source raises, and
        NotImplementedError for a class that defines no way to be read.
        """
        return self.create_reader().get_read_tasks(parallelism)

    def estimate_inmemory_data_size(self) -> int | None:
        """Return how many bytes all rows take in memory, as far as that is known without reading them."""
        if type(self).create_reader is Datasource.create_reader:
            return None
        return self.create_reader().estimate_inmemory_data_size()

    def create_reader(self, **read_args: Any) -> Reader:
        """Return what cuts the source into pieces: of `prepare_read`, unless a class defines its own."""
        return _PreparedReader(self, read_args)

    def prepare_read(self, parallelism: int, **read_args: Any) -> list[ReadTask]:
        """Return the pieces, for a source of the oldest kind."""
        raise NotImplementedError(
            f"{type(self).__name__} defines no get_read_tasks(parallelism, per_task_row_limit): it cannot be read"
        )

    @property
    def should_create_reader(self) -> bool:
        """Whether the class is of the older kind, which is read by `create_reader`."""
        kind = type(self)
        return kind.get_read_tasks is Datasource.get_read_tasks

    @property
    def supports_distributed_reads(self) -> bool:
        """Whether any node can read it; else only the driver's does."""
        return True

    def supports_projection_pushdown(self) -> bool:
        """Tell whether the source can leave columns unread."""
        return isinstance(self, SupportsProjection)

    def supports_predicate_pushdown(self) -> bool:
        """Tell whether the source can leave rows unread."""
        return isinstance(self, SupportsPredicate)

    def reads_columns_alone(self) -> bool:
        """Tell whether a few columns are read much faster than all of them, so that it is worth to do so beforehand."""
        return False

    def apply_projection(self, projection_map: Mapping[str, str] | None) -> Datasource:
        """Return the same source with some columns only (None: with all): the keys of a mapping whose values are equal.

        Raises NotImplementedError where columns cannot be left out, and ValueError for new names, which no source
        gives.
        """
        if projection_map is None:
            return self
        if not isinstance(self, SupportsProjection):
            raise NotImplementedError(f"{self.get_name()} cannot leave columns unread")
        if any(old != new for old, new in projection_map.items()):
            raise ValueError("a source gives columns under their own names; rename_columns gives new ones")
        return self.project(list(projection_map))

    def apply_predicate(self, predicate_expr: Any) -> Datasource:
        """Return the same source with the rows for which an expression holds. Raises NotImplementedError."""
        if not isinstance(self, SupportsPredicate):
            raise NotImplementedError(f"{self.get_name()} cannot leave rows unread")
        in_arrow = getattr(predicate_expr, "to_pyarrow", None)
        return self.restrict(predicate_expr if in_arrow is None else in_arrow())

    def get_current_predicate(self) -> Any:
        """Return the Arrow expression that rows are held to; None if there is none."""
        return getattr(self, "expression", None)

    def get_projection_map(self) -> dict[str, str] | None:
        """Return the columns that are read, each with its name; None if all are."""
        columns = getattr(self, "columns", None)
        return None if columns is None else {name: name for name in columns}

    def describe(self) -> str:
        """Return what a person calls this kind of source."""
        return type(self).__name__.removesuffix("Datasource").lstrip("_")

    def get_name(self) -> str:
        """Return what a person calls this kind of source."""
        return self.describe()


@attrs.frozen(eq=False)
class _PreparedReader(Reader):
    source: Datasource
    read_args: Mapping[str, Any]

    def get_read_tasks(self, parallelism: int) -> list[ReadTask]:
        return self.source.prepare_read(parallelism, **self.read_args)

    def estimate_inmemory_data_size(self) -> int | None:
        return self.source.estimate_inmemory_data_size()


def pieces_of(source: Datasource, parallelism: int, limit: int | None) -> list[ReadTask]:
    """Return a source's pieces; one that knows of no limit is asked without.

    Example: `pieces_of(source, 8, None)`
    """
    if limit is None or "per_task_row_limit" not in inspect.signature(source.get_read_tasks).parameters:
        return source.get_read_tasks(parallelism)
    return source.get_read_tasks(parallelism, limit)


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
