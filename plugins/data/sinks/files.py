"""The sink of files in a folder. A file appears whole, under its own name, or not at all."""

from __future__ import annotations

import copy
import enum
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from shoal.data.block import Block, concat, size_of, to_numpy
from shoal.data.checks import check_count
from shoal.data.ordering import groups_of
from shoal.data.sinks.datasink import Datasink, TaskContext, WriteResult
from shoal.data.sources.paths import to_filesystem
from shoal.data.transforms import batches_of, need_columns
from shoal.errors import describe

_FILE_BYTES = 2**27  # of rows in memory, after which a task begins another file
_UNFINISHED = ".unfinished"


class SaveMode(enum.Enum):
    """What a write does where its folder holds files already."""

    APPEND = "append"  # add files
    OVERWRITE = "overwrite"  # delete what is there first
    IGNORE = "ignore"  # write nothing
    ERROR = "error"  # raise FileExistsError
    CREATE = "create"  # raise FileExistsError: the same by another name

    @classmethod
    def of(cls, mode: Any) -> SaveMode:
        """Return a mode by its name. Raises ValueError.

        Example: `SaveMode.of("append")`
        """
        try:
            return cls(mode.value if isinstance(mode, SinkMode) else mode)
        except ValueError:
            known = ", ".join(repr(each.value) for each in cls)
            raise ValueError(f"mode must be one of {known}, not {describe(mode)}") from None


class SinkMode(enum.Enum):
    """What a write to a table does where the table is there; a part of `SaveMode`, which may be given as well."""

    APPEND = "append"
    OVERWRITE = "overwrite"
    CREATE = "create"


class FileWriter(ABC):
    """How a table becomes the bytes of a file. It travels to tasks."""

    name: str = ""
    extension: str = ""

    @abstractmethod
    def write(self, table: Block, stream: Any) -> None:
        """Write a table to a stream of bytes. Raises what writing raises."""


@attrs.frozen(eq=False)
class ParquetWriter(FileWriter):
    """Parquet; `options` are those of pyarrow.parquet.write_table."""

    name = "Parquet"
    extension = "parquet"

    options: Mapping[str, Any] = attrs.field(factory=dict)

    def write(self, table: Block, stream: Any) -> None:
        """Write a table."""
        import pyarrow.parquet as pq

        pq.write_table(table, stream, **self.options)


@attrs.frozen(eq=False)
class CsvWriter(FileWriter):
    """Comma-separated values; `options` are those of pyarrow.csv.write_csv."""

    name = "CSV"
    extension = "csv"

    options: Mapping[str, Any] = attrs.field(factory=dict)
    more: Callable[[], Mapping[str, Any]] | None = None  # options that are made where the file is written

    def write(self, table: Block, stream: Any) -> None:
        """Write a table."""
        from pyarrow import csv

        csv.write_csv(table, stream, **{**self.options, **(self.more() if self.more else {})})


@attrs.frozen(eq=False)
class JsonWriter(FileWriter):
    """One JSON object a line."""

    name = "JSON"
    extension = "json"

    def write(self, table: Block, stream: Any) -> None:
        """Write a table. Raises TypeError for values that JSON has no form for."""
        import json

        for batch in table.to_batches(max_chunksize=2**14):
            lines = [json.dumps(row, ensure_ascii=False, default=_plain) for row in batch.to_pylist()]
            stream.write("".join(line + "\n" for line in lines).encode())


@attrs.frozen(eq=False)
class NumpyWriter(FileWriter):
    """One column as an array in a `.npy` file."""

    column: str

    name = "Numpy"
    extension = "npy"

    def write(self, table: Block, stream: Any) -> None:
        """Write the column. Raises KeyError if it is not there."""
        import numpy as np

        need_columns(table, [self.column])
        np.save(stream, to_numpy(table.column(self.column)), allow_pickle=False)


class FilenameProvider:
    """Names files that are written. Subclass it for names of your own; the write's id is put before those without it.

    Parameters: `dataset_uuid` begins all names, `file_format` ends them.

    Example: `ds.write_parquet("out", filename_provider=FilenameProvider("trips", "parquet"))`
    """

    def __init__(self, dataset_uuid: str | None = None, file_format: str | None = None) -> None:
        self._begin = "" if not dataset_uuid else f"{dataset_uuid}_"
        self._end = "" if not file_format else f".{file_format}"

    def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
        """Return the name of the only file of a task."""
        return f"{self._begin}{write_uuid}_{task_index:06}{self._end}"

    def get_filename_for_block(self, block: Any, write_uuid: str, task_index: int, block_index: int) -> str:
        """Return the name of a block's file: number `block_index` of a task."""
        if not block_index:
            return self.get_filename_for_task(write_uuid, task_index)
        return f"{self._begin}{write_uuid}_{task_index:06}_{block_index:06}{self._end}"

    def get_filename_for_row(
        self, row: Mapping[str, Any], write_uuid: str, task_index: int, block_index: int, row_index: int
    ) -> str:
        """Return the name of a row's file, where each row has one."""
        return f"{self._begin}{write_uuid}_{task_index:06}_{block_index:06}_{row_index:06}{self._end}"


class FileDatasink(Datasink[list[str]]):
    """Writes each task's blocks to a file of its own in a folder, or to several of `max_rows` rows.

    Parameters: `path` is the folder, `mode` what is done if it holds files, `partition_cols` are columns whose values
    become folders `name=value`, `min_rows` is how many rows a file has at least while there are more, `max_rows` at
    most (without them a file has about 128 MiB of rows at most). A file's name is that of the write and of the task, so
    a task that is tried again replaces what it wrote.

    Example: `ds.write_datasink(FileDatasink("out", ParquetWriter()))`
    """

    def __init__(
        self,
        path: str,
        writer: FileWriter,
        *,
        filesystem: Any = None,
        mode: Any = SaveMode.APPEND,
        partition_cols: Sequence[str] | None = None,
        min_rows: int | None = None,
        max_rows: int | None = None,
        open_stream_args: Mapping[str, Any] | None = None,
        name_of: Callable[[int, int], str] | FilenameProvider | None = None,
        makes_folder: bool = True,
    ) -> None:
        check_count("min_rows_per_file", min_rows)
        check_count("max_rows_per_file", max_rows)
        if min_rows is not None and max_rows is not None and min_rows > max_rows:
            raise ValueError(
                f"min_rows_per_file ({min_rows}) must not be above max_rows_per_file ({max_rows})"
            )
        self._filesystem, self._path = to_filesystem(path, filesystem)
        self._writer = writer
        self._mode = SaveMode.of(mode)
        self._partition_cols = list(partition_cols or ())
        self._min_rows = min_rows
        self._max_rows = max_rows
        self._stream_args = dict(open_stream_args or {})
        self._id = uuid.uuid4().hex[:12]
        self._name_of = name_of
        self._makes_folder = makes_folder
        self.skips = False  # set when the mode says that nothing is to be written

    @property
    def min_rows_per_write(self) -> int | None:
        """How many rows one call of `write` should have at least."""
        return self._min_rows

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return self._writer.name

    def on_write_start(self, schema: Any = None) -> None:
        """Make the folder, as the mode says. Raises FileExistsError, and what the filesystem raises."""
        from pyarrow import fs

        if self._makes_folder:
            self._filesystem.create_dir(self._path, recursive=True)
        if self._mode is SaveMode.APPEND:
            return
        there = self._filesystem.get_file_info(fs.FileSelector(self._path, recursive=True))
        if not any(info.type == fs.FileType.File for info in there):
            return
        if self._mode in (SaveMode.ERROR, SaveMode.CREATE):
            raise FileExistsError(
                f'{self._path!r} holds files; mode="append" or "overwrite" writes there all the same'
            )
        if self._mode is SaveMode.IGNORE:
            self.skips = True
        else:
            self._filesystem.delete_dir_contents(self._path)

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> list[str]:
        """Write blocks to files and return their paths. Raises what writing raises; no half of a file is left."""
        paths: list[str] = []
        for number, table in enumerate(self._tables(blocks)):
            for folder, part in self._partitions(table):
                paths.append(self._write_file(folder, ctx.task_idx, number, part))
        return paths

    @property
    def path(self) -> str:
        """The folder, on `filesystem`."""
        return str(self._path)

    @property
    def filesystem(self) -> Any:
        """The filesystem of the folder, one of pyarrow's."""
        return self._filesystem

    @property
    def id(self) -> str:
        """What all names of this write's files have in them."""
        return self._id

    @property
    def mode(self) -> SaveMode:
        """What is done where the folder holds files."""
        return self._mode

    @mode.setter
    def mode(self, mode: SaveMode) -> None:
        self._mode = mode

    def of_task(self, id_: str) -> FileDatasink:
        """Return the same sink under an id of its own, which its files' names then have in them."""
        mine = copy.copy(self)
        mine._id = id_
        return mine

    def on_write_complete(self, write_result: WriteResult[list[str]]) -> None:
        """Delete what workers that died had not finished."""
        self.delete_own(_UNFINISHED)

    def on_write_failed(self, error: BaseException) -> None:
        """Delete what the write left, as far as that is possible."""
        try:
            self.delete_own()
        except OSError as second:  # the first error is the one to tell of
            if hasattr(error, "add_note"):
                error.add_note(f"what was written to {self._path} could not be deleted: {second}")

    @property
    def partition_cols(self) -> list[str]:
        """The columns whose values become folders."""
        return list(self._partition_cols)

    def partition_by(self, columns: Sequence[str]) -> None:
        """Partition by other columns, before anything is written."""
        self._partition_cols = list(columns)

    def parts_of(self, table: Block) -> Iterator[tuple[str, int, Block]]:
        """Yield the folder, a number and the rows of each file that a table becomes."""
        for number, whole in enumerate(self._tables([table])):
            for folder, part in self._partitions(whole):
                yield folder, number, part

    def write_part(self, folder: str, task: int, number: int, table: Block) -> tuple[str, int]:
        """Write one file; return its path from the sink's folder on, and its bytes. Raises what writing raises."""
        path = self._write_file(folder, task, number, table)
        size = int(self._filesystem.get_file_info(path).size or 0)
        return path[len(self._path.rstrip("/")) + 1 :], size

    def delete_own(self, ending: str = "") -> None:
        """Delete the files whose names have this write's id in them, and end so."""
        from pyarrow import fs

        for info in self._filesystem.get_file_info(fs.FileSelector(self._path, recursive=True)):
            if self._id in info.base_name and info.type == fs.FileType.File and info.path.endswith(ending):
                self._filesystem.delete_file(info.path)

    def _tables(self, blocks: Iterable[Block]) -> Iterator[Block]:
        if self._max_rows is not None:
            yield from batches_of(blocks, self._max_rows)
            return
        kept: list[Block] = []
        size = 0
        for block in blocks:
            if not block.num_rows:
                continue
            kept.append(block)
            size += size_of(block)
            if size >= _FILE_BYTES and self._min_rows is None:
                yield concat(kept)
                kept, size = [], 0
        if kept:
            yield concat(kept)

    def _partitions(self, table: Block) -> Iterator[tuple[str, Block]]:
        if not self._partition_cols:
            yield "", table
            return
        from urllib.parse import quote

        need_columns(table, self._partition_cols)
        rest = [name for name in table.column_names if name not in self._partition_cols]
        for group in groups_of(table, self._partition_cols):
            values = [group.column(name)[0].as_py() for name in self._partition_cols]
            shown = [
                "__HIVE_DEFAULT_PARTITION__" if value is None else quote(str(value), safe="")
                for value in values
            ]
            folders = [f"{name}={value}" for name, value in zip(self._partition_cols, shown, strict=True)]
            yield "/".join(folders), group.select(rest)

    def _write_file(self, folder: str, task: int, number: int, table: Block) -> str:
        where = "/".join(part for part in (self._path.rstrip("/"), folder) if part)
        if folder:
            self._filesystem.create_dir(where, recursive=True)
        name = self._name(task, number, table)
        if not renames(self._filesystem):  # an object store shows an object when it is complete
            with self._filesystem.open_output_stream(f"{where}/{name}", **self._stream_args) as stream:
                self._write_table(table, stream)
            return f"{where}/{name}"
        # The dot keeps readers from taking an unfinished file for a finished one.
        unfinished = f"{where}/.{uuid.uuid4().hex[:8]}_{name}{_UNFINISHED}"
        try:
            with self._filesystem.open_output_stream(
                unfinished, compression=None, **self._stream_args
            ) as stream:
                self._write_table(table, stream)
            self._filesystem.move(unfinished, f"{where}/{name}")
        except BaseException:
            self._forget(unfinished)
            raise
        return f"{where}/{name}"

    def _write_table(self, table: Block, stream: Any) -> None:
        self._writer.write(table, stream)

    def _name(self, task: int, number: int, table: Block) -> str:
        """The name of a file. It has the write's id in it, so that a write that fails finds what it wrote."""
        given = self._name_of
        if isinstance(given, FilenameProvider):
            if self._max_rows == 1 and table.num_rows == 1:
                made = given.get_filename_for_row(table.to_pylist()[0], self._id, task, number, 0)
            else:
                made = given.get_filename_for_block(table, self._id, task, number)
        else:
            made = given(task, number) if given else f"{task:06}_{number:06}.{self._writer.extension}"
        return made if self._id in made else f"{self._id}_{made}"

    def _forget(self, path: str) -> None:
        from pyarrow import fs

        if self._filesystem.get_file_info(path).type == fs.FileType.File:
            self._filesystem.delete_file(path)


def renames(filesystem: Any) -> bool:
    """Whether a file can be given its name when it is complete; object stores would copy it instead."""
    return filesystem.type_name not in ("s3", "gcs", "abfs")


def _plain(value: Any) -> Any:
    """JSON's form of what Arrow gives besides plain values."""
    import base64
    import datetime
    import decimal

    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (datetime.timedelta,)):
        return value.total_seconds()
    if isinstance(value, decimal.Decimal):
        return str(value)
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"JSON has no form for {describe(value)}")
