"""Sinks of files for formats of one's own: subclasses say how a row or a block becomes the bytes of a file."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from shoal.data.block import Block, rows_of
from shoal.data.sinks.datasink import TaskContext
from shoal.data.sinks.files import FileDatasink, FilenameProvider, FileWriter, SaveMode


class _Own(FileWriter):
    """A format that the sink itself knows."""

    def __init__(self, name: str, extension: str) -> None:
        self.name = name
        self.extension = extension

    def write(self, table: Block, stream: Any) -> None:
        """Never called: the sink writes."""
        raise AssertionError("the sink writes itself")


class BlockBasedFileDatasink(FileDatasink):
    """Writes each block to a file of its own: write `write_block_to_file`.

    Parameters: `path` is the folder, `min_rows_per_file` is how many rows a file has at least while there are more. The
    others are those of `FileSinkKeywords`, and `file_format`, the ending of files' names.

    Example:
        class PickleDatasink(BlockBasedFileDatasink):
            def write_block_to_file(self, block, file): file.write(pickle.dumps(block.to_pylist()))
        ds.write_datasink(PickleDatasink("out", file_format="pickle"))
    """

    def __init__(
        self, path: str, *, min_rows_per_file: int | None = None, **file_datasink_kwargs: Any
    ) -> None:
        self._setup(path, min_rows=min_rows_per_file, **file_datasink_kwargs)

    def _setup(
        self,
        path: str,
        *,
        filesystem: Any = None,
        try_create_dir: bool = True,
        open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: FilenameProvider | None = None,
        dataset_uuid: str | None = None,
        file_format: str = "bin",
        mode: Any = SaveMode.APPEND,
        min_rows: int | None = None,
        max_rows: int | None = None,
    ) -> None:
        super().__init__(
            path,
            _Own(type(self).__name__.removesuffix("Datasink"), file_format),
            filesystem=filesystem,
            mode=mode,
            min_rows=min_rows,
            max_rows=max_rows,
            open_stream_args=open_stream_args,
            name_of=filename_provider or FilenameProvider(dataset_uuid, file_format),
            makes_folder=try_create_dir,
        )

    @abstractmethod
    def write_block_to_file(self, block: Block, file: Any) -> None:
        """Write a table to a stream of bytes. Raises what writing raises; then no file is left."""

    def open_output_stream(self, path: str) -> Any:
        """Return a stream of bytes for a path of the sink's filesystem."""
        return self._filesystem.open_output_stream(path, **self._stream_args)

    def write_block(self, block: Block, block_index: int, ctx: TaskContext) -> None:
        """Write one block, as number `block_index` of a task, to a file."""
        self._write_file("", ctx.task_idx, block_index, block)

    def _write_table(self, table: Block, stream: Any) -> None:
        self.write_block_to_file(table, stream)


class RowBasedFileDatasink(BlockBasedFileDatasink):
    """Writes each row to a file of its own: write `write_row_to_file`.

    Parameters: as of `BlockBasedFileDatasink`, without a number of rows.

    Example:
        class TextDatasink(RowBasedFileDatasink):
            def write_row_to_file(self, row, file): file.write(row["text"].encode())
        ds.write_datasink(TextDatasink("out", file_format="txt"))
    """

    def __init__(
        self,
        path: str,
        *,
        filesystem: Any = None,
        try_create_dir: bool = True,
        open_stream_args: Mapping[str, Any] | None = None,
        filename_provider: FilenameProvider | None = None,
        dataset_uuid: str | None = None,
        file_format: str = "bin",
        mode: Any = SaveMode.APPEND,
    ) -> None:
        self._setup(
            path,
            filesystem=filesystem,
            try_create_dir=try_create_dir,
            open_stream_args=open_stream_args,
            filename_provider=filename_provider,
            dataset_uuid=dataset_uuid,
            file_format=file_format,
            mode=mode,
            max_rows=1,
        )

    @abstractmethod
    def write_row_to_file(self, row: dict[str, Any], file: Any) -> None:
        """Write a row to a stream of bytes. Raises what writing raises; then no file is left."""

    def write_block(self, block: Block, block_index: int, ctx: TaskContext) -> None:
        """Write the rows of a block, each to a file; they are numbered from `block_index` on."""
        for number in range(block.num_rows):
            self._write_file("", ctx.task_idx, block_index + number, block.slice(number, 1))

    def write_block_to_file(self, block: Block, file: Any) -> None:
        """Write the only row of a block."""
        for row in rows_of(block):
            self.write_row_to_file(row, file)
