"""Actors: instances whose calls run one after the other at the call, or on the event loop if they are async."""

from __future__ import annotations

import asyncio
import collections
import inspect
import os
import time
from collections.abc import Callable
from typing import Any

import attrs

from shoal.death import Cause, DeathCertificate
from shoal.errors import (
    ActorDied,
    ActorExit,
    ActorNameTaken,
    ActorUnavailable,
    ActorUnschedulable,
    PendingCallsLimitExceeded,
    TaskUnschedulable,
)
from shoal.inline import states
from shoal.inline.calls import DONE, QUEUED, RUNNING, Call, failed_argument, running
from shoal.inline.core import Core
from shoal.inline.node import GroupGone, Holding
from shoal.inline.results import READY, Result
from shoal.inline.streams import Stream
from shoal.inline.tasks import (
    Tasks,
    cancelled,
    check_environment,
    environment,
    inherited,
    make_call,
)
from shoal.interfaces.engine import CallResult
from shoal.interfaces.refs import ObjectRef
from shoal.serial import dump_function, load_function
from shoal.spec.calls import BESIDE, ActorInfo, ActorTemplate, MethodTemplate
from shoal.spec.view import Demand

PENDING, ALIVE, RESTARTING, DEAD = "PENDING", "ALIVE", "RESTARTING", "DEAD"


@attrs.define(eq=False, kw_only=True)
class Actor:
    """One actor through all its restarts."""

    info: ActorInfo
    template: ActorTemplate
    cls: type
    creation: Call
    state: str = PENDING
    instance: Any = None
    queue: collections.deque[Call] = attrs.field(factory=collections.deque)
    running: list[Call] = attrs.field(factory=list)
    restarts: int = 0
    life: int = 0  # grows with every restart: what an earlier life returns does not count
    holding: Holding | None = None
    death: DeathCertificate | None = None
    abandoned: bool = False  # no handle is left
    saved: bytes | None = None  # the state of a durable one after its last call
    room: dict[str | None, asyncio.Semaphore] = attrs.field(factory=dict)


class Actors:
    """All actors of a session, by identifier and by name."""

    def __init__(self, core: Core, tasks: Tasks) -> None:
        self.core = core
        self.tasks = tasks
        self._actors: dict[bytes, Actor] = {}
        self._dropped: collections.deque[bytes] = (
            collections.deque()
        )  # append takes no lock: on_drop may use it

    # Creation

    def create(
        self, template: ActorTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[ActorInfo, ObjectRef[Any] | None]:
        core = self.core
        check_environment(template.runtime_env)
        refs: list[ObjectRef[Any]] = []
        cls = load_function(dump_function(template.cls, refs), refs)
        creation = make_call(core, f"{template.class_name}.__init__", template.cls.__init__, args, kwargs)  # type: ignore[misc]
        creation.num_returns = 0
        creation.resources = template.resources
        creation.runtime_env = template.runtime_env
        creation.demand = Demand(
            resources=template.placement,
            strategy=inherited(core, template.strategy),
            label_selector=template.label_selector,
            turn=core.next_turn(),
        )
        namespace = template.namespace or core.here().namespace
        info = ActorInfo(
            actor_id=creation.task_id,
            class_name=template.class_name,
            methods=template.methods,
            name=template.name or "",
            namespace=namespace,
            detached=template.detached,
            max_task_retries=template.max_task_retries,
            max_pending_calls=template.max_pending_calls,
            is_async=template.is_async,
            exactly_once=template.durability is not None and template.durability.exactly_once,
        )
        actor = Actor(info=info, template=template, cls=cls, creation=creation)
        with core.lock:
            other = self._named(info.name, namespace) if info.name else None
            if other is not None:
                if template.get_if_exists:
                    return self.info(other), None
                raise ActorNameTaken(
                    f"an actor is named {info.name!r} in namespace {namespace!r} already; "
                    "pass get_if_exists=True to share it, or kill it first"
                )
            self._actors[info.actor_id] = actor
        try:
            core.place(creation.demand)  # raises at once for what can never run, if the configuration says so
        except TaskUnschedulable as error:
            del self._actors[info.actor_id]
            raise ActorUnschedulable(error.message) from None
        except GroupGone:
            pass
        lifetime = None if template.detached else self._lifetime(info.actor_id)
        self._place(actor)
        return info, lifetime

    def _lifetime(self, actor_id: bytes) -> ObjectRef[Any]:
        result = Result(actor_id + bytes(4))
        result.state = READY
        return ObjectRef(result.id, self.core.engine, actor_id, self._dropped.append)

    def _place(self, actor: Actor) -> None:
        """Create the instance as soon as the constructor's arguments and the room are there."""
        core, creation = self.core, actor.creation
        if actor.state != PENDING or not core.when_done(creation.waits_for, lambda: self._place(actor)):
            return
        try:
            holding = core.place(creation.demand)
        except (GroupGone, TaskUnschedulable):
            self._end(actor, Cause.GROUP_REMOVED, "its placement group was removed")
            return
        if holding is None:
            core.when_room(lambda: self._place(actor))
            return
        with core.lock:
            # As in the reference system: a CPU to be placed, and what was asked for to live.
            actor.holding = attrs.evolve(holding, resources=actor.template.resources)
            core.node.take(actor.holding)
        self._construct(actor)

    def _construct(self, actor: Actor) -> None:
        if actor.info.is_async:
            self._on_loop(actor.creation, lambda: self._construct_here(actor))
        else:
            self.core.run_now(lambda: self._construct_here(actor))

    def _construct_here(self, actor: Actor) -> None:
        core, creation, life = self.core, actor.creation, actor.life
        failed = failed_argument(creation)
        self._enter(actor, creation)
        token = running.set(creation)
        started = time.time()
        try:
            if failed is not None:
                from shoal.serial import load_error

                raise load_error(failed)
            with environment(creation.runtime_env):
                actor.instance = states.begin(actor)
        except ActorExit:
            self._end(actor, Cause.INTENDED_EXIT, "it called exit_actor()")
            return
        except BaseException as error:  # user code may raise anything
            from shoal.serial.remote_error import format_remote

            self._end(actor, Cause.INIT_FAILED, format_remote(error))
            if isinstance(error, KeyboardInterrupt):
                raise
            return
        finally:
            running.reset(token)
            core.note(creation, started)
        with core.changed:
            if actor.state != DEAD and actor.life == life:
                actor.state = ALIVE
            core.changed.notify_all()
        self.pump(actor)

    # Calls

    def call(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        core = self.core
        name = f"{info.class_name}.{template.name}"
        actor = self._actors.get(info.actor_id)
        function = getattr(actor.cls, template.name, None) if actor is not None else None
        call = make_call(core, name, function or _unknown, args, kwargs)
        call.name = template.display_name or name
        call.num_returns = template.num_returns
        retries = info.max_task_retries if template.max_task_retries is None else template.max_task_retries
        call.retries, call.retry_exceptions = retries, template.retry_exceptions
        call.group = template.concurrency_group
        call.actor = actor
        call.demand = Demand(resources=call.resources)
        if actor is not None:
            call.resources, call.demand = actor.template.resources, actor.creation.demand
            call.runtime_env = actor.template.runtime_env
            waiting = sum(1 for other in (*actor.queue, *actor.running) if other.state != DONE)
            if 0 <= info.max_pending_calls <= waiting:
                raise PendingCallsLimitExceeded(
                    f"{waiting} calls wait for actor {info.class_name} already (max_pending_calls); wait for some first"
                )
        if call.num_returns == "streaming":
            call.stream = Stream(core, self.tasks, call)
            result: CallResult = call.stream.generator()
        else:
            result = core.result_refs(call)
        if actor is None or actor.state == DEAD:
            core.fail(call, self._death_of(actor, info))
            return result
        if template.name == BESIDE.name:
            self._run_beside(actor, call)
            return result
        parent = running.get()
        if parent is not None:
            parent.children.append(call)
        with core.lock:
            actor.queue.append(call)
        self.pump(actor)
        return result

    def _run_beside(self, actor: Actor, call: Call) -> None:
        """Run a call now, whatever the actor is doing."""
        try:
            args, kwargs = call.arguments()
            function, *rest = args
            self.core.finish(call, function(actor.instance, *rest, **kwargs))
        except Exception as error:  # the function's own: it is the call's result
            self.core.fail(call, error)

    def pump(self, actor: Actor) -> None:
        """Start the calls whose turn it is. Calls start in order; a sync actor runs one at a time."""
        core = self.core
        while True:
            with core.lock:
                if actor.state != ALIVE or not actor.queue or (actor.running and not actor.info.is_async):
                    break
                call = actor.queue[0]
                if call.state != QUEUED:
                    actor.queue.popleft()
                    continue
                if not core.when_done(call.waits_for, lambda: self.pump(actor)):
                    return
                actor.queue.popleft()
                if call.stream is not None:
                    self._open_stream(actor, call)
                    continue
                actor.running.append(call)
            if actor.info.is_async:
                self._on_loop(call, lambda call=call: self._spawn(actor, call))  # type: ignore[misc]
            else:
                core.run_now(lambda call=call: self._run_method(actor, call))  # type: ignore[misc]
        self._end_if_abandoned(actor)

    def _open_stream(self, actor: Actor, call: Call) -> None:
        self._enter(actor, call)
        call.stream.open(self._method(actor, call))

    def _run_method(self, actor: Actor, call: Call) -> None:
        life = actor.life
        with self.core.lock:
            if call.state != QUEUED:
                actor.running.remove(call)
                return
            call.state = RUNNING
        self._enter(actor, call)
        left = ""
        try:
            self.tasks.attempts(call, self._guard(actor, call, life))
        except ActorExit:
            left = "it called exit_actor()"
        finally:
            with self.core.lock:
                if call in actor.running:
                    actor.running.remove(call)
        if left:
            self._end(actor, Cause.INTENDED_EXIT, left)
        else:
            self.pump(actor)

    def _guard(self, actor: Actor, call: Call, life: int) -> Callable[..., Any]:
        """Wrap the method: what a killed actor still returns does not count."""
        method = self._method(actor, call)

        def guarded(*args: Any, **kwargs: Any) -> Any:
            self._enter(actor, call)
            try:
                value = method(*args, **kwargs)
            except ActorExit:
                self.core.fail(
                    call, ActorDied(*self._story(actor, Cause.INTENDED_EXIT, "it called exit_actor()"))
                )
                raise
            except Exception:
                if actor.state != DEAD and actor.life == life:
                    states.save(actor, self.core.config.durable_state_max_bytes)
                raise
            if actor.state == DEAD or actor.life != life:
                raise self._death_of(actor, actor.info)
            states.save(actor, self.core.config.durable_state_max_bytes)
            return value

        return guarded

    def _method(self, actor: Actor, call: Call) -> Callable[..., Any]:
        instance = actor.instance
        name = call.function_name.rpartition(".")[2]
        if name == "__shoal_call__":
            return lambda function, /, *args, **kwargs: function(instance, *args, **kwargs)
        method: Callable[..., Any] = getattr(instance, name)
        return method

    def _enter(self, actor: Actor, call: Call) -> None:
        self.tasks._context_of(call)
        assert call.context is not None
        call.context = attrs.evolve(
            call.context,
            actor_id=actor.info.actor_id,
            actor_name=actor.info.name,
            namespace=actor.info.namespace,
            actor_was_restarted=actor.restarts > 0,
        )

    # Async actors

    def _on_loop(self, call: Call, function: Callable[[], None]) -> None:
        """Run something in the loop's thread, counted as running from now on."""
        core = self.core
        core._enter(call)

        def body() -> None:
            try:
                function()
            finally:
                core._leave(call)

        core.loop.call(body)

    def _spawn(self, actor: Actor, call: Call) -> None:
        self.core._enter(call)
        call.task = self.core.loop.spawn(self._run_async(actor, call))

    async def _run_async(self, actor: Actor, call: Call) -> None:
        core, life = self.core, actor.life
        running.set(call)
        started = time.time()
        try:
            async with self._semaphore(actor, call.group):
                with core.lock:
                    if call.state != QUEUED or actor.state == DEAD:
                        return
                    call.state = RUNNING
                await self._attempts_async(actor, call, life)
        except asyncio.CancelledError:
            core.fail(
                call, cancelled(call) if actor.life == life and actor.state != DEAD else self._lost(actor)
            )
        except ActorExit:
            core.fail(call, ActorDied(*self._story(actor, Cause.INTENDED_EXIT, "it called exit_actor()")))
            self._end(actor, Cause.INTENDED_EXIT, "it called exit_actor()")
        finally:
            with core.lock:
                if call in actor.running:
                    actor.running.remove(call)
            call.task = None
            core.note(call, started)
            self.pump(actor)
            core._leave(call)

    async def _attempts_async(self, actor: Actor, call: Call, life: int) -> None:
        core = self.core
        while True:
            failed = failed_argument(call)
            if failed is not None:
                core.fail(call, failed)
                return
            self._enter(actor, call)
            try:
                args, kwargs = call.arguments()
                value = self._method(actor, call)(*args, **kwargs)
                if inspect.isawaitable(value):
                    value = await value
                if actor.state == DEAD or actor.life != life:
                    raise self._lost(actor)
                core.finish(call, value)
                return
            except (ActorExit, asyncio.CancelledError):
                raise
            except BaseException as error:  # user code may raise anything
                if not call.may_retry(error):
                    core.fail(call, error)
                    return
                call.attempt += 1

    def _semaphore(self, actor: Actor, group: str | None) -> asyncio.Semaphore:
        if group not in actor.room:
            sizes = actor.template.concurrency_groups
            actor.room[group] = asyncio.Semaphore(sizes.get(group or "", actor.template.max_concurrency))
        return actor.room[group]

    # Death

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        """End an actor now; start it again if that is wanted and it may."""
        actor = self._actors.get(actor_id)
        if actor is None or actor.state == DEAD:
            return
        most = actor.template.max_restarts
        if no_restart or actor.state == PENDING or (most != -1 and actor.restarts >= most):
            self._end(actor, Cause.KILLED_BY_USER, "kill() was called on it")
            return
        with self.core.lock:
            actor.state, actor.instance = RESTARTING, None
            actor.restarts += 1
            actor.life += 1
            actor.room = {}
            lost = list(actor.running)
        for call in lost:
            self._drop_call(actor, call)
        self._construct(actor)

    def _end(self, actor: Actor, cause: Cause, detail: str) -> None:
        core = self.core
        with core.lock:
            if actor.state == DEAD:
                return
            actor.state, actor.instance = DEAD, None
            _, actor.death = self._story(actor, cause, detail)
            if actor.holding is not None:
                core.node.give_back(actor.holding)
                actor.holding = None
            lost = [*actor.running, *actor.queue]
            actor.queue.clear()
            actor.creation.packed, actor.creation.refs, actor.creation.waits_for = b"", (), ()
            core.changed.notify_all()
        for call in lost:
            self._drop_call(actor, call)
        core.room_changed()

    def _drop_call(self, actor: Actor, call: Call) -> None:
        task = call.task
        self.core.fail(call, self._lost(actor))
        if task is not None:
            self.core.loop.call(task.cancel)

    def _lost(self, actor: Actor) -> ActorDied | ActorUnavailable:
        if actor.state == DEAD:
            return self._death_of(actor, actor.info)
        return ActorUnavailable(
            f"actor {actor.info.class_name} was restarted while the call ran; it may have run"
        )

    def _death_of(self, actor: Actor | None, info: ActorInfo) -> ActorDied:
        if actor is None:
            certificate = DeathCertificate(what="actor", identity=info.actor_id.hex(), name=info.class_name)
            return ActorDied(f"actor {info.class_name} is not of this session", certificate)
        return ActorDied(f"actor {info.class_name} is dead", actor.death)

    def _story(self, actor: Actor, cause: Cause, detail: str) -> tuple[str, DeathCertificate]:
        certificate = DeathCertificate(
            what="actor",
            identity=actor.info.actor_id.hex(),
            name=actor.info.class_name,
            node=self.core.node.id.hex(),
            process=os.getpid(),
            when=time.time(),
            cause=cause,
            detail=detail,
        )
        return f"actor {actor.info.class_name} is dead", certificate

    def remove_group(self, group: Any) -> None:
        """End the actors that live in a group, or wait for it."""
        for actor in list(self._actors.values()):
            strategy = actor.creation.demand.strategy
            if getattr(strategy, "group_id", None) == group.spec.group_id:
                self._end(actor, Cause.GROUP_REMOVED, "its placement group was removed")

    def reap(self) -> None:
        """End actors that no handle is left of. Called at the start of every operation."""
        while self._dropped:
            actor = self._actors.get(self._dropped.popleft())
            if actor is not None:
                actor.abandoned = True
                self._end_if_abandoned(actor)

    def _end_if_abandoned(self, actor: Actor) -> None:
        with self.core.lock:
            idle = not actor.queue and not actor.running and actor.state in (ALIVE, PENDING)
        if actor.abandoned and idle:
            self._end(actor, Cause.OUT_OF_SCOPE, "the last handle of it went")

    # The directory

    def get(self, name: str, namespace: str | None) -> ActorInfo:
        """Find a living named actor. Raises ValueError."""
        namespace = namespace or self.core.here().namespace
        with self.core.lock:
            actor = self._named(name, namespace)
            if actor is not None:
                return self.info(actor)
            there = sorted(
                other.info.name
                for other in self._actors.values()
                if other.info.name and other.info.namespace == namespace and other.state != DEAD
            )
        raise ValueError(
            f"no living actor is named {name!r} in namespace {namespace!r}; there are: {', '.join(there) or 'none'}"
        )

    def all(self) -> list[ActorInfo]:
        """Return every actor that there was."""
        with self.core.lock:
            return [self.info(actor) for actor in self._actors.values()]

    def find(self, actor_id: bytes) -> Actor | None:
        """Return the actor with that identifier."""
        return self._actors.get(actor_id)

    def info(self, actor: Actor) -> ActorInfo:
        """Return what the directory says of an actor now."""
        return attrs.evolve(actor.info, state=actor.state)

    def _named(self, name: str, namespace: str) -> Actor | None:
        for actor in self._actors.values():
            if actor.info.name == name and actor.info.namespace == namespace and actor.state != DEAD:
                return actor
        return None

    def close(self) -> None:
        """Forget all instances."""
        for actor in self._actors.values():
            actor.state, actor.instance = DEAD, None
            actor.queue.clear()


def _unknown(*args: Any, **kwargs: Any) -> None:
    """Stand for a method whose actor is not known."""
