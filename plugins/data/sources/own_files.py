"""The source of files for formats of one's own: a subclass says how a file's bytes are tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from shoal.data.block import Block
from shoal.data.sources.datasource import Datasource, ReadTask
from shoal.data.sources.files import FileDatasource, FileFormat
from shoal.data.sources.paths import File, check_paths, find_files


class FileBasedDatasource(Datasource):
    """Files that a subclass reads: write `_read_stream(stream, path)`, which yields tables or batches.

    Parameters: `paths`, `filesystem`, `partitioning`, `partition_filter`, `ignore_missing_paths`, `shuffle`,
    `include_paths` and `file_extensions` are as of `read_csv`; `open_stream_args` go to the filesystem's
    `open_input_stream`, and `schema` is an Arrow schema that tables are cast to.
    Raises FileNotFoundError for a path that is not there.

    Example:
        class Lines(FileBasedDatasource):
            def _read_stream(self, stream, path): yield {"line": stream.read().decode().splitlines()}
        shoal.data.read_datasource(Lines("logs/"))
    """

    def __init__(
        self,
        paths: Any,
        *,
        filesystem: Any = None,
        schema: Any = None,
        open_stream_args: Mapping[str, Any] | None = None,
        meta_provider: Any = None,
        partition_filter: Any = None,
        partitioning: Any = None,
        ignore_missing_paths: bool = False,
        shuffle: Any = None,
        include_paths: bool = False,
        file_extensions: Sequence[str] | None = None,
    ) -> None:
        if meta_provider is not None:
            paths = [
                path
                for path, _ in meta_provider.expand_paths(
                    paths, filesystem, partitioning, ignore_missing_paths
                )
            ]
        from shoal.data.partitions import wanted_files

        system, files = find_files(
            check_paths(paths), filesystem, file_extensions, ignore_missing_paths, partitioning
        )
        kind = _Streamed(self._read_stream, schema, dict(open_stream_args or {}), type(self).__name__)
        chosen = tuple(wanted_files(files, partition_filter))
        self._files = FileDatasource(kind, system, chosen, include_paths, shuffle=shuffle)

    def _read_stream(self, stream: Any, path: str) -> Iterator[Any]:
        """Yield the tables, or batches, of a file. Raises what reading raises."""
        raise NotImplementedError(f"{type(self).__name__} needs the method _read_stream(stream, path)")

    @property
    def files(self) -> tuple[File, ...]:
        """The files that there are."""
        return self._files.files

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return groups of files of nearly equal size."""
        return self._files.get_read_tasks(parallelism, per_task_row_limit)

    def estimate_inmemory_data_size(self) -> int | None:
        """Return the files' sizes, all together."""
        return self._files.estimate_inmemory_data_size()

    @staticmethod
    def resolve_compression(path: str, open_args: Mapping[str, Any]) -> str | None:
        """Return how a file is compressed: what `open_args` say, else what the name says; None if it is not.

        Example: `FileBasedDatasource.resolve_compression("a.csv.gz", {})  # "gzip"`
        """
        import pyarrow as pa

        given = open_args.get("compression", "detect")
        if given != "detect":
            return None if given is None else str(given)
        try:
            return str(pa.Codec.detect(path).name)
        except (ValueError, TypeError):  # which of them depends on pyarrow's version
            return None


class _Streamed(FileFormat):
    """A format that a function knows."""

    def __init__(
        self, read: Callable[[Any, str], Iterator[Any]], schema: Any, how: dict[str, Any], name: str
    ) -> None:
        self._read = read
        self._schema = schema
        self._how = how
        self.name = name.removesuffix("Datasource")

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield the file's tables."""
        from shoal.data.block import from_batch

        with filesystem.open_input_stream(file.path, **self._how) as stream:
            for batch in self._read(stream, file.path):
                table = from_batch(batch)
                yield table if self._schema is None else table.cast(self._schema)


class FileMetadataProvider:
    """What knows of files without reading them: which there are, and how large."""

    def __call__(self, paths: Sequence[str], **kwargs: Any) -> int | None:
        """Return the bytes of files together; None where that is not known."""
        return sum(size or 0 for _, size in BaseFileMetadataProvider().expand_paths(list(paths), None))


class BaseFileMetadataProvider(FileMetadataProvider):
    """What finds the files of paths; subclass it where a folder's listing is slow and another index is at hand."""

    def expand_paths(
        self, paths: Any, filesystem: Any, partitioning: Any = None, ignore_missing_paths: bool = False
    ) -> Iterator[tuple[str, int | None]]:
        """Yield the files that paths, folders and globs name, with their bytes. Raises FileNotFoundError."""
        _, files = find_files(check_paths(paths), filesystem, None, ignore_missing_paths, partitioning)
        for file in files:
            yield file.path, file.size


class DefaultFileMetadataProvider(BaseFileMetadataProvider):
    """What readers use unless told otherwise: the filesystem's own listing."""
