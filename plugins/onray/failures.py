"""Errors between the two systems: ours travel inside one exception of Ray's, Ray's verdicts become ours."""

from __future__ import annotations

from typing import Any

from shoal.death import Cause, DeathCertificate
from shoal.errors import (
    ActorDied,
    ActorUnavailable,
    ActorUnschedulable,
    GetTimeout,
    NodeDied,
    ObjectFreed,
    ObjectLost,
    ObjectStoreFull,
    OutOfDisk,
    OutOfMemory,
    OwnerDied,
    PendingCallsLimitExceeded,
    PlacementGroupRemoved,
    ReconstructionFailed,
    RuntimeEnvSetup,
    SystemFailure,
    TaskCancelled,
    TaskError,
    TaskUnschedulable,
    WorkerCrashed,
)
from shoal.serial import dump_error, load_error


class RemoteFailure(Exception):
    """What our code in a Ray worker raises for what the user's code raised. `data` is what dump_error made of it."""

    def __init__(self, text: str, data: bytes) -> None:
        super().__init__(text, data)
        self.text = text
        self.data = data

    def __str__(self) -> str:
        return self.text


class RetryableFailure(RemoteFailure):
    """One that the call's options ask to try again: Ray is told to retry exactly this class."""


def failure(
    error: BaseException, name: str, retry: bool | tuple[type[BaseException], ...], node: str
) -> Exception:
    """Return the exception that carries the user's through Ray; call it where that was caught."""
    import os

    from shoal.serial.remote_error import format_remote

    again = (retry and isinstance(error, Exception)) if isinstance(retry, bool) else isinstance(error, retry)
    kind = RetryableFailure if again else RemoteFailure
    return kind(format_remote(error), dump_error(error, name, os.getpid(), node))


# By name, since Ray's module is not imported here; the first class in an error's ancestry that has a line counts.
_VERDICTS: dict[str, tuple[type[Any], Cause]] = {
    "TaskCancelledError": (TaskCancelled, Cause.KILLED_BY_USER),
    "AsyncioActorExit": (ActorDied, Cause.INTENDED_EXIT),
    "ActorUnavailableError": (ActorUnavailable, Cause.LOST),
    "ActorUnschedulableError": (ActorUnschedulable, Cause.UNSCHEDULABLE),
    "ActorPlacementGroupRemoved": (PlacementGroupRemoved, Cause.GROUP_REMOVED),
    "TaskPlacementGroupRemoved": (PlacementGroupRemoved, Cause.GROUP_REMOVED),
    "TaskUnschedulableError": (TaskUnschedulable, Cause.UNSCHEDULABLE),
    "RuntimeEnvSetupError": (RuntimeEnvSetup, Cause.ENVIRONMENT_FAILED),
    "RayActorError": (ActorDied, Cause.LOST),
    "WorkerCrashedError": (WorkerCrashed, Cause.EXITED),
    "OutOfMemoryError": (OutOfMemory, Cause.OUT_OF_MEMORY),
    "NodeDiedError": (NodeDied, Cause.NODE_DIED),
    "LocalRayletDiedError": (NodeDied, Cause.NODE_DIED),
    "ObjectFreedError": (ObjectFreed, Cause.KILLED_BY_USER),
    "OwnerDiedError": (OwnerDied, Cause.OWNER_DIED),
    "ObjectReconstructionFailedError": (ReconstructionFailed, Cause.LOST),
    "ObjectLostError": (ObjectLost, Cause.LOST),
    "ObjectStoreFullError": (ObjectStoreFull, Cause.LOST),
}

# Phrases with which Ray says why an actor is dead; it has no field for that.
_DEATHS = (
    ("ray.kill", Cause.KILLED_BY_USER),
    ("exit_actor", Cause.INTENDED_EXIT),
    ("intentional", Cause.INTENDED_EXIT),
    ("out of scope", Cause.OUT_OF_SCOPE),
    ("placement group", Cause.GROUP_REMOVED),
    ("node", Cause.NODE_DIED),
)


def translate(error: BaseException) -> BaseException:
    """Return our error for one that Ray raised; what is no error of Ray's comes back as it is. Never raises."""
    names = [kind.__name__ for kind in type(error).__mro__]
    if "RayError" not in names:
        return error
    if "GetTimeoutError" in names:
        return GetTimeout(str(error))
    if "PendingCallsLimitExceeded" in names:
        return PendingCallsLimitExceeded(str(error))
    if "OutOfDiskError" in names:
        return OutOfDisk(str(error))
    if "RayTaskError" in names:
        return _of_task(error)
    for name in names:
        if name in _VERDICTS:
            return _verdict(error, *_VERDICTS[name])
    return SystemFailure(f"Ray reports {type(error).__name__}: {error}")


def _of_task(error: BaseException) -> BaseException:
    """A dependent's error holds its argument's: the innermost is what happened."""
    inner: Any = error
    for _ in range(100):
        cause = getattr(inner, "cause", None)
        if isinstance(cause, RemoteFailure):
            return load_error(cause.data)
        if not isinstance(cause, BaseException):
            break
        inner = cause
    if "RayTaskError" in [kind.__name__ for kind in type(inner).__mro__]:
        return TaskError(getattr(error, "function_name", "task"), str(error), None, 0, "")
    return translate(inner)


def _verdict(error: Any, kind: type[Any], cause: Cause) -> BaseException:
    text = str(error)
    what = "actor" if "Actor" in kind.__name__ else "task"
    if kind is ActorDied:
        if getattr(error, "actor_init_failed", False):
            cause = Cause.INIT_FAILED
        else:
            cause = next((found for phrase, found in _DEATHS if phrase in text), cause)
    certificate = DeathCertificate(
        what=what, identity=str(getattr(error, "actor_id", None) or ""), cause=cause, detail=text
    )
    first = text.strip().splitlines()
    made: BaseException = kind(first[0] if first else type(error).__name__, certificate)
    return made
