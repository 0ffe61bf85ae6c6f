"""Every error of Shoal.

ShoalError
├── ConfigError (ValueError)               a setting or option is wrong; says what is allowed
│   └── PluginError                        a plugin cannot be used
│       ├── PluginNotFound                 no plugin has that name
│       └── PluginBroken                   it does not import, construct or conform
├── NotInitialized (RuntimeError)          the session has ended, or the process was forked after init
├── TaskError                              user code raised; also an instance of the user's class
│   └── ExceptionNotSerializable           the user's exception itself could not travel
├── NotSerializable (TypeError)            a value cannot be pickled; says which part of it
├── TaskCancelled                          cancel() reached it
├── TaskUnschedulable                      no node can ever run the task
├── WorkerCrashed                          the process died under the task
├── OutOfMemory (MemoryError)              the memory monitor ended the process
├── ActorError
│   ├── ActorDied                          dead for good; `.cause` says why
│   ├── ActorUnavailable                   restarting, or cannot be reached now; trying again may help
│   ├── ActorUnschedulable                 no node can ever hold the actor
│   ├── StateNotSaved                      a durable actor's state cannot be saved
│   └── ActorNameTaken (ValueError)        the name is in use in that namespace
├── PendingCallsLimitExceeded              max_pending_calls calls wait already
├── ObjectError
│   ├── ObjectLost (LookupError)           every copy is gone and cannot be rebuilt
│   │   ├── OwnerDied                      the process that owned it died
│   │   ├── ObjectFreed                    free() was called on it
│   │   └── ReconstructionFailed           rebuilding it was tried and failed
│   └── ObjectStoreFull (MemoryError)      there is no room and nothing to spill
├── OutOfDisk (OSError)                    spilling found the disk full
├── GetTimeout (TimeoutError)              get() waited as long as it was told to
├── NodeDied                               the machine's daemon is gone
├── RuntimeEnvSetup                        the environment for a worker could not be made
├── PlacementGroupRemoved                  the work's placement group is gone
├── NodeProviderError                      machines cannot be launched, listed or ended
├── AuthenticationFailed (PermissionError) the other side does not know the session's token
└── SystemFailure                          a fault of Shoal's own or of the machine

Errors cross processes: their constructor arguments are their `args`, so pickling keeps them.
"""

from __future__ import annotations

import pickle
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from shoal.death import DeathCertificate


class ShoalError(Exception):
    """Base of all errors that Shoal itself raises."""

    def to_bytes(self) -> bytes:
        """Return the error as bytes, for `from_bytes`."""
        return pickle.dumps(self)

    @classmethod
    def from_bytes(cls, b: bytes) -> ShoalError:
        """Make an error again from what `to_bytes` returned, and from nothing else: this unpickles.

        Raises TypeError if it is no error of this class.
        """
        error = pickle.loads(b)
        if not isinstance(error, cls):
            raise TypeError(f"these bytes are {describe(error)}, not a {cls.__name__}")
        return error

    @property
    def cause(self) -> DeathCertificate | None:
        """The death certificate, when something died; else None."""
        return None


class ConfigError(ShoalError, ValueError):
    """A setting or an option is wrong. Correct it; nothing was started or changed."""


class PluginError(ConfigError):
    """A plugin that was asked for cannot be used."""


class PluginNotFound(PluginError):
    """No installed plugin has that name in that group."""


class PluginBroken(PluginError):
    """The plugin exists but does not import, does not construct, or does not fit its interface."""


class NotInitialized(ShoalError, RuntimeError):
    """There is no session in this process and none can be started for the caller."""


class TaskError(ShoalError):
    """User code raised in a task or an actor method.

    What `get` raises is an instance of this class *and* of the user's exception class, so both
    `except TaskError` and `except TheirError` catch it. The remote traceback is in `remote_traceback`.
    """

    KEYWORDS: ClassVar[tuple[str, ...]] = (
        "function_name",
        "traceback_str",
        "cause",
        "proctitle",
        "pid",
        "ip",
        "actor_repr",
        "actor_id",
        "original_stack_trace",
    )

    def __init__(
        self,
        function: str = "",
        remote_traceback: str = "",
        original: BaseException | None = None,
        process: int = 0,
        node: str = "",
        **known: Any,
    ) -> None:
        """The names in KEYWORDS are what the reference calls these arguments; others of them become attributes."""
        _keep(self, known)
        function = function or known.get("function_name", "")
        remote_traceback = (
            remote_traceback or known.get("traceback_str") or known.get("original_stack_trace", "")
        )
        original = original if original is not None else known.get("cause")
        process = process or known.get("pid", 0)
        super().__init__(function, remote_traceback, original, process, node)
        self.function = function
        self.remote_traceback = remote_traceback
        self.original = original
        self.process = process
        self.node = node

    def as_instanceof_cause(self) -> TaskError:
        """Return the error that is also an instance of the user's class: `get` raises it like that already."""
        return self

    def __str__(self) -> str:
        where = f" (pid={self.process}, node={self.node})" if self.process else ""
        return f"{self.function}() raised{where}\n{self.remote_traceback}"


class ExceptionNotSerializable(TaskError):
    """The user's exception could not be pickled; its text and traceback are kept."""


class NotSerializable(ShoalError, TypeError):
    """A value cannot be pickled. The message names the variable and the path to it."""


def _keep(error: ShoalError, known: dict[str, Any]) -> None:
    """Keep what the reference's constructors take as attributes of the error. Raises TypeError for other names."""
    allowed: tuple[str, ...] = error.KEYWORDS  # type: ignore[attr-defined]
    unknown = sorted(set(known) - set(allowed))
    if unknown:
        raise TypeError(
            f"{type(error).__name__}() has no argument {', '.join(unknown)}; "
            f"by name it takes {', '.join(allowed) or 'none'}"
        )
    cause = (
        known.pop("cause", None) if not hasattr(type(error), "as_instanceof_cause") else known.get("cause")
    )
    if isinstance(cause, BaseException):
        error.__cause__ = cause
    error.__dict__.update({name: value for name, value in known.items() if name != "cause"})


class _Died(ShoalError):
    """An error that carries a death certificate."""

    # What the reference's constructor of this error takes by name. Kept as attributes.
    KEYWORDS: ClassVar[tuple[str, ...]] = ("error_message", "error_msg")

    def __init__(self, message: str = "", certificate: DeathCertificate | None = None, **known: Any) -> None:
        _keep(self, known)
        message = message or known.get("error_message") or known.get("error_msg") or ""
        super().__init__(message, certificate)
        self.message = message
        self.certificate = certificate

    @property
    def cause(self) -> DeathCertificate | None:
        return self.certificate

    def __str__(self) -> str:
        if self.certificate is None:
            return self.message
        return f"{self.message}\n{self.certificate}" if self.message else str(self.certificate)


class TaskCancelled(_Died):
    """The task was cancelled before it finished. Its result will never exist."""

    KEYWORDS: ClassVar[tuple[str, ...]] = (
        "task_id",
        "error_message",
    )


class TaskUnschedulable(_Died):
    """No node, now or with the nodes there are, can run the task. The message says what is short."""


class WorkerCrashed(_Died):
    """The worker process died under the task, and its retries are used up."""


class OutOfMemory(_Died, MemoryError):
    """The memory monitor ended the worker to save the machine. `.cause.detail` lists who used memory."""


class ActorError(_Died):
    """A call to an actor could not be carried out."""

    KEYWORDS: ClassVar[tuple[str, ...]] = (
        "actor_id",
        "error_msg",
        "error_message",
        "actor_init_failed",
        "preempted",
        "cause",
    )
    BASE_ERROR_MSG: ClassVar[str] = "The actor died unexpectedly before finishing this task."

    @property
    def actor_init_failed(self) -> bool:
        """Whether the actor's constructor raised."""
        known = self.certificate is not None and self.certificate.cause.name == "INIT_FAILED"
        return known or bool(self.__dict__.get("actor_init_failed"))

    @property
    def preempted(self) -> bool:
        """Whether the actor died because its node went away."""
        known = self.certificate is not None and self.certificate.cause.name == "NODE_DIED"
        return known or bool(self.__dict__.get("preempted"))


class ActorDied(ActorError):
    """The actor is dead and will not come back; `.cause` says why. Create a new one."""

    @classmethod
    def from_task_error(cls, task_error: TaskError) -> ActorDied:
        """Return the error for an actor whose constructor raised `task_error`."""
        error = cls(f"the actor died because its constructor raised\n{task_error}", actor_init_failed=True)
        error.__cause__ = task_error
        return error


class ActorUnavailable(ActorError):
    """The actor is restarting or cannot be reached. The call may have run; trying again may help."""


class ActorUnschedulable(ActorError):
    """No node can ever hold the actor. The message says what is short."""


class StateNotSaved(ActorError):
    """The state of a durable actor cannot be saved; the message says why. A call that raises this was not applied."""


class ActorNameTaken(ActorError, ValueError):
    """Another living actor has that name in that namespace. Use get_if_exists=True to share it."""


class PendingCallsLimitExceeded(ShoalError):
    """As many calls as max_pending_calls allows wait for the actor already. Wait for some, then call again."""


class ObjectError(_Died):
    """An object cannot be had."""


class ObjectLost(ObjectError, LookupError):
    """Every copy is gone and lineage cannot rebuild it. Calling get() again will not help."""

    KEYWORDS: ClassVar[tuple[str, ...]] = (
        "object_ref_hex",
        "owner_address",
        "call_site",
    )


class OwnerDied(ObjectLost):
    """The process that owned the object died, and with it the knowledge of where the object is."""


class ObjectFreed(ObjectLost):
    """free() was called on the object. Do not keep references to objects that you free."""


class ReconstructionFailed(ObjectLost):
    """The task that makes the object was run again and failed, or may not be run again."""

    REASON_MESSAGES: ClassVar[dict[str, str]] = {
        "PUT": "put() made it, and no task can make it again",
        "RETRIES_DISABLED": "its task has max_retries=0",
        "MAX_ATTEMPTS_EXCEEDED": "its task was run again as often as max_retries allows",
        "LINEAGE_EVICTED": "how it was made is no longer known",
        "BORROWED": "another process owns it, and that did not make it again",
        "TASK_CANCELLED": "its task was cancelled",
    }

    KEYWORDS: ClassVar[tuple[str, ...]] = (
        "object_ref_hex",
        "reason",
        "reason_message",
        "owner_address",
        "call_site",
    )


class ObjectStoreFull(ObjectError, MemoryError):
    """The object does not fit: larger than the store, or the rest is in use and cannot be spilled."""


class OutOfDisk(ShoalError, OSError):
    """Spilling found the disk full. Nothing that was stored is lost; free space and try again."""


class GetTimeout(ShoalError, TimeoutError):
    """get() waited as long as `timeout` allowed. The work goes on; get() may be called again."""


class NodeDied(_Died):
    """The daemon of a machine is gone, and with it the workers and objects there."""


class RuntimeEnvSetup(_Died):
    """The environment that the work asked for could not be made. The message says which step failed."""


class PlacementGroupRemoved(_Died):
    """The placement group that the work belongs to was removed."""


class NodeProviderError(ShoalError):
    """A node provider could not do what it was asked for. If it is `permanent`, trying again changes nothing."""

    def __init__(self, provider: str = "", doing: str = "", why: str = "", permanent: bool = False) -> None:
        super().__init__(provider, doing, why, permanent)
        self.provider = provider
        self.doing = doing
        self.why = why
        self.permanent = permanent

    def __str__(self) -> str:
        return f"the node provider {self.provider!r} cannot {self.doing}: {self.why}"


class AuthenticationFailed(ShoalError, PermissionError):
    """The other side could not prove that it knows the session's token."""


class SystemFailure(_Died):
    """A fault of Shoal's own or of the machine, not of the program."""

    KEYWORDS: ClassVar[tuple[str, ...]] = (
        "client_exc",
        "traceback_str",
    )


class ActorExit(BaseException):
    """Raised by exit_actor() inside an actor to end it; never seen by a caller."""


def describe(value: Any, limit: int = 80) -> str:
    """Return `repr(value)` cut to `limit` characters, for error messages; never raises."""
    try:
        text = repr(value)
    except Exception as error:  # a stranger's __repr__ may raise anything
        text = f"<{type(value).__name__} whose repr raised {type(error).__name__}>"
    return text if len(text) <= limit else text[: limit - 1] + "…"
