"""Writes that go on where an earlier run of the same program was interrupted.

Rows have an id. When a task has written its files, the ids of their rows are noted; a later run leaves rows whose id is
noted out right after reading them, and deletes the files of tasks that had not noted theirs.
"""

from shoal.data.checkpoint.config import CheckpointBackend, CheckpointConfig
from shoal.data.checkpoint.filters import CheckpointFilter, NumpyArrayBasedCheckpointFilter
from shoal.data.checkpoint.manager import CheckpointManager, IdColumnCheckpointManager

__all__ = [
    "CheckpointBackend",
    "CheckpointConfig",
    "CheckpointFilter",
    "CheckpointManager",
    "IdColumnCheckpointManager",
    "NumpyArrayBasedCheckpointFilter",
]
