"""What verbs and readers take besides their own parameters: options of tasks, and of all readers of files."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict


class TaskKeywords(TypedDict, total=False):
    """Options of the tasks or actors that run a step; the meanings are those of `shoal.remote`.

    `ray_remote_args_fn` is called before each task or actor is submitted, and returns options that add to the others.
    """

    num_cpus: float | None
    num_gpus: float | None
    memory: float | None
    resources: Mapping[str, float] | None
    accelerator_type: str | None
    runtime_env: Mapping[str, Any] | None
    label_selector: Mapping[str, str] | None
    fallback_strategy: Sequence[Mapping[str, Any]] | None
    scheduling_strategy: Any
    max_calls: int | None
    max_retries: int
    retry_exceptions: bool | list[type[BaseException]]
    ray_remote_args_fn: Callable[[], Mapping[str, Any]] | None


class SourceKeywords(TaskKeywords, total=False):
    """What all readers take.

    `override_num_blocks` (or `parallelism`) is into about how many pieces the source is cut; else that follows its size
    and the CPUs. `concurrency` is how many are read at a time at most. `ray_remote_args` are more options of tasks.
    """

    parallelism: int
    override_num_blocks: int | None
    concurrency: int | None
    ray_remote_args: Mapping[str, Any] | None


class FileKeywords(SourceKeywords, total=False):
    """What all readers of files take.

    `filesystem` is one of pyarrow.fs or fsspec. `include_paths` adds the column "path". `ignore_missing_paths` leaves
    out what is not there. `file_extensions` are the endings of files in folders. `partitioning` is "hive" (folders
    `name=value` become columns of text), a `Partitioning`, or None. `partition_filter` is given each file's partition,
    a mapping of names to values, and says whether to read it; or it is a PathPartitionFilter. `shuffle` is "files" or
    a FileShuffleConfig. `arrow_open_stream_args` go to the filesystem's `open_input_stream`: `{"compression": "gzip"}`
    where a file's name does not say it. Parquet and ORC files are opened otherwise, and take none.
    """

    filesystem: Any
    include_paths: bool
    ignore_missing_paths: bool
    file_extensions: Sequence[str] | None
    partitioning: Any
    partition_filter: Callable[[Mapping[str, str]], bool] | None
    shuffle: Any
    arrow_open_stream_args: Mapping[str, Any] | None


class FileSinkKeywords(TypedDict, total=False):
    """What all writers of files take.

    `filesystem` is one of pyarrow.fs or fsspec. `mode` is what is done where the folder holds files: "append",
    "overwrite", "ignore" or "error". `try_create_dir` makes the folder. `min_rows_per_file` is how many rows a file has
    at least while there are more (also by its old name, `num_rows_per_file`). `concurrency` is how many files are
    written at a time at most, `ray_remote_args` are options of tasks. `arrow_open_stream_args` go to the
    filesystem's `open_output_stream`. `filename_provider(task, number)` names the file of a task and its number, or
    it is a FilenameProvider; the write's own id is put before names without it.
    """

    filesystem: Any
    mode: Any
    try_create_dir: bool
    min_rows_per_file: int | None
    num_rows_per_file: int | None
    concurrency: int | None
    ray_remote_args: Mapping[str, Any] | None
    arrow_open_stream_args: Mapping[str, Any] | None
    filename_provider: Any
