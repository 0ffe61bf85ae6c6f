"""What training functions call."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import shoal
from shoal.errors import describe
from shoal.train.checkpoint import Checkpoint
from shoal.train.context import TrainContext
from shoal.train.errors import PreemptionInfo, SessionMisuseError
from shoal.train.session import check_metrics, no_vanishing, session_here, trial_here
from shoal.train.uploads import CheckpointConsistencyMode, CheckpointUploadMode, ReportedCheckpointStatus
from shoal.train.validation import ReportedCheckpoint, ValidationTaskConfig


def report(
    metrics: Mapping[str, Any],
    checkpoint: Checkpoint | None = None,
    checkpoint_dir_name: str | None = None,
    checkpoint_upload_mode: CheckpointUploadMode = CheckpointUploadMode.STAGED,
    delete_local_checkpoint_after_upload: bool | None = None,
    checkpoint_upload_fn: Callable[[Checkpoint, str], Checkpoint] | None = None,
    validation: bool | ValidationTaskConfig = False,
    profile: Any = None,
) -> None:
    """Report metrics, and with them a checkpoint. Every rank must call it, as often as the others; rank 0's metrics are
    the run's.

    Parameters: the folders that ranks give as `checkpoint` become one checkpoint; a rank without a part gives None.
    `checkpoint_dir_name` is the folder's name in the run's, the same on all ranks. `checkpoint_upload_mode` says when
    this returns; `delete_local_checkpoint_after_upload` removes the local folder then. `checkpoint_upload_fn` uploads
    instead: it is given the checkpoint and the folder's name in the run's, and returns the checkpoint there.
    `validation` has the trainer's `validation_config` validate the checkpoint. `profile` is a trace to keep in the
    run's folder `traces`, one file for each rank that gives one: a torch.profiler.profile that has ended, or a file's
    path; it is uploaded meanwhile.
    In a trial of shoal.tune that runs no trainer it is `tune.report`, with metrics and a checkpoint.
    Raises SessionMisuseError outside of a training function, TypeError, and FileNotFoundError for a folder that is not
    there.

    Example: `train.report({"loss": 0.1}, checkpoint=Checkpoint.from_directory(folder))`
    """
    trial = trial_here()
    if trial is not None:
        more = (
            checkpoint_dir_name,
            delete_local_checkpoint_after_upload,
            checkpoint_upload_fn,
            validation,
            profile,
        )
        if any(more) or checkpoint_upload_mode is not CheckpointUploadMode.STAGED:
            raise SessionMisuseError(
                "a trial's train.report() takes metrics and a checkpoint; its other parameters are a trainer's"
            )
        trial.report(metrics, checkpoint=checkpoint)
        return
    session = session_here("train.report()")
    check_metrics(metrics)
    if checkpoint is not None and not isinstance(checkpoint, Checkpoint):
        raise TypeError(
            f"checkpoint must be a Checkpoint, not {describe(checkpoint)}; Checkpoint.from_directory(path) makes one"
        )
    if not isinstance(checkpoint_upload_mode, CheckpointUploadMode):
        raise TypeError(
            f"checkpoint_upload_mode must be a CheckpointUploadMode, not {describe(checkpoint_upload_mode)}"
        )
    if checkpoint_dir_name is not None and (not checkpoint_dir_name or "/" in checkpoint_dir_name):
        raise ValueError(f"checkpoint_dir_name must be a folder's name, not {describe(checkpoint_dir_name)}")
    delete = delete_local_checkpoint_after_upload
    if delete is None:
        delete = checkpoint_upload_mode.default_delete_local_checkpoint_after_upload()
    with no_vanishing():
        session.report(
            metrics,
            checkpoint,
            checkpoint_dir_name,
            checkpoint_upload_mode,
            delete,
            checkpoint_upload_fn,
            validation or None,
        )
        if profile is not None:
            session.keep_trace(profile)


def get_context() -> TrainContext:
    """Return which rank of how many this is, in a trial of shoal.tune which trial.

    Raises SessionMisuseError outside of a training function.

    Example: `train.get_context().get_world_rank()`
    """
    trial = trial_here()
    if trial is not None:
        context: TrainContext = trial.get_context()  # has the same methods
        return context
    return TrainContext(session_here("train.get_context()"))


def get_checkpoint() -> Checkpoint | None:
    """Return the checkpoint to go on from: the last of this run, or the one that it was given; None at the beginning.

    Raises SessionMisuseError outside of a training function.
    """
    trial = trial_here()
    if trial is not None:
        return trial.get_checkpoint()
    session = session_here("train.get_checkpoint()")
    kept = session.known[-1] if session.known else session.orders.checkpoint
    return session.orders.resume if kept is None else session.checkpoint_of(kept)


def get_all_reported_checkpoints(
    consistency_mode: CheckpointConsistencyMode = CheckpointConsistencyMode.VALIDATED,
    timeout_s: float | None = None,
) -> list[ReportedCheckpoint]:
    """Return the run's checkpoints that are kept, oldest first, with their metrics.

    Parameters: with `consistency_mode` VALIDATED those that are to be validated are waited for, at most `timeout_s`
    seconds (None: as long as it takes).
    Raises SessionMisuseError outside of a training function.
    """
    session = session_here("train.get_all_reported_checkpoints()")
    if consistency_mode is CheckpointConsistencyMode.VALIDATED:
        session.wait_validated(timeout_s)
    return [
        ReportedCheckpoint(
            session.checkpoint_of(kept),
            dict(kept.metrics),
            ReportedCheckpointStatus(session.statuses.get(kept.index, "committed")),
        )
        for kept in session.known
        if not kept.parts  # those that are in memory only are to go on from
    ]


def get_dataset_shard(dataset_name: str | None = None) -> Any:
    """Return this rank's part of a dataset that the trainer was given, to be looped over once an epoch.

    Parameters: `dataset_name` is "train" if None.
    Raises KeyError naming the datasets there are, SessionMisuseError outside of a training function.

    Example: `for batch in train.get_dataset_shard("train").iter_torch_batches(batch_size=32): ...`
    """
    session = session_here("train.get_dataset_shard()")
    name = "train" if dataset_name is None else dataset_name
    if name not in session.shards:
        there = ", ".join(sorted(session.shards)) or "none: give the trainer datasets={...}"
        raise KeyError(f"the trainer was given no dataset {name!r}; there are: {there}")
    return session.shards[name]


def get_preemption_info() -> PreemptionInfo | None:
    """Return which of the run's nodes are about to go away, None if none is. It is time for a checkpoint then.

    Raises SessionMisuseError outside of a training function.
    """
    session = session_here("train.get_preemption_info()")
    leaving = {node["NodeID"]: node for node in shoal.nodes() if node.get("Draining")}
    ranks = {node: list(ranks) for node, ranks in session.place.nodes.items() if node in leaving}
    return PreemptionInfo(None, ranks) if ranks else None
