"""Expressions that are more than their columns: numbers and names for rows, contents of files, and random draws."""

from __future__ import annotations

import uuid as uuids
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.expressions.tree import AliasExpr, ColumnExpr, Expr
from shoal.data.tasks import STATE, TASK

_DOWNLOADS = 16  # at a time in one task
_ROW_BITS = 33  # of a row's number that count within a task


@attrs.frozen(eq=False, repr=False)
class _OfRows(Expr):
    """An expression that needs the number of rows only. What it goes on with in the next block is a task's own."""

    _instance_id: str = attrs.field(factory=lambda: uuids.uuid4().hex)

    @property
    def parts(self) -> tuple[Expr, ...]:
        return ()

    @property
    def in_arrow(self) -> bool:
        """Arrow knows nothing of rows' numbers."""
        return False

    def is_idempotent(self) -> bool:
        """Another execution may give other values."""
        return False

    def compute(self, parts: Sequence[Any]) -> Any:
        raise TypeError(f"{self!r} is computed for a table of rows, not inside of a reader")

    def evaluate(self, table: Block) -> Any:
        """Return a value for each row."""
        return self._values(table.num_rows)

    def _values(self, rows: int) -> Any:
        raise NotImplementedError

    def _state(self, make: Any) -> Any:
        return STATE.get().setdefault(self._instance_id, make())

    def __repr__(self) -> str:
        return f"{type(self).__name__.removesuffix('Expr')}()"


class MonotonicallyIncreasingIdExpr(_OfRows):
    """Whole numbers that rise from row to row, and differ between all rows: a task's number and a row's in it."""

    def _values(self, rows: int) -> Any:
        state = self._state(lambda: [0])
        start = (TASK.get() << _ROW_BITS) + state[0]
        state[0] += rows
        return pa.array(np.arange(start, start + rows, dtype=np.int64))


class UUIDExpr(_OfRows):
    """Random UUIDs as text. A task that is tried again draws the same."""

    def _values(self, rows: int) -> Any:
        seed = int(self._instance_id, 16) % 2**63
        random = self._state(lambda: np.random.default_rng((seed, TASK.get())))
        drawn = random.bytes(16 * rows)
        each = (uuids.UUID(bytes=drawn[16 * n : 16 * n + 16], version=4) for n in range(rows))
        return pa.array([str(value) for value in each], pa.string())


@attrs.frozen(eq=False, repr=False)
class RandomExpr(_OfRows):
    """Numbers from 0 up to 1, drawn at random; with a seed the same for the same blocks."""

    seed: int | None = None

    def _values(self, rows: int) -> Any:
        seed = int(self._instance_id, 16) % 2**63 if self.seed is None else self.seed
        random = self._state(lambda: np.random.default_rng((seed, TASK.get())))
        return pa.array(random.random(rows))


@attrs.frozen(eq=False, repr=False)
class DownloadExpr(Expr):
    """The bytes of the files that a column of URIs names, several at a time. Null for a null."""

    uri_column_name: str
    filesystem: Any = None

    @property
    def parts(self) -> tuple[Expr, ...]:
        return (ColumnExpr(self.uri_column_name),)

    @property
    def in_arrow(self) -> bool:
        """Files are read in tasks only."""
        return False

    def compute(self, parts: Sequence[Any]) -> Any:
        with ThreadPoolExecutor(_DOWNLOADS, thread_name_prefix="shoal-data-download") as threads:
            return pa.array(list(threads.map(self._bytes, parts[0].to_pylist())), pa.large_binary())

    def _bytes(self, uri: str | None) -> bytes | None:
        from shoal.data.sources.paths import to_filesystem

        if uri is None:
            return None
        system, path = to_filesystem(uri, self.filesystem)
        with system.open_input_stream(path, compression=None) as stream:
            data: bytes = stream.read()
        return data

    def __repr__(self) -> str:
        return f"download({self.uri_column_name!r})"


def monotonically_increasing_id() -> MonotonicallyIncreasingIdExpr:
    """Return a number for each row: they rise within a task, and are different in all rows.

    Example: `ds.with_column("row", monotonically_increasing_id())`
    """
    return MonotonicallyIncreasingIdExpr()


def uuid() -> UUIDExpr:
    """Return a random UUID for each row, as text.

    Example: `ds.with_column("key", uuid())`
    """
    return UUIDExpr()


def random(seed: int | None = None) -> RandomExpr:
    """Return a random number from 0 up to 1 for each row; with a seed the same ones for the same blocks.

    Example: `ds.with_column("draw", random(seed=1)).filter(expr=col("draw") < 0.1)`
    """
    return RandomExpr(seed=seed)


def download(uri_column_name: str, *, filesystem: Any = None) -> DownloadExpr:
    """Return the bytes of the files that a column names, by paths or URLs. Raises what opening a file raises.

    Example: `ds.with_column("bytes", download("uri"))`
    """
    return DownloadExpr(uri_column_name, filesystem)


def is_rename_expr(expr: Expr) -> bool:
    """Tell whether an expression is a column under another name.

    Example: `is_rename_expr(col("x").alias("y"))  # True`
    """
    return (
        isinstance(expr, AliasExpr)
        and isinstance(expr.expr, ColumnExpr)
        and expr.expr.column != expr.alias_name
    )
