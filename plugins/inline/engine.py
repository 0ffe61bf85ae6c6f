"""The inline engine: the calling process does everything, when it is asked for."""

from __future__ import annotations

import concurrent.futures
import contextvars
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar

import attrs

from shoal.config import Config
from shoal.errors import (
    ActorUnschedulable,
    ConfigError,
    GetTimeout,
    PlacementGroupRemoved,
    SystemFailure,
    TaskUnschedulable,
    describe,
)
from shoal.inline.actors import Actors
from shoal.inline.calls import DONE, Call
from shoal.inline.core import Core, nothing
from shoal.inline.explain import explain_actor, explain_result
from shoal.inline.exploring import ExploringActors, ExploringCore, ExploringTasks
from shoal.inline.node import Group
from shoal.inline.results import Result
from shoal.inline.tasks import Tasks, check_environment
from shoal.interfaces.engine import CallResult, Engine
from shoal.interfaces.refs import ObjectRef, ObjectRefGenerator
from shoal.registry.drivers import load_driver
from shoal.registry.groups import SCHEDULERS
from shoal.serial import dump_error, dumps
from shoal.spec.calls import ActorInfo, ActorTemplate, ExecutionContext, MethodTemplate, TaskTemplate
from shoal.spec.view import ClusterView, Explanation, GroupSpec


def _one_of(*allowed: str) -> Any:
    def check(options: object, field: attrs.Attribute[Any], value: Any) -> None:
        if value not in allowed:
            raise ConfigError(
                f"{field.name} of the engine 'inline' must be one of {', '.join(allowed)}, not {describe(value)}"
            )

    return check


def _seed(options: object, field: attrs.Attribute[Any], value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ConfigError(f"seed of the engine 'inline' must be a whole number, not {describe(value)}")


class InlineEngine(Engine):
    """Runs tasks at submit in the calling thread, actors at the call, async methods on one private event loop.

    What cannot become ready since nothing that runs could make it so raises instead of waiting. Threads of a threaded
    actor take turns. The scheduler of the configuration decides over one virtual node; running tasks hold nothing,
    living actors and placement groups do.
    """

    name: ClassVar[str] = "inline"
    capabilities: ClassVar[frozenset[str]] = frozenset(
        {
            "async_actors",
            "clean_close",
            "device_objects",
            "durable_actors",
            "ordered_async",
            "placement_groups",
            "stream_errors",
            "streaming",
        }
    )

    @attrs.frozen(kw_only=True)
    class Options:
        """What `engine_options` may say.

        `order`: "calls" runs everything as it is called; "random" lets tasks and actor calls take turns, in an order
        that depends on `seed` alone.
        """

        order: str = attrs.field(default="calls", validator=_one_of("calls", "random"))
        seed: int = attrs.field(default=0, validator=_seed)

    def __init__(self, config: Config) -> None:
        self.config = config
        scheduler = load_driver(SCHEDULERS, config.scheduler, config.scheduler_options)
        if config.engine_options.get("order") == "random":
            seed = config.engine_options.get("seed", 0)
            exploring = ExploringCore(self, config, scheduler(config.scheduler_options), seed)
            in_turns = ExploringTasks(exploring)
            self._core: Core = exploring
            self._tasks: Tasks = in_turns
            self._actors: Actors = ExploringActors(exploring, in_turns)
        else:
            self._core = Core(self, config, scheduler(config.scheduler_options))
            self._tasks = Tasks(self._core)
            self._actors = Actors(self._core, self._tasks)
        self._keys: dict[tuple[str, bytes], bytes] = {}

    # Life

    @classmethod
    def start(cls, config: Config) -> InlineEngine:
        if config.address is not None:
            raise ConfigError(
                f"address={config.address!r}: the inline engine joins no cluster; leave the address out"
            )
        check_environment(config.runtime_env)
        cls.Options(**config.engine_options)
        return cls(config)

    def close(self) -> None:
        core = self._core
        with core.changed:
            if core.closed:
                return
            core.closed = True
            core.changed.notify_all()
        core.end_turns()
        core.loop.close()
        self._actors.close()

    @property
    def closed(self) -> bool:
        return self._core.closed

    @property
    def order(self) -> tuple[str, ...]:
        """Who had a turn, in order, with order="random": names of tasks and methods, and "the program"."""
        return self._core.order()

    def _begin(self, refs: Sequence[ObjectRef[Any]] = ()) -> None:
        """Look after what every call does first; `refs` are what the caller is about to wait for."""
        self._core.check_open()
        self._core.turn(refs)
        self._actors.reap()

    # Work

    def submit(self, template: TaskTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]) -> CallResult:
        self._begin()
        return self._tasks.submit(template, args, kwargs)

    def create_actor(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        self._begin()
        return self._actors.create(template, args, kwargs)

    def call_actor(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        self._begin()
        return self._actors.call(info, template, args, kwargs)

    def cancel(self, ref: ObjectRef[Any] | ObjectRefGenerator[Any], force: bool, recursive: bool) -> None:
        self._begin()
        call: Call | None
        if isinstance(ref, ObjectRefGenerator):
            call = ref.record.call
        else:
            if ref.id.result_index() == 0:
                raise TypeError(f"{ref!r} was made by put(); only what a call returned can be cancelled")
            call = ref.record.call
        if call is None or call.state == DONE:
            return
        if force and call.actor is not None:
            raise ValueError("force=True would end the whole actor; use kill() for that")
        self._tasks.cancel(call, recursive)

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        self._begin()
        self._actors.kill(actor_id, no_restart)

    # Objects

    def put(self, value: Any) -> ObjectRef[Any]:
        self._begin()
        result = Result(self._core.new_task_id() + bytes(4))
        result.fill(dumps(value))
        return self._core.ref(result)

    def when_released(self, ref: ObjectRef[Any], callback: Callable[[bytes], None]) -> None:
        """Call back with the object's identifier once nobody refers to it; see SupportsDeviceObjects."""
        weakref.finalize(ref.record, callback, ref.binary()).atexit = False

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        self._begin(refs)
        values = []
        for ref in refs:
            result: Result = ref.record
            if not result.done and not self._core.wait_until(lambda result=result: result.done, timeout):  # type: ignore[misc]
                if timeout is not None:
                    raise GetTimeout(f"{ref!r} was not ready after {timeout} seconds: {self.explain(ref)}")
                raise self._hopeless(ref)
            values.append(result.value())
        return values

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None, fetch_local: bool
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
        self._begin()

        def enough() -> bool:
            return sum(1 for ref in refs if ref.record.done) >= num_returns

        if not self._core.wait_until(enough, timeout) and timeout is None:
            raise self._hopeless(next(ref for ref in refs if not ref.record.done))
        ready = [ref for ref in refs if ref.record.done][:num_returns]
        taken = set(ready)
        return ready, [ref for ref in refs if ref not in taken]

    def _hopeless(self, ref: ObjectRef[Any]) -> Exception:
        why = self.explain(ref)
        message = "\n".join(
            [
                f"{ref!r} can never be ready, since nothing runs that could make it so.",
                f"{why}",
                *self._core.stuck(),
            ]
        )
        call = ref.record.call
        if call is not None and call.actor is not None and call.actor.state == "PENDING":
            return ActorUnschedulable(message)
        if call is None or (call.demand is not None and call.actor is None):
            return TaskUnschedulable(message)
        return SystemFailure(message)

    def future(self, ref: ObjectRef[Any]) -> concurrent.futures.Future[Any]:
        self._begin()
        result: Result = ref.record
        return self._future(result, lambda: result.value())

    def _future(self, result: Result, take: Callable[[], Any]) -> concurrent.futures.Future[Any]:
        future: concurrent.futures.Future[Any] = concurrent.futures.Future()

        def complete() -> None:
            if future.set_running_or_notify_cancel():
                _settle(future, take)

        with self._core.lock:
            if not result.done:
                result.watchers.append(complete)
                return future
        complete()
        return future

    def free(self, refs: Sequence[ObjectRef[Any]]) -> None:
        self._begin()
        with self._core.lock:
            for ref in refs:
                if ref.record.done:
                    ref.record.free()

    # Streams

    def stream_next(self, stream: ObjectRefGenerator[Any], timeout: float | None) -> ObjectRef[Any]:
        self._begin()
        ref: ObjectRef[Any] | None = stream.record.next(timeout)
        if ref is None:
            raise StopIteration
        return ref

    def stream_next_future(
        self, stream: ObjectRefGenerator[Any]
    ) -> concurrent.futures.Future[ObjectRef[Any] | None]:
        self._begin()
        future: concurrent.futures.Future[ObjectRef[Any] | None] = concurrent.futures.Future()
        scope = contextvars.copy_context()
        thread = threading.Thread(
            target=scope.run,
            args=(_settle, future, lambda: stream.record.next(None)),
            name="shoal-inline-stream",
            daemon=True,
        )
        thread.start()
        return future

    def stream_ready(self, stream: ObjectRefGenerator[Any]) -> bool:
        self._begin()
        return not stream.record.blocked()

    def stream_finished(self, stream: ObjectRefGenerator[Any]) -> bool:
        self._begin()
        finished: bool = stream.record.at_end()
        return finished

    def stream_completed(self, stream: ObjectRefGenerator[Any]) -> ObjectRef[None]:
        self._begin()
        ref: ObjectRef[None] = stream.record.run_to_end()
        return ref

    # The directory

    def get_actor(self, name: str, namespace: str | None) -> ActorInfo:
        self._begin()
        return self._actors.get(name, namespace)

    def actors(self) -> list[ActorInfo]:
        self._begin()
        return self._actors.all()

    def create_group(self, spec: GroupSpec) -> None:
        self._begin()
        with self._core.lock:
            group = self._core.node.add_group(spec, Result(self._core.new_task_id() + bytes(4)))
        self._reserve(group)

    def _reserve(self, group: Group) -> None:
        core = self._core
        with core.lock:
            if group.state != "PENDING":
                return
            if not core.node.try_reserve(group):
                core.when_room(lambda: self._reserve(group))
                return
            group.ready.fill(dumps(True))
            core._todo.extend(group.ready.watchers)
            core.changed.notify_all()
        core.room_changed()

    def group_ready(self, group_id: bytes) -> ObjectRef[Any]:
        self._begin()
        group = self._core.node.groups.get(bytes(group_id))
        if group is None:
            raise ValueError(f"no placement group {bytes(group_id).hex()} is known")
        return ObjectRef(group.ready.id, self, group.ready, nothing)

    def remove_group(self, group_id: bytes) -> None:
        self._begin()
        core = self._core
        with core.lock:
            group = core.node.remove_group(group_id)
            if group is None:
                return
            if not group.ready.done:
                gone = PlacementGroupRemoved("the placement group was removed")
                group.ready.fail(dump_error(gone, "placement_group"))
                core._todo.extend(group.ready.watchers)
            core.changed.notify_all()
        self._actors.remove_group(group)
        core.room_changed()

    def groups(self) -> list[Mapping[str, Any]]:
        self._begin()
        with self._core.lock:
            return list(self._core.node.describe_groups())

    def view(self) -> ClusterView:
        self._begin()
        with self._core.lock:
            return self._core.node.view()

    def kv_put(self, key: bytes, value: bytes, overwrite: bool, namespace: str) -> bool:
        self._core.turn()  # keys are state that tasks share
        with self._core.lock:
            new = (namespace, key) not in self._keys
            if new or overwrite:
                self._keys[namespace, key] = value
            return new

    def kv_get(self, key: bytes, namespace: str) -> bytes | None:
        self._core.turn()  # keys are state that tasks share
        with self._core.lock:
            return self._keys.get((namespace, key))

    def kv_delete(self, key: bytes, namespace: str) -> bool:
        self._core.turn()  # keys are state that tasks share
        with self._core.lock:
            return self._keys.pop((namespace, key), None) is not None

    def kv_keys(self, prefix: bytes, namespace: str) -> list[bytes]:
        self._core.turn()  # keys are state that tasks share
        with self._core.lock:
            return sorted(key for space, key in self._keys if space == namespace and key.startswith(prefix))

    # Looking in

    def context(self) -> ExecutionContext:
        return self._core.here()

    def explain(self, target: ObjectRef[Any] | bytes) -> Explanation:
        with self._core.lock:
            if isinstance(target, ObjectRef):
                return explain_result(self._core, target.record)
            return explain_actor(self._core, self._actors.find(target), target)

    def timeline(self) -> list[dict[str, Any]]:
        return list(self._core.events)


def _settle(future: concurrent.futures.Future[Any], take: Callable[[], Any]) -> None:
    try:
        value = take()
    except BaseException as error:  # the value's own error belongs to whoever reads the future
        future.set_exception(error)
    else:
        future.set_result(value)
