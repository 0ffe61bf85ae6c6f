"""The inline engine with `order="random"`: tasks and actor calls take turns in an order that a seed chooses.

Between two calls of the engine user code runs undisturbed; at each call, and wherever it waits, any other may go on
first. Tasks run as if there were CPUs for all. Calls from one caller to one actor keep their order, those of different
callers do not. Async methods run on their event loop as they come: that order is not chosen.
"""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from shoal.config import Config
from shoal.errors import NotInitialized
from shoal.inline.actors import ALIVE, Actor, Actors
from shoal.inline.calls import QUEUED, Call, running
from shoal.inline.core import Core
from shoal.inline.tasks import Tasks
from shoal.inline.turns import Turns
from shoal.interfaces.engine import CallResult, Engine
from shoal.interfaces.refs import ObjectRef
from shoal.interfaces.scheduler import Scheduler
from shoal.spec.calls import ActorInfo, MethodTemplate


class ExploringCore(Core):
    """What is run goes to the turns instead of running at once."""

    def __init__(self, engine: Engine, config: Config, scheduler: Scheduler, seed: int) -> None:
        super().__init__(engine, config, scheduler)
        self.seed = seed
        self.turns: Turns = Turns(seed, lambda: bool(self._active))

    def turn(self, refs: Sequence[ObjectRef[Any]] = ()) -> None:
        here = self.turns.here()
        if here is not None:
            self.turns.pause()
            self.check_open()
            here.what = _names(refs)
        elif not self.loop.here and not threading.current_thread().name.startswith("shoal-inline"):
            raise RuntimeError(
                "a thread that the program made called Shoal; with order='random' only tasks, actors and the thread "
                "that called init() may, since no other can be ordered"
            )

    def order(self) -> tuple[str, ...]:
        return tuple(self.turns.trace)

    def stuck(self) -> list[str]:
        waiting = [
            f"  {strand.label} waits{f' for {strand.what}' if strand.what else ''}"
            for strand in self.turns.waiting()
        ]
        how = f"engine_options={{'order': 'random', 'seed': {self.seed}}}"
        return [
            *(["What waits besides:", *waiting] if waiting else []),
            f"Seed {self.seed} replays it: {how}",
        ]

    def end_turns(self) -> None:
        self.turns.end()

    def run_now(self, function: Callable[[], None]) -> None:
        self.start("a stream or constructor", function)

    def start(self, label: str, function: Callable[[], None]) -> None:
        """Let something that may be user code have its turn."""

        def body() -> None:
            # The session's end reaches a strand as NotInitialized, an interrupt has become its call's error.
            with contextlib.suppress(NotInitialized, KeyboardInterrupt):
                function()

        self.turns.start(label, body)

    def drain(self) -> None:
        while True:
            with self.lock:
                if not self._todo:
                    return
                function = self._todo.popleft()
            function()  # it only makes something startable

    def wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        if self.turns.here() is None:
            return super().wait_until(done, timeout)
        self.check_open()
        if timeout is not None and timeout <= 0:
            return done()  # the call itself was a turn already
        answer = self.turns.pause(lambda: self.closed or done(), timeout)
        self.check_open()
        return answer or done()


class ExploringTasks(Tasks):
    """Tasks have a turn once their arguments and their room are there."""

    core: ExploringCore

    def start_if_possible(self, call: Call) -> None:
        again = _Again(self, call)
        if call.state == QUEUED and self.core.when_done(call.waits_for, again) and self.has_room(call):
            self.core.start(f"{call.name}()", lambda: self.run(call))


class _Again:
    __slots__ = ("call", "tasks")

    def __init__(self, tasks: ExploringTasks, call: Call) -> None:
        self.tasks, self.call = tasks, call

    def __call__(self) -> None:
        self.tasks.start_if_possible(self.call)


class ExploringActors(Actors):
    """An actor serves its callers in any order, each one's calls in theirs; threads of one actor interleave."""

    core: ExploringCore

    def __init__(self, core: ExploringCore, tasks: ExploringTasks) -> None:
        super().__init__(core, tasks)
        self._callers: weakref.WeakKeyDictionary[Call, Call | None] = weakref.WeakKeyDictionary()
        self._due: set[bytes] = set()  # actors that have a turn coming

    def call(
        self, info: ActorInfo, template: MethodTemplate, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> CallResult:
        result = super().call(info, template, args, kwargs)
        actor = self.find(info.actor_id)
        if actor is not None and actor.queue:
            self._callers[actor.queue[-1]] = running.get()
        return result

    def pump(self, actor: Actor) -> None:
        if actor.info.is_async:
            super().pump(actor)
            return
        actor_id = actor.info.actor_id
        with self.core.lock:
            if actor.state == ALIVE and actor.queue and actor_id not in self._due:
                self._due.add(actor_id)
                self.core.start(f"a call of {actor.info.class_name}", lambda: self._serve(actor))
        self._end_if_abandoned(actor)

    def _serve(self, actor: Actor) -> None:
        with self.core.lock:
            self._due.discard(actor.info.actor_id)
            call = self._next_call(actor) if actor.state == ALIVE else None
            if call is None:
                return
            actor.queue.remove(call)
            if call.stream is None:
                actor.running.append(call)
        here = self.core.turns.here()
        if here is not None:
            here.label = f"{call.name}()"
            self.core.turns.trace[-1] = here.label
        self.pump(actor)
        if call.stream is not None:
            self._open_stream(actor, call)
        else:
            self._run_method(actor, call)

    def _next_call(self, actor: Actor) -> Call | None:
        heads: dict[int, Call] = {}
        for call in list(actor.queue):
            if call.state != QUEUED:
                actor.queue.remove(call)
            else:
                heads.setdefault(id(self._callers.get(call)), call)
        free = [
            call
            for call in heads.values()
            if self._has_thread(actor, call) and self.core.when_done(call.waits_for, lambda: self.pump(actor))
        ]
        return free[self.core.turns.pick(len(free))] if free else None

    def _has_thread(self, actor: Actor, call: Call) -> bool:
        template = actor.template
        most = template.concurrency_groups.get(call.group or "", template.max_concurrency)
        return sum(1 for other in actor.running if other.group == call.group) < most


def _names(refs: Sequence[ObjectRef[Any]]) -> str:
    """Return what makes the values that are not there yet, for people."""
    names = [f"{ref.record.call.name}()" for ref in refs if ref.record.call is not None]
    return ", ".join(names[:5]) + (" …" if len(names) > 5 else "")
