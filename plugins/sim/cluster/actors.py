"""The actors of one driver of the model: calls in order, sent again as far as they may."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from shoal.sim.cluster.work import ActorWork
from shoal.sim.network import Connection
from shoal.spec.resources import ResourceSet
from shoal.spec.view import Demand

if TYPE_CHECKING:
    from shoal.sim.cluster.driver import Driver

_RECONNECT = 0.5  # seconds until a worker that could not be reached is tried again


@attrs.define(eq=False)
class Owned:
    """One actor as its owner sees it."""

    work: ActorWork
    actor_id: bytes
    created: bool = False
    state: str = "PENDING"
    worker: str = ""
    end: Connection | None = None
    ending: bool = False  # the head was told that it is needed no more
    attempts: dict[str, int] = attrs.field(factory=dict)  # unfinished calls, in order
    sent: set[str] = attrs.field(factory=set)  # of those, what went over the present connection


class OwnedActors:
    """Creates actors, calls them, and ends each once its calls have ended."""

    def __init__(self, driver: Driver, works: tuple[ActorWork, ...]) -> None:
        self._driver = driver
        self._actors: dict[bytes, Owned] = {}
        for number, work in enumerate(works):
            actor_id = driver.client + number.to_bytes(8, "big")
            calls = {f"{work.name}.{each}": 0 for each in range(work.calls)}
            self._actors[actor_id] = Owned(work, actor_id, attempts=calls)

    def begin(self) -> None:
        """Create each when its time has come."""
        for owned in self._actors.values():
            self._driver.after(owned.work.create_at, self._create, owned)

    def finished(self) -> bool:
        """Tell whether all calls have ended and no actor lives."""
        return all(owned.state == "DEAD" and not owned.attempts for owned in self._actors.values())

    def unfinished(self) -> list[str]:
        """Say what has not ended."""
        return [
            f"{owned.work.name} {owned.state} with {len(owned.attempts)} calls"
            for owned in self._actors.values()
            if owned.state != "DEAD" or owned.attempts
        ]

    def _create(self, owned: Owned) -> None:
        owned.created = True
        self._say(owned)

    def say_all(self) -> None:
        """The head is there (again): tell it everything that it may not know."""
        for owned in self._actors.values():
            if owned.created and owned.state != "DEAD":
                self._say(owned)

    def _say(self, owned: Owned) -> None:
        head = self._driver.head
        if head is None:
            return
        if not owned.attempts:
            head.send(("kill_actor", self._driver.client, owned.actor_id))
            return
        demand = Demand(resources=ResourceSet.of(CPU=owned.work.cpus))
        head.send(("create_actor", self._driver.client, owned.actor_id, demand, owned.work.max_restarts))

    def hear(self, actor: bytes, state: str, worker: str) -> None:
        """The head tells an actor's state."""
        owned = self._actors[actor]
        if owned.state == "DEAD":
            return
        owned.state = state
        if state == "DEAD":
            owned.worker = ""
            for name in list(owned.attempts):
                self._end_call(owned, name, "actor died")
        elif state == "ALIVE" and worker != owned.worker:
            owned.worker = worker
            self._drop_connection(owned)
            self._connect(owned)
        if not owned.attempts and state == "ALIVE" and not owned.ending:
            owned.ending = True
            self._say(owned)

    def _connect(self, owned: Owned) -> None:
        if owned.state == "ALIVE" and owned.worker and owned.end is None and owned.attempts:
            self._driver.connect(owned.worker)

    def connected(self, end: Connection) -> bool:
        """Take a connection to a worker, if it is one that an actor lives in."""
        for owned in self._actors.values():
            if owned.worker == end.other.name and owned.end is None and owned.state == "ALIVE":
                owned.end = end
                owned.sent = set()
                for name in owned.attempts:
                    self._send(owned, name)
                return True
        return False

    def _send(self, owned: Owned, name: str) -> None:
        owned.attempts[name] += 1
        owned.sent.add(name)
        assert owned.end is not None
        owned.end.send(("run", name, owned.attempts[name], owned.work.call_seconds, 10, ()))

    def refused(self, worker: str) -> None:
        """A worker could not be reached: it is tried until the head says that the actor is elsewhere."""
        for owned in self._actors.values():
            if owned.worker == worker:
                self._driver.after(_RECONNECT, self._connect, owned)

    def closed(self, end: Connection) -> None:
        """A connection to an actor is over: what was sent may have been executed."""
        for owned in self._actors.values():
            if owned.end is end:
                self._drop_connection(owned)
                self._driver.after(_RECONNECT, self._connect, owned)
                if not owned.attempts:
                    owned.ending = True
                    self._say(owned)

    def _drop_connection(self, owned: Owned) -> None:
        end, owned.end = owned.end, None
        if end is None:
            return
        end.close()
        for name in [name for name in owned.attempts if name in owned.sent]:
            if owned.attempts[name] > owned.work.max_task_retries:
                self._end_call(owned, name, "actor unavailable")

    def done(self, end: Connection, name: str) -> bool:
        """Hear the end of a call; False if it is not one of an actor."""
        for owned in self._actors.values():
            if owned.end is end:
                if name in owned.attempts:
                    self._end_call(owned, name, "done")
                if not owned.attempts:
                    owned.ending = True
                    self._say(owned)
                return True
        return False

    def _end_call(self, owned: Owned, name: str, outcome: str) -> None:
        del owned.attempts[name]
        self._driver.truth.ended(name, outcome)
