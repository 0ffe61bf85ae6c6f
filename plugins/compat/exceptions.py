"""The reference's names for errors: where Shoal raises the error, our class itself, so that `except` finds it."""

from __future__ import annotations

from typing import Any

from shoal.dag import CapacityExceeded as RayCgraphCapacityExceeded
from shoal.dag import ChannelError as RayChannelError
from shoal.dag import ChannelTimeout as RayChannelTimeoutError
from shoal.errors import ActorDied as ActorDiedError
from shoal.errors import ActorError as RayActorError
from shoal.errors import ActorNameTaken as ActorAlreadyExistsError
from shoal.errors import ActorUnavailable as ActorUnavailableError
from shoal.errors import ActorUnschedulable as ActorUnschedulableError
from shoal.errors import AuthenticationFailed as AuthenticationError
from shoal.errors import ExceptionNotSerializable as UnserializableException
from shoal.errors import GetTimeout as GetTimeoutError
from shoal.errors import NodeDied as NodeDiedError
from shoal.errors import NotInitialized as ActorHandleNotFoundError
from shoal.errors import ObjectFreed as ObjectFreedError
from shoal.errors import ObjectLost as ObjectLostError
from shoal.errors import ObjectStoreFull as ObjectStoreFullError
from shoal.errors import OutOfDisk as OutOfDiskError
from shoal.errors import OutOfMemory as OutOfMemoryError
from shoal.errors import OwnerDied as OwnerDiedError
from shoal.errors import PendingCallsLimitExceeded
from shoal.errors import PlacementGroupRemoved as TaskPlacementGroupRemoved
from shoal.errors import ReconstructionFailed as ObjectReconstructionFailedError
from shoal.errors import RuntimeEnvSetup as RuntimeEnvSetupError
from shoal.errors import ShoalError as RayError
from shoal.errors import SystemFailure as RaySystemError
from shoal.errors import TaskCancelled as TaskCancelledError
from shoal.errors import TaskError as RayTaskError
from shoal.errors import TaskUnschedulable as TaskUnschedulableError
from shoal.errors import WorkerCrashed as WorkerCrashedError

# One removal ends tasks and actors alike.
ActorPlacementGroupRemoved = TaskPlacementGroupRemoved
# The daemon of this machine is its node.
LocalRayletDiedError = NodeDiedError
# What user code raises is a TaskError in every process.
UserCodeException = RayTaskError

__all__ = [
    "ActorAlreadyExistsError",
    "ActorDiedError",
    "ActorHandleNotFoundError",
    "ActorPlacementGroupRemoved",
    "ActorUnavailableError",
    "ActorUnschedulableError",
    "AsyncioActorExit",
    "AuthenticationError",
    "CrossLanguageError",
    "GetTimeoutError",
    "LocalRayletDiedError",
    "NodeDiedError",
    "ObjectFetchTimedOutError",
    "ObjectFreedError",
    "ObjectLostError",
    "ObjectReconstructionFailedError",
    "ObjectRefStreamEndOfStreamError",
    "ObjectStoreFullError",
    "OufOfBandObjectRefSerializationException",
    "OutOfDiskError",
    "OutOfMemoryError",
    "OwnerDiedError",
    "PendingCallsLimitExceeded",
    "PlasmaObjectNotAvailable",
    "RayActorError",
    "RayCgraphCapacityExceeded",
    "RayChannelError",
    "RayChannelTimeoutError",
    "RayDirectTransportError",
    "RayError",
    "RaySystemError",
    "RayTaskError",
    "ReferenceCountingAssertionError",
    "RpcError",
    "RuntimeEnvSetupError",
    "StreamingGeneratorReplayInconsistentError",
    "TaskCancelledError",
    "TaskPlacementGroupRemoved",
    "TaskUnschedulableError",
    "UnserializableException",
    "UserCodeException",
    "WorkerCrashedError",
]


# Errors of the reference's own inside, which Shoal never raises: programs that name them in `except` still run.


class AsyncioActorExit(RayError):
    """An async actor is to end."""


class CrossLanguageError(RayError):
    """A task in another language raised; Shoal has only Python."""

    def __init__(self, ray_exception: Any = None) -> None:
        super().__init__(ray_exception)


class ObjectFetchTimedOutError(ObjectLostError):
    """A copy of the object could not be fetched in time."""


class ObjectRefStreamEndOfStreamError(RayError):
    """A stream has no more references; here that is StopIteration."""


class OufOfBandObjectRefSerializationException(RayError, TypeError):
    """A reference was pickled by something else than Shoal; here that is a TypeError."""


class PlasmaObjectNotAvailable(RayError):
    """An object was not in the local store within the time given."""


class RayDirectTransportError(RaySystemError):
    """A tensor could not be sent from device to device."""


class ReferenceCountingAssertionError(ObjectLostError, AssertionError):
    """The counts of references disagree."""


class RpcError(RayError):
    """A call between processes of the system failed."""

    def __init__(self, message: str = "", rpc_code: int | None = None) -> None:
        super().__init__(message, rpc_code)
        self.rpc_code = rpc_code


class StreamingGeneratorReplayInconsistentError(RaySystemError):
    """A generator yielded something else when it ran again."""
