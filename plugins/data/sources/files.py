"""The source of files: pieces of nearly equal size, each a few files (or parts of one) that one task reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import numpy as np
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.checks import need_names
from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask
from shoal.data.sources.paths import File, FileShuffleConfig, OpenedWith
from shoal.data.tasks import SOURCE

_LARGE_ENOUGH = (
    2**20
)  # bytes of a file on average, above which its columns are worth to be read by themselves

PATH_COLUMN = "path"


class FileFormat(ABC):
    """How the bytes of a file are tables. It travels to tasks."""

    name: str = ""
    expands: float = 1.0  # bytes in memory for each byte of the file, roughly

    @abstractmethod
    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a file's tables, of a part of it only if `parts` gave parts. Raises what reading raises."""

    def parts(self, filesystem: Any, file: File, wanted: int) -> list[Any]:
        """Return the parts in which a large file can be read, about `wanted`; [None] for the whole of it."""
        return [None]

    def with_columns(self, columns: Sequence[str]) -> FileFormat | None:
        """Return a format that reads these columns only; None if it cannot leave any out."""
        return None

    def with_filter(self, expression: Any) -> FileFormat | None:
        """Return a format that leaves rows out for which an Arrow expression does not hold; None if it cannot."""
        return None


@attrs.frozen(eq=False)
class FileDatasource(Datasource):
    """Files of one format.

    Parameters: `columns` are those to give, in this order (None: all), `include_paths` adds the column "path", and
    `expression` is an Arrow expression for the rows to give. `shuffle` puts the files in another order in each
    execution, and `open_args` go to the filesystem's `open_input_stream`.

    Example: `read_datasource(FileDatasource(CsvFormat(), filesystem, files))`
    """

    format: FileFormat
    filesystem: Any
    files: tuple[File, ...]
    include_paths: bool = False
    columns: tuple[str, ...] | None = None
    expression: Any = None
    shuffle: FileShuffleConfig | None = None
    open_args: Mapping[str, Any] = attrs.field(factory=dict)
    executions: list[int] = attrs.field(factory=lambda: [0])  # how many there were; shared by narrowed copies

    def estimate_inmemory_data_size(self) -> int | None:
        """Return how many bytes all rows take, judged by the files' sizes."""
        return int(sum(file.size for file in self.files) * self.format.expands)

    def reads_columns_alone(self) -> bool:
        """Tell whether the format can, and files are so large that it is not their number that takes the time."""
        large = sum(file.size for file in self.files) >= _LARGE_ENOUGH * len(self.files)
        return large and self.shuffle is None and self.format.with_columns(()) is not None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return groups of files, or parts of large files, of nearly equal size."""
        total = sum(file.size for file in self.files) or 1
        share = max(1, total // max(1, parallelism))
        tasks: list[ReadTask] = []
        group: list[tuple[File, Any]] = []
        size = 0
        for file in self._in_order():
            wanted = -(-file.size // share)
            parts = self.format.parts(self.filesystem, file, wanted) if wanted > 1 else [None]
            for part in parts:
                group.append((file, part))
                size += max(1, file.size // len(parts))
                if size >= share:
                    tasks.append(self._task(group))
                    group, size = [], 0
        if group:
            tasks.append(self._task(group))
        return tasks

    def _in_order(self) -> Sequence[File]:
        """The files in the order of this execution."""
        if self.shuffle is None:
            return self.files
        seed = self.shuffle.get_seed(self.executions[0])
        self.executions[0] += 1
        return [self.files[place] for place in np.random.default_rng(seed).permutation(len(self.files))]

    def describe(self) -> str:
        """Return what a person calls this source."""
        columns = "" if self.columns is None else f", columns: {', '.join(self.columns)}"
        filtered = "" if self.expression is None else f", where {self.expression}"
        return f"{self.format.name}({len(self.files)} files{columns}{filtered})"

    def project(self, columns: Sequence[str]) -> FileDatasource:
        """Return the same source with these columns only, in this order."""
        return attrs.evolve(self, columns=tuple(columns))

    def restrict(self, expression: Any) -> FileDatasource:
        """Return the same source with the rows only for which an Arrow expression holds."""
        both = expression if self.expression is None else self.expression & expression
        return attrs.evolve(self, expression=both)

    def _task(self, group: list[tuple[File, Any]]) -> ReadTask:
        paths = list(dict.fromkeys(file.path for file, _ in group))
        # Without `files`: the other files' names need not travel with each piece.
        return ReadTask(_Piece(attrs.evolve(self, files=()), tuple(group)), BlockMetadata(input_files=paths))


@attrs.frozen(eq=False)
class _Piece:
    """Some files or parts of files, as a function that reads them."""

    source: FileDatasource
    group: tuple[tuple[File, Any], ...]

    def __call__(self) -> Iterator[Block]:
        source = self.source
        filesystem = (
            OpenedWith(source.filesystem, source.open_args) if source.open_args else source.filesystem
        )
        for file, part in self.group:
            SOURCE.set(file.path)
            added = {**file.partition, **({PATH_COLUMN: file.path} if source.include_paths else {})}
            format_, is_filtered = self._narrowed(added)
            try:
                for table in format_.read(filesystem, file, part):
                    yield self._finished(table, added, is_filtered)
            except Exception as error:  # whatever the format's library raises
                # The class stays, so that programs can tell errors apart; the path is what a person needs.
                error.add_note(f"while reading {file.path}") if hasattr(error, "add_note") else None
                raise

    def _narrowed(self, added: dict[str, Any]) -> tuple[FileFormat, bool]:
        """The format, told what it may leave out, and whether it filters; columns of the path are not in the file."""
        found, source = self.source.format, self.source
        filtering = (
            found.with_filter(source.expression) if source.expression is not None and not added else None
        )
        found = filtering or found
        if source.columns is not None and (source.expression is None or filtering is not None):
            found = found.with_columns([name for name in source.columns if name not in added]) or found
        return found, filtering is not None

    def _finished(self, table: Block, added: dict[str, Any], is_filtered: bool) -> Block:
        for name, value in added.items():
            column = pa.repeat(pa.scalar(value), table.num_rows)
            if name in table.column_names:
                table = table.set_column(table.column_names.index(name), name, column)
            else:
                table = table.append_column(name, column)
        if self.source.expression is not None and not is_filtered:
            table = table.filter(self.source.expression)
        if self.source.columns is not None:
            need_names(self.source.columns, table.column_names)
            table = table.select(list(self.source.columns))
        return table
