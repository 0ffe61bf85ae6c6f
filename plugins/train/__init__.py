"""Distributed training: a function that many workers run, led from its checkpoints over whatever fails.

Written on the public API alone. Names are imported when they are first used; frameworks when something needs them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.train import collective, torch
    from shoal.train.backend import Backend, BackendConfig
    from shoal.train.callbacks import RunContext, UserCallback
    from shoal.train.calls import (
        get_all_reported_checkpoints,
        get_checkpoint,
        get_context,
        get_dataset_shard,
        get_preemption_info,
        report,
    )
    from shoal.train.checkpoint import Checkpoint
    from shoal.train.config import (
        CheckpointConfig,
        FailureConfig,
        LoggingConfig,
        RunConfig,
        ScalingConfig,
        SyncConfig,
    )
    from shoal.train.context import TrainContext
    from shoal.train.data import TRAIN_DATASET_KEY, DataConfig
    from shoal.train.errors import (
        ControllerError,
        NCCLHangError,
        PreemptionError,
        PreemptionInfo,
        SessionMisuseError,
        TrainingFailedError,
        TrainingHangError,
        UnequalReportsError,
        WorkerGroupError,
    )
    from shoal.train.result import Result
    from shoal.train.trainer import DataParallelTrainer
    from shoal.train.uploads import CheckpointConsistencyMode, CheckpointUploadMode, ReportedCheckpointStatus
    from shoal.train.validation import (
        ReportedCheckpoint,
        ValidationConfig,
        ValidationFn,
        ValidationTaskConfig,
    )

__all__ = [
    "TRAIN_DATASET_KEY",
    "Backend",
    "BackendConfig",
    "Checkpoint",
    "CheckpointConfig",
    "CheckpointConsistencyMode",
    "CheckpointUploadMode",
    "ControllerError",
    "DataConfig",
    "DataParallelTrainer",
    "FailureConfig",
    "LoggingConfig",
    "NCCLHangError",
    "PreemptionError",
    "PreemptionInfo",
    "ReportedCheckpoint",
    "ReportedCheckpointStatus",
    "Result",
    "RunConfig",
    "RunContext",
    "ScalingConfig",
    "SessionMisuseError",
    "SyncConfig",
    "TrainContext",
    "TrainingFailedError",
    "TrainingHangError",
    "UnequalReportsError",
    "UserCallback",
    "ValidationConfig",
    "ValidationFn",
    "ValidationTaskConfig",
    "WorkerGroupError",
    "collective",
    "get_all_reported_checkpoints",
    "get_checkpoint",
    "get_context",
    "get_dataset_shard",
    "get_preemption_info",
    "report",
    "torch",
]

_HOMES = {
    "shoal.train.backend": (
        "Backend",
        "BackendConfig",
    ),
    "shoal.train.callbacks": (
        "RunContext",
        "UserCallback",
    ),
    "shoal.train.calls": (
        "get_all_reported_checkpoints",
        "get_checkpoint",
        "get_context",
        "get_dataset_shard",
        "get_preemption_info",
        "report",
    ),
    "shoal.train.checkpoint": ("Checkpoint",),
    "shoal.train.config": (
        "CheckpointConfig",
        "FailureConfig",
        "LoggingConfig",
        "RunConfig",
        "ScalingConfig",
        "SyncConfig",
    ),
    "shoal.train.context": ("TrainContext",),
    "shoal.train.data": (
        "TRAIN_DATASET_KEY",
        "DataConfig",
    ),
    "shoal.train.errors": (
        "ControllerError",
        "NCCLHangError",
        "PreemptionError",
        "PreemptionInfo",
        "SessionMisuseError",
        "TrainingFailedError",
        "TrainingHangError",
        "UnequalReportsError",
        "WorkerGroupError",
    ),
    "shoal.train.result": ("Result",),
    "shoal.train.trainer": ("DataParallelTrainer",),
    "shoal.train.uploads": (
        "CheckpointConsistencyMode",
        "CheckpointUploadMode",
        "ReportedCheckpointStatus",
    ),
    "shoal.train.validation": (
        "ReportedCheckpoint",
        "ValidationConfig",
        "ValidationFn",
        "ValidationTaskConfig",
    ),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}
_MODULES = frozenset({"collective", "torch"})


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(f"{__name__}.{name}")
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(home), name)
    return value
