"""What tasks, actors and streams share: one lock, results, waiting, places, and threads that run something now."""

from __future__ import annotations

import collections
import contextvars
import os
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from shoal.config import Config
from shoal.errors import NotInitialized, TaskUnschedulable
from shoal.ids import JobID, WorkerID
from shoal.inline.calls import DONE, Call, running
from shoal.inline.loop import LoopThread
from shoal.inline.node import Holding, VirtualNode
from shoal.inline.results import Result
from shoal.interfaces.engine import CallResult, Engine
from shoal.interfaces.refs import DynamicObjectRefGenerator, ObjectRef
from shoal.interfaces.scheduler import Scheduler
from shoal.serial import dump_error, dumps
from shoal.spec.calls import ExecutionContext
from shoal.spec.view import Demand, Infeasible, Placement


def nothing(record: Any) -> None:
    """Stand for on_drop: Python's own reference counts free results."""


class Core:
    """The state of one inline session. `lock` guards all of it; user code never runs under the lock."""

    def __init__(self, engine: Engine, config: Config, scheduler: Scheduler) -> None:
        self.engine = engine
        self.config = config
        self.node: VirtualNode = VirtualNode(config, scheduler)
        self.loop: LoopThread = LoopThread()
        self.lock: Any = threading.RLock()
        self.changed: threading.Condition = threading.Condition(self.lock)
        self.closed = False
        self.events: collections.deque[dict[str, Any]] = collections.deque(maxlen=config.timeline_events_max)
        self.namespace: str = config.namespace or os.urandom(8).hex()
        self.driver: ExecutionContext = ExecutionContext(
            job_id=JobID.from_random(),
            node_id=self.node.id,
            worker_id=WorkerID.from_random(),
            namespace=self.namespace,
            session_name=f"inline-{os.getpid()}",
            session_folder=config.temp_dir or "",
            address="inline",
            node_labels=self.node.labels,
            runtime_env=config.runtime_env,
        )
        self._count = 0
        self._turn = 0
        self._active: collections.Counter[object] = collections.Counter()
        self._todo: collections.deque[Callable[[], None]] = collections.deque()
        self._waiting_for_room: list[Callable[[], None]] = []

    # Names and references

    def new_task_id(self) -> bytes:
        """Return a task identifier of this process."""
        with self.lock:
            self._count += 1
            return bytes(self.driver.worker_id) + self._count.to_bytes(8, "big")

    def ref(self, result: Result) -> ObjectRef[Any]:
        """Return a new reference to a result."""
        return ObjectRef(result.id, self.engine, result, nothing)

    def add_result(self, call: Call) -> ObjectRef[Any]:
        """Give a call one more result."""
        result = Result(call.task_id + (len(call.results) + 1).to_bytes(4, "big"), call)
        call.results.append(result)
        return self.ref(result)

    def result_refs(self, call: Call) -> CallResult:
        """Give a call its results as num_returns says; a stream is made elsewhere."""
        count = call.num_returns if isinstance(call.num_returns, int) else 1
        refs = [self.add_result(call) for _ in range(count)]
        if count == 0:
            return None
        return refs[0] if count == 1 else refs

    # Finishing

    def finish(self, call: Call, value: Any) -> None:
        """Store what a call returned. Raises NotSerializable, and ValueError if the number does not fit."""
        count = call.num_returns
        if count == "dynamic":
            refs = []
            for index, item in enumerate(value):
                result = Result(call.task_id + (index + 2).to_bytes(4, "big"))
                result.fill(dumps(item, what=f"item {index} of {call.name}()"))
                refs.append(self.ref(result))
            value, count = DynamicObjectRefGenerator(refs), 1
        values: list[Any] = [value]
        if isinstance(count, int) and (count > 1 or hasattr(value, "__next__")):
            try:
                values = list(value)
            except TypeError:
                raise ValueError(
                    f"{call.name}() has num_returns={count} but returned {type(value).__name__}"
                ) from None
            if len(values) != count:
                raise ValueError(f"{call.name}() has num_returns={count} but returned {len(values)} values")
        elif count == 0:
            values = []
        payloads = [dumps(item, what=f"what {call.name}() returned") for item in values]
        with self.lock:
            for result, payload in zip(call.results, payloads, strict=False):
                if not result.done:
                    result.fill(payload)
            self._done(call)
        self.drain()

    def fail(self, call: Call, error: BaseException | bytes) -> None:
        """Store an error as every result that a call has not given yet."""
        data = (
            error
            if isinstance(error, bytes)
            else dump_error(error, call.name, os.getpid(), self.node.id.hex())
        )
        with self.lock:
            call.failed = True
            for result in call.results:
                if not result.done:
                    result.fail(data)
            if call.stream is not None:
                call.stream.abort(data)
            self._done(call)
        self.drain()

    def _done(self, call: Call) -> None:
        call.state = DONE
        for result in call.results:
            self._todo.extend(result.watchers)
            result.call, result.watchers = None, []
        # A finished call keeps nothing alive, and no cycle with its results: the last handle must end an actor.
        call.results, call.refs, call.waits_for, call.packed, call.children = [], (), (), b"", []
        self.changed.notify_all()

    def drain(self) -> None:
        """Do what has become possible, in order. Called after every change, without the lock."""
        while True:
            with self.lock:
                if not self._todo:
                    return
                function = self._todo.popleft()
            self.run_now(function)

    # Waiting

    def wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        """Wait until `done()` or time is up. With no limit also return False once nothing runs that could help."""
        deadline = None if timeout is None else time.monotonic() + timeout
        with self.changed:
            while not done():
                self.check_open()
                left = None if deadline is None else deadline - time.monotonic()
                if left is None and not self._others_run():
                    return False
                if left is not None and left <= 0:
                    return False
                self.changed.wait(left)
        return True

    def _others_run(self) -> bool:
        here = threading.current_thread()
        return any(key is not here for key in self._active)

    def check_open(self) -> None:
        """Raise NotInitialized once the session has ended."""
        if self.closed:
            raise NotInitialized("the session has ended; call shoal.init() to begin another")

    def when_done(self, refs: Iterable[ObjectRef[Any]], function: Callable[[], None]) -> bool:
        """Tell whether all are done; if not, run `function` when the first that is not done is."""
        with self.lock:
            for ref in refs:
                if not ref.record.done:
                    ref.record.watchers.append(function)
                    return False
            return True

    # Room

    def place(self, demand: Demand) -> Holding | None:
        """Return what the demand would hold if it fits now. Raises TaskUnschedulable and GroupGone."""
        with self.lock:
            decision, holding = self.node.decide(demand)
        if isinstance(decision, Placement):
            return holding
        if isinstance(decision, Infeasible) and self.config.infeasible == "error":
            raise TaskUnschedulable(decision.reason)
        return None

    def why_not(self, demand: Demand) -> str:
        """Say why a demand does not fit."""
        with self.lock:
            decision, _ = self.node.decide(demand)
        return "it fits now" if isinstance(decision, Placement) else decision.reason

    def when_room(self, function: Callable[[], None]) -> None:
        """Run `function` when something gave resources back."""
        with self.lock:
            self._waiting_for_room.append(function)

    def room_changed(self) -> None:
        """Try again all that waits for resources, in order. Called without the lock."""
        with self.lock:
            self._todo.extend(self._waiting_for_room)
            self._waiting_for_room = []
        self.drain()

    def next_turn(self) -> int:
        """Return a number that grows with every demand."""
        with self.lock:
            self._turn += 1
            return self._turn

    # Running

    def run_now(self, function: Callable[[], None]) -> None:
        """Run something that may be user code and may block: here, unless here is an event loop's thread.

        In the engine's own loop thread it goes to a thread of its own; in a user's, that thread is waited for.
        """
        if self.loop.here:
            self._in_thread(function)
        elif "asyncio" in sys.modules and sys.modules["asyncio"]._get_running_loop() is not None:
            thread = self._in_thread(function)
            thread.join()
        else:
            with self.active(threading.current_thread()):
                function()

    def _in_thread(self, function: Callable[[], None]) -> threading.Thread:
        scope = contextvars.copy_context()

        def body() -> None:
            try:
                scope.run(function)
            finally:
                self._leave(thread)

        thread = threading.Thread(target=body, name="shoal-inline", daemon=True)
        self._enter(thread)
        thread.start()
        return thread

    def active(self, key: object) -> _Active:
        """Count something as running, for those who wait."""
        return _Active(self, key)

    def _enter(self, key: object) -> None:
        with self.lock:
            self._active[key] += 1

    def _leave(self, key: object) -> None:
        with self.changed:
            self._active[key] -= 1
            if not self._active[key]:
                del self._active[key]
            self.changed.notify_all()

    def note(self, call: Call, started: float) -> None:
        """Record that one attempt ran."""
        self.events.append(
            {
                "name": call.name,
                "cat": "task" if call.actor is None else "actor",
                "ph": "X",
                "ts": started * 1e6,
                "dur": (time.time() - started) * 1e6,
                "pid": os.getpid(),
                "tid": threading.get_ident(),
                "args": {
                    "task_id": call.task_id.hex(),
                    "attempt": call.attempt,
                    "failed": call.failed,
                },
            }
        )

    # Turns: only where the order is explored

    def turn(self, refs: Sequence[ObjectRef[Any]] = ()) -> None:
        """Let others go first, where the order is explored. `refs` are what the caller is about to wait for."""

    def order(self) -> tuple[str, ...]:
        """Return who had a turn, in order; nothing where everything runs as it is called."""
        return ()

    def stuck(self) -> list[str]:
        """Return what else to say of a wait that can never end, a line each."""
        return []

    def end_turns(self) -> None:
        """Let everything that has begun come to its end."""

    def here(self) -> ExecutionContext:
        """Return where the calling code runs."""
        call = running.get()
        return self.driver if call is None or call.context is None else call.context


class _Active:
    __slots__ = ("_core", "_key")

    def __init__(self, core: Core, key: object) -> None:
        self._core, self._key = core, key

    def __enter__(self) -> None:
        self._core._enter(self._key)

    def __exit__(self, *exc: object) -> None:
        self._core._leave(self._key)
