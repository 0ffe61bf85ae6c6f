"""A worker of the model: executes tasks, or is one actor."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from shoal.sim.cluster.work import INLINE
from shoal.sim.network import Connection
from shoal.sim.process import Process

if TYPE_CHECKING:
    from shoal.sim.cluster.daemon import Daemon

CONSTRUCTION = 0.02  # seconds that an actor's constructor takes


class Worker(Process):
    """One worker process. It serves one lease at a time, or one actor for its whole life."""

    def __init__(self, daemon: Daemon, name: str) -> None:
        super().__init__(daemon.network, daemon.computer, name)
        self.daemon = daemon
        self.truth = daemon.truth
        self.lease_id = 0
        self.is_for_actor = False
        self.actor = b""
        self.incarnation = 0
        self._queue: deque[tuple[Connection, Any]] = deque()
        self._busy = False

    def construct(self, actor: bytes, incarnation: int) -> None:
        """Become an actor."""
        self.actor, self.incarnation = actor, incarnation
        self.after(CONSTRUCTION, self._constructed)

    def _constructed(self) -> None:
        self.truth.actor_lives(self.actor, self.name, self.incarnation)
        self.daemon.actor_ready(self)

    def lost(self) -> None:
        if self.actor:
            self.truth.actor_gone(self.actor, self.name)
        self._queue.clear()
        self.daemon.worker_died(self)

    def received(self, end: Connection, message: Any) -> None:
        self._queue.append((end, message))
        self._next()

    def _next(self) -> None:
        if self._busy or not self._queue:
            return
        end, message = self._queue.popleft()
        self._busy = True
        _, name, attempt, seconds, result_bytes, arguments = message
        late = 0.0
        for argument, size, place in arguments:
            took = self.daemon.fetch_seconds(argument, size, place)
            if took is None:
                self._busy = False
                end.send(("lost", name, attempt, argument, place))
                self._next()
                return
            late = max(late, took)
        self.after(late, self._execute, end, name, attempt, seconds, result_bytes)

    def _execute(self, end: Connection, name: str, attempt: int, seconds: float, result_bytes: int) -> None:
        self.truth.begun(name)
        self.world.note("execute", name, attempt, self.name)
        self.after(seconds, self._done, end, name, attempt, result_bytes)

    def _done(self, end: Connection, name: str, attempt: int, result_bytes: int) -> None:
        self._busy = False
        place = ""
        if result_bytes > INLINE:
            place = self.daemon.name
            self.daemon.objects[name] = result_bytes
        end.send(("done", name, attempt, result_bytes, place, self.daemon.id))
        self._next()
