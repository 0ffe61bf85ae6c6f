"""The state of one simulated session: the world, its nodes, what runs where and which objects lie where."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import attrs

from shoal.config import Config
from shoal.errors import NotInitialized
from shoal.ids import NodeID
from shoal.inline.calls import DONE, Call, running
from shoal.inline.core import Core
from shoal.inline.results import PENDING, READY, Result
from shoal.interfaces.engine import Engine
from shoal.interfaces.refs import ObjectRef
from shoal.interfaces.scheduler import Scheduler
from shoal.serial import Payload
from shoal.sim.nodes import NodeHolding, VirtualCluster, process_of
from shoal.sim.stage import Interrupted, Stage
from shoal.sim.world import World

_SLICE = 0.02  # seconds of real time between two looks of whoever waits for another thread


class Located(Result):
    """An object that lies on nodes, and knows which call made it, so that it can be made again."""

    __slots__ = ("lineage", "places")

    def __init__(self, object_id: bytes, call: Any = None) -> None:
        super().__init__(object_id, call)
        self.places: set[NodeID] = set()  # empty: in its owner's memory, which outlives all nodes
        self.lineage: Call | None = None

    def reset(self, call: Call) -> None:
        """Be pending again, until a call has made it once more."""
        self.state, self.packed, self.refs, self.call = PENDING, b"", (), call

    @property
    def size(self) -> int:
        """How many bytes it has."""
        return len(self.packed)


@attrs.define(eq=False)
class Run:
    """One call that holds its place on a node."""

    call: Call
    holding: NodeHolding
    waits: int = 0  # how deep it is in waiting: what it holds is free meanwhile

    @property
    def node_id(self) -> NodeID:
        """Where it runs."""
        return self.holding.node_id


class SimCore(Core):
    """What tasks, actors and the engine share. Virtual time moves while somebody waits, and at no other time."""

    def __init__(
        self, engine: Engine, config: Config, scheduler: Scheduler, world: World, cluster: VirtualCluster
    ) -> None:
        super().__init__(engine, config, scheduler)
        self.world = world
        self.stage: Stage = Stage(world)
        self.cluster = cluster
        self.node = cluster
        self.driver = attrs.evolve(
            self.driver, node_id=cluster.id, session_name=process_of(config), address="sim"
        )
        self.runs: dict[Call, Run] = {}
        self.objects: dict[NodeID, weakref.WeakSet[Located]] = {}
        self.bandwidth = 1.25e9  # bytes a second into one node
        self.bytes_moved = 0
        self.retries = 0
        self.called = time.monotonic()  # when the program last called, in real time
        self._pump = threading.RLock()

    # Objects

    def add_result(self, call: Call) -> ObjectRef[Any]:
        result = Located(call.task_id + (len(call.results) + 1).to_bytes(4, "big"), call)
        call.results.append(result)
        return self.ref(result)

    def put(self, result: Located, payload: Payload) -> None:
        """Keep what put() was given, where the caller runs."""
        result.fill(payload)
        run = self.runs.get(running.get())  # type: ignore[arg-type]
        if run is not None:
            self.locate(result, run.node_id)

    def locate(self, result: Located, node_id: NodeID) -> None:
        """Say that a copy lies on a node, if the object is too large for messages."""
        if result.size > self.config.inline_object_max_bytes:
            result.places.add(node_id)
            self.objects.setdefault(node_id, weakref.WeakSet()).add(result)

    def _done(self, call: Call) -> None:
        run = self.runs.get(call)
        for result in call.results:
            if run is not None and isinstance(result, Located) and result.state == READY:
                self.locate(result, run.node_id)
                if result.places and call.actor is None:
                    result.lineage = self._copy(call, result)
        super()._done(call)

    def _copy(self, call: Call, result: Located) -> Call:
        """Return the call as it can be made once more, for this one result."""
        again = attrs.evolve(call)
        again.results, again.state, again.children = [], "QUEUED", []
        again.context = None
        return again

    # Waiting

    def wait_until(self, done: Callable[[], bool], timeout: float | None) -> bool:
        if self.stage.here() is not None:
            return self._wait_on_stage(done, timeout)
        if timeout is not None and timeout <= 0:
            self._pump_events(done, self.world.now)
            return done()
        return self._wait_outside(done, timeout)

    def _wait_on_stage(self, done: Callable[[], bool], timeout: float | None) -> bool:
        self.check_open()
        if done():
            return True
        call = running.get()
        run = self.runs.get(call) if call is not None else None
        if run is not None:
            self._hold(run, waits=True)
        try:
            answer = self.stage.wait(lambda: self.closed or done(), timeout)
        finally:
            if run is not None:
                self._hold(run, waits=False)
        self.check_open()
        return answer

    def _hold(self, run: Run, waits: bool) -> None:
        """A call that waits lends what it holds to others, as a worker that blocks does."""
        with self.lock:
            run.waits += 1 if waits else -1
            if waits and run.waits == 1:
                self.cluster.give_back(run.holding)
            elif not waits and run.waits == 0:
                self.cluster.take(run.holding)
        if waits:
            self.room_changed()

    def _wait_outside(self, done: Callable[[], bool], timeout: float | None) -> bool:
        deadline = None if timeout is None else self.world.now + timeout
        while not done():
            self.check_open()
            if self._pump.acquire(blocking=False):
                try:
                    self._pump_events(done, deadline)
                    if done():
                        return True
                    if not self._others_run():
                        if deadline is not None:
                            self.world.now = max(self.world.now, deadline)
                            return done()
                        if self.stage.give_up():
                            continue
                        return done()
                finally:
                    self._pump.release()
            if deadline is not None and self.world.now >= deadline:
                return done()
            with self.changed:
                if not done():
                    self.changed.wait(_SLICE)  # another thread moves the world, or an event loop computes
        return True

    def _pump_events(self, done: Callable[[], bool], deadline: float | None) -> None:
        """Let the world go on until something holds, it is later than a time, or nothing is to come."""
        world, stage = self.world, self.stage
        with self._pump:
            while not done() and not self.closed:
                if stage.move():
                    continue
                following = world.next_time
                if following is None or (deadline is not None and following > deadline):
                    break
                world.step()

    def pump_while_quiet(self) -> None:
        """Let the world go on for a program that waits by other means than ours."""
        if self._pump.acquire(blocking=False):
            try:
                self._pump_events(lambda: False, None)
            finally:
                self._pump.release()

    def _others_run(self) -> bool:
        return any(isinstance(key, Call) for key in self._active)

    # Running

    def run_now(self, function: Callable[[], None]) -> None:
        """Run what may be user code, on the stage: it ends or waits before this returns."""
        if self.closed:
            return
        if self.stage.here() is not None:
            function()  # it is on the stage already
        elif self.loop.here:
            self._in_thread(lambda: self.run_now(function))
        else:
            with self._pump:
                self.stage.enter(lambda: self._play(function), None)

    def play(self, function: Callable[[], None], run: Run) -> None:
        """Run a call that holds its place, on the stage. Only as an event of the world."""
        if not self.closed:
            self.stage.enter(lambda: self._play(function), run)

    def _play(self, function: Callable[[], None]) -> None:
        # Its node died, or the session ended: whoever ended it sees to its call.
        with contextlib.suppress(Interrupted, NotInitialized):
            function()

    def drain(self) -> None:
        """Do what has become possible, in order. None of it is user code: that waits for an event of its own."""
        while True:
            with self.lock:
                if not self._todo:
                    return
                function = self._todo.popleft()
            function()

    def note_virtual(self, call: Call, started: float, node_id: NodeID) -> None:
        """Record for the timeline that one attempt ran, in virtual time."""
        self.events.append(
            {
                "name": call.name,
                "cat": "task" if call.actor is None else "actor",
                "ph": "X",
                "ts": started * 1e6,
                "dur": (self.world.now - started) * 1e6,
                "pid": self.cluster.number(node_id),
                "tid": 0,
                "args": {"task_id": call.task_id.hex(), "attempt": call.attempt},
            }
        )

    def end(self) -> None:
        """Let everything on the stage end."""
        while self.stage.waiting:
            self.stage.interrupt(lambda place: True)


__all__ = ["DONE", "PENDING", "Located", "Run", "SimCore"]
