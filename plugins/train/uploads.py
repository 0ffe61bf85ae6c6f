"""How checkpoints get to the storage, and when one counts."""

from __future__ import annotations

from enum import Enum


class CheckpointUploadMode(Enum):
    """When `report` returns, and what becomes of the folder.

    STAGED, which is what happens if nothing is said, returns once nothing needs the folder any more: a storage that is
    no local folder gets a copy of it, behind the training function's back. ASYNC copies nothing: leave the folder until
    the checkpoint is there. SYNC returns when the checkpoint is in the storage. NO_UPLOAD says that it is there.

    Example: `train.report({}, checkpoint, checkpoint_upload_mode=CheckpointUploadMode.ASYNC)`
    """

    STAGED = "staged"
    ASYNC = "async"
    SYNC = "sync"
    NO_UPLOAD = "no_upload"

    def default_delete_local_checkpoint_after_upload(self) -> bool:
        """Whether the folder is deleted after the upload if nothing is said: with ASYNC, where nobody else could."""
        return self is CheckpointUploadMode.ASYNC


class CheckpointConsistencyMode(Enum):
    """Which checkpoints `get_all_reported_checkpoints` waits for: those in the storage, or those that are validated."""

    COMMITTED = "committed"
    VALIDATED = "validated"


class ReportedCheckpointStatus(Enum):
    """How far a checkpoint is."""

    COMMITTED = "committed"
    PENDING_VALIDATION = "pending_validation"
    VALIDATED = "validated"
    VALIDATION_FAILED = "validation_failed"
    VALIDATION_TIMEOUT = "validation_timeout"
