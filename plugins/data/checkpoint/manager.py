"""The folder of a checkpoint: which ids are written, and which tasks have not said so."""

from __future__ import annotations

import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pyarrow as pa

import shoal
from shoal.data.checkpoint.config import CheckpointBackend, CheckpointConfig
from shoal.data.checkpoint.filters import as_array
from shoal.data.checkpoint.interfaces import InvalidCheckpointingConfig
from shoal.data.sinks.files import renames
from shoal.data.sources.paths import to_filesystem

if TYPE_CHECKING:
    from shoal.data.context import DataContext

_DONE = ".ids.parquet"
_BEGUN = ".begun"


class Folder:
    """The files of a checkpoint: `TASK.begun` of tasks that began to write, `TASK.ids.parquet` of those that have."""

    def __init__(self, config: CheckpointConfig) -> None:
        assert config.checkpoint_path is not None
        self._filesystem, self._path = to_filesystem(config.checkpoint_path, config.override_filesystem)
        self._config = config
        backend = config.override_backend
        if backend is None:
            in_files = renames(self._filesystem)
            backend = CheckpointBackend.FILE_STORAGE if in_files else CheckpointBackend.CLOUD_OBJECT_STORAGE
        self._renames = backend is CheckpointBackend.FILE_STORAGE

    def make(self) -> None:
        """Make the folder."""
        self._filesystem.create_dir(self._path, recursive=True)

    def begin(self, task: str) -> None:
        """Note that a task begins to write: its files count for nothing until `finish`."""
        with self._filesystem.open_output_stream(self._of(task + _BEGUN)) as stream:
            stream.write(b"")

    def finish(self, task: str, ids: Any) -> None:
        """Note the ids of the rows that a task has written."""
        import pyarrow.parquet as pq

        path = self._of(task + _DONE)
        first = self._of(f".{uuid.uuid4().hex[:8]}_{task}") if self._renames else path
        with self._filesystem.open_output_stream(first) as stream:
            pq.write_table(pa.table({self._config.id_column: ids}), stream)
        if self._renames:
            self._filesystem.move(first, path)
        self._filesystem.delete_file(self._of(task + _BEGUN))

    def tasks(self) -> tuple[list[str], list[str]]:
        """Return the tasks that have noted their ids, and those that have only begun."""
        from pyarrow import fs

        found = self._filesystem.get_file_info(fs.FileSelector(self._path, allow_not_found=True))
        names = [info.base_name for info in found if info.type == fs.FileType.File]
        done = sorted(name.removesuffix(_DONE) for name in names if name.endswith(_DONE))
        begun = {name.removesuffix(_BEGUN) for name in names if name.endswith(_BEGUN)}
        return done, sorted(begun.difference(done))

    def ids(self) -> Any:
        """Return all ids that are noted, as an array; None without any."""
        import pyarrow.parquet as pq

        paths: Iterable[str] = [self._of(task + _DONE) for task in self.tasks()[0]]
        chosen = self._config.checkpoint_path_partition_filter
        if chosen is not None:
            paths = chosen(list(paths))

        def read(path: str) -> Any:
            table = pq.read_table(path, filesystem=self._filesystem)
            if self._config.id_column not in table.column_names:
                raise InvalidCheckpointingConfig(
                    f"{path} has ids of {', '.join(table.column_names)}, not of {self._config.id_column!r}; give each "
                    "pipeline a checkpoint_path of its own"
                )
            return table.column(self._config.id_column)

        with ThreadPoolExecutor(self._config.write_num_threads) as pool:
            columns = list(pool.map(read, paths))
        return as_array(columns) if columns else None

    def forget(self, task: str) -> None:
        """Forget a task that had begun."""
        self._filesystem.delete_file(self._of(task + _BEGUN))

    def delete(self) -> None:
        """Delete the folder."""
        self._filesystem.delete_dir(self._path)

    def _of(self, name: str) -> str:
        return f"{self._path.rstrip('/')}/{name}"


class CheckpointManager(ABC):
    """Says at the beginning of a write what earlier runs have written. Made by the program that writes."""

    def __init__(self, checkpoint_config: CheckpointConfig, data_context: DataContext | None = None) -> None:
        self.config = checkpoint_config
        self.context = data_context

    @abstractmethod
    def load_checkpoint(
        self, data_file_dir: str | None = None, data_file_filesystem: Any = None
    ) -> Any | None:
        """Return a reference to what the filter needs to know; None if nothing is written yet.

        Parameters: `data_file_dir` is the folder that is written to, on `data_file_filesystem`.
        """


class IdColumnCheckpointManager(CheckpointManager):
    """Puts the ids of all rows that are written into the object store, once for all tasks.

    Example: `IdColumnCheckpointManager(config).load_checkpoint()`
    """

    def load_checkpoint(
        self, data_file_dir: str | None = None, data_file_filesystem: Any = None
    ) -> Any | None:
        """Return a reference to the array of ids. Raises InvalidCheckpointingConfig for ids of another column."""
        ids = Folder(self.config).ids()
        return None if ids is None else shoal.put(ids)


def clean(folder: Folder, delete: Callable[[str], None]) -> None:
    """Delete what tasks wrote that had begun and did not finish.

    Example: `clean(Folder(config), lambda task: sink.of_task(task).delete_own())`
    """
    for task in folder.tasks()[1]:
        delete(task)
        folder.forget(task)
