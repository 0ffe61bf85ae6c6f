"""The settings of checkpoints."""

from __future__ import annotations

import enum
import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import attrs

from shoal.data.checkpoint.interfaces import InvalidCheckpointingConfig
from shoal.data.checks import check_count
from shoal.errors import describe

if TYPE_CHECKING:
    from shoal.data.checkpoint.filters import CheckpointFilter
    from shoal.data.checkpoint.manager import CheckpointManager


class CheckpointBackend(enum.Enum):
    """How a file of ids becomes visible: renamed when it is whole, or written in one request."""

    CLOUD_OBJECT_STORAGE = "CLOUD_OBJECT_STORAGE"
    FILE_STORAGE = "FILE_STORAGE"


@attrs.define(kw_only=True)
class CheckpointConfig:
    """Let writes of files go on where an interrupted run of the same program stopped.

    The pipeline may read, map (rows, batches, filters, expressions) and write files. What is written has `id_column`,
    whose values tell the rows that are read apart; rows of one id come out of each step together.

    Parameters: `checkpoint_path` is a folder of this pipeline's own, on any filesystem (None: the folder
    `shoal_data_checkpoint` of the bucket in SHOAL_DATA_CHECKPOINT_PATH_BUCKET). `delete_checkpoint_on_success` deletes
    it when everything is written; without, a later run writes only what is new. `override_filesystem` is the folder's
    filesystem, `override_backend` how its files become visible, where the path does not tell.
    `write_num_threads` is how many files of ids are read or deleted at a time. `checkpoint_path_partition_filter`
    chooses among the files' paths. `checkpoint_filter_cls` and `checkpoint_manager_cls` are the classes that leave
    rows out and that load ids (None: ours).
    Raises InvalidCheckpointingConfig for an id that is no name and for no path.

    Example: `DataContext.get_current().checkpoint_config = CheckpointConfig(id_column="id", checkpoint_path="done")`
    """

    DEFAULT_CHECKPOINT_PATH_BUCKET_ENV_VAR: ClassVar[str] = "SHOAL_DATA_CHECKPOINT_PATH_BUCKET"
    DEFAULT_CHECKPOINT_PATH_DIR: ClassVar[str] = "shoal_data_checkpoint"

    id_column: str
    checkpoint_path: str | None = None
    delete_checkpoint_on_success: bool = True
    override_filesystem: Any = None
    override_backend: CheckpointBackend | None = None
    write_num_threads: int = 8
    checkpoint_path_partition_filter: Callable[[Sequence[str]], Sequence[str]] | None = None
    checkpoint_filter_cls: type[CheckpointFilter] | None = None
    checkpoint_manager_cls: type[CheckpointManager] | None = None

    def __attrs_post_init__(self) -> None:
        given: Any = self.id_column
        if not isinstance(given, str) or not given:
            raise InvalidCheckpointingConfig(f"id_column must be the name of a column, not {describe(given)}")
        check_count("write_num_threads", self.write_num_threads, optional=False)
        if self.checkpoint_path is None:
            bucket = os.environ.get(self.DEFAULT_CHECKPOINT_PATH_BUCKET_ENV_VAR)
            if not bucket:
                raise InvalidCheckpointingConfig(
                    f"a checkpoint_path is needed, or a bucket in {self.DEFAULT_CHECKPOINT_PATH_BUCKET_ENV_VAR}"
                )
            self.checkpoint_path = f"{bucket.rstrip('/')}/{self.DEFAULT_CHECKPOINT_PATH_DIR}"
        if self.override_backend is not None:
            self.override_backend = CheckpointBackend(self.override_backend)
