"""Engine: the narrow waist. The public API, references and handles know nothing of what runs below it."""

from __future__ import annotations

import concurrent.futures
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, runtime_checkable

from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator
from shoal.spec.calls import ActorInfo, ActorTemplate, ExecutionContext, MethodTemplate, TaskTemplate
from shoal.spec.view import ClusterView, Explanation, GroupSpec

if TYPE_CHECKING:
    import asyncio

    from shoal.config import Config

CallResult = ObjectRef[Any] | list[ObjectRef[Any]] | ObjectRefGenerator[Any] | None


class Engine(ABC):
    """Executes tasks, actors and objects. Every method may be called from any thread.

    `capabilities` names what tests may expect beyond the least: "processes" (work runs in other processes),
    "parallel" (two tasks can run at once), "async_actors", "kill_process", "placement_groups", "logs", "runtime_env",
    "streaming", "durable_actors", "device_objects" (it is a SupportsDeviceObjects), "ordered_async" (calls of async
    actors begin in order), "exit_signals" (errors of dead processes name the signal), "stream_errors" (`completed` of a
    stream has its error), "clean_close" (`close` leaves no thread and no descriptor in this process). What is absent is
    skipped by the conformance suite, saying so.

    The result of a call follows `num_returns`: 0 gives None, 1 one `ObjectRef`, more a list, "dynamic" one `ObjectRef`
    whose value is a `DynamicObjectRefGenerator`, "streaming" an `ObjectRefGenerator`.

    Arguments: an `ObjectRef` that is itself an argument arrives as its value, one inside a container stays a reference.
    Values are isolated: what a task gets is never the caller's own object, and changing it changes nothing elsewhere.
    """

    name: ClassVar[str]
    capabilities: ClassVar[frozenset[str]] = frozenset()
    config: Config  # the settings of the session

    # Life

    @classmethod
    @abstractmethod
    def start(cls, config: Config) -> Engine:
        """Start, or join, what executes the program, and return when work can be submitted.

        Raises ConfigError for settings that this engine cannot serve and SystemFailure when it does not come up;
        either way nothing is left running.
        """

    @abstractmethod
    def close(self) -> None:
        """End everything that `start` began. Waiting calls raise; a second close does nothing."""

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether `close` was called or the engine has died."""

    # Work

    @abstractmethod
    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallResult:
        """Run a function once, somewhere. Never waits.

        Raises NotSerializable for an argument or function that cannot be pickled, and TaskUnschedulable at once if
        the configuration says infeasible="error" and no node could ever run it.
        """

    @abstractmethod
    def create_actor(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        """Create an actor. Waits only to learn whether a `name` is free.

        Returns the actor and its lifetime reference: the actor ends, after the calls that it already has, when the
        last copy of that reference goes. None for a detached actor, and for one found by get_if_exists.
        Raises ActorNameTaken.
        """

    @abstractmethod
    def call_actor(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        """Call a method. Calls from one caller to one actor start in the order they were made.

        Raises PendingCallsLimitExceeded. A dead actor makes the result ActorDied, it does not raise here.
        """

    @abstractmethod
    def cancel(self, ref: ObjectRef[Any] | ObjectRefGenerator[Any], force: bool, recursive: bool) -> None:
        """Cancel the task that makes `ref`. Queued: it never starts. Running: KeyboardInterrupt is raised in it, or
        asyncio.CancelledError in an async method; with `force` its process is ended. Done: nothing. The result
        becomes TaskCancelled unless the task finished first. `recursive` cancels what the task submitted as well.
        Raises ValueError for `force` on an actor's call, and TypeError for a reference that put() made.
        """

    @abstractmethod
    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        """End an actor's process at once. Its unfinished calls become ActorDied (ActorUnavailable if it restarts)."""

    # Objects

    @abstractmethod
    def put(self, value: Any) -> ObjectRef[Any]:
        """Store a value. Raises NotSerializable, ObjectStoreFull and OutOfDisk."""

    @abstractmethod
    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Return the values in order, waiting up to `timeout` seconds (None: without end, 0: not at all).

        Raises GetTimeout, or the first error in order of `refs`. Arrays come as read-only views where they can.
        """

    @abstractmethod
    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
        """Return (ready, not ready), each in the order of `refs`, as soon as `num_returns` are ready or time is up.

        `ready` has at most `num_returns`. An error counts as ready.
        """

    @abstractmethod
    def future(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        """Return a future of the value. It completes in a thread of the engine's choice."""

    def loop_future(self, ref: ObjectRef[Any]) -> asyncio.Future[Any]:
        """Return a future of the value in the asyncio loop that runs here. To cancel it is to wait no longer."""
        import asyncio

        return asyncio.wrap_future(self.future(ref))

    @abstractmethod
    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        """Delete values now, whoever still refers to them: they raise ObjectFreed from then on."""

    # Streams

    @abstractmethod
    def stream_next(self, stream: ObjectRefGenerator[Any], timeout: float | None) -> ObjectRef[Any]:
        """Return the next reference. Raises StopIteration at the end, GetTimeout.

        A generator that raised gives one last reference, whose get() raises the error.
        """

    @abstractmethod
    def stream_next_future(
        self, stream: ObjectRefGenerator[Any]
    ) -> concurrent.futures.Future[ObjectRef[Any] | None]:
        """Return a future of the next reference; None at the end."""

    @abstractmethod
    def stream_ready(self, stream: ObjectRefGenerator[Any]) -> bool:
        """Tell whether stream_next would return, or end, without waiting."""

    @abstractmethod
    def stream_finished(self, stream: ObjectRefGenerator[Any]) -> bool:
        """Tell whether stream_next has reached, or would at once reach, the end."""

    @abstractmethod
    def stream_completed(self, stream: ObjectRefGenerator[Any]) -> ObjectRef[None]:
        """Return a reference that is ready when the generator has ended."""

    # The directory

    @abstractmethod
    def get_actor(self, name: str, namespace: str | None) -> ActorInfo:
        """Find a living named actor. Raises ValueError naming what there is."""

    @abstractmethod
    def actors(self) -> list[ActorInfo]:
        """Return all actors that the directory remembers, dead ones up to a bound."""

    @abstractmethod
    def create_group(self, spec: GroupSpec) -> None:
        """Reserve a placement group's bundles, as soon as they fit. Raises ConfigError on a bad or taken name."""

    @abstractmethod
    def group_ready(self, group_id: bytes) -> ObjectRef[Any]:
        """Return a reference that is ready once every bundle is reserved; PlacementGroupRemoved if it is removed."""

    @abstractmethod
    def remove_group(self, group_id: bytes) -> None:
        """Give a group's resources back. Its tasks and actors end with PlacementGroupRemoved as their cause."""

    @abstractmethod
    def groups(self) -> list[Mapping[str, Any]]:
        """Return one mapping per group: group_id, name, namespace, strategy, state (PENDING, CREATED, REMOVED,
        RESCHEDULING), bundles ({index: {resource: quantity}}) and bundle_nodes ({index: node id in hexadecimal}).
        """

    @abstractmethod
    def view(self) -> ClusterView:
        """Return the nodes with their resources as of now."""

    @abstractmethod
    def kv_put(self, key: bytes, value: bytes, overwrite: bool, namespace: str) -> bool:
        """Store bytes under a key; return whether the key was new."""

    @abstractmethod
    def kv_get(self, key: bytes, namespace: str) -> bytes | None:
        """Return the bytes under a key, or None."""

    @abstractmethod
    def kv_delete(self, key: bytes, namespace: str) -> bool:
        """Delete a key; return whether it was there."""

    @abstractmethod
    def kv_keys(self, prefix: bytes, namespace: str) -> list[bytes]:
        """Return the keys with a prefix, sorted."""

    # Looking in

    @abstractmethod
    def context(self) -> ExecutionContext:
        """Return where the calling code runs."""

    @abstractmethod
    def explain(self, target: ObjectRef[Any] | bytes) -> Explanation:
        """Say why a reference, or the actor with that identifier, is not ready. Never waits long."""

    @abstractmethod
    def timeline(self) -> list[dict[str, Any]]:
        """Return what ran, newest last and bounded in number, as Chrome trace events (times in microseconds)."""


@runtime_checkable
class SupportsDashboard(Protocol):
    """An engine whose sessions have a dashboard."""

    def dashboard_url(self) -> str:
        """Return the dashboard's address, opening its port if need be.

        Raises ConfigError if the session was started without one, or its port cannot be had.
        """
        ...


@runtime_checkable
class SupportsDeviceObjects(Protocol):
    """An engine on which actors keep tensors of their results, and hand them out to other processes.

    It also runs calls of the method `shoal.spec.calls.BESIDE`: as `__shoal_call__` they run a function on the actor's
    instance, but in a thread beside its other calls, however busy it is.
    """

    def when_released(self, ref: ObjectRef[Any], callback: Callable[[bytes], None]) -> None:
        """Call back once with the identifier of an object that this process has put, when nobody refers to it any more.

        In any thread, soon after the last reference went, wherever it was. Not when the session ends.
        """
        ...


@runtime_checkable
class SupportsJobs(Protocol):
    """An engine on which several programs may run at a time, and be told from each other."""

    def jobs(self) -> list[Mapping[str, Any]]:
        """Return one mapping per job that is remembered, in the order they began.

        job (identifier), name, state (RUNNING, FINISHED, DIED), message, priority, share, quota and used ({resource:
        quantity}), preemptible, waiting (demands), preempted (leases), started and ended (seconds since the epoch, 0.0:
        not yet), driver, node (hexadecimal), pid, entrypoint, namespace.
        """
        ...
