"""Which objects a node copies from others now, and which wait: deduplicated, bounded in number and bytes.

An object is asked for by any number of waiters and copied once. As many copies run at a time as `slots` allow and as
fit into `room` bytes; what is small enough goes before what waits for room, so that a node that is nearly full goes on
with what fits, and one object always runs, however large it is. When a source fails the next one is tried.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

import attrs

_AGAIN = 4
Waiter = tuple[bytes, int]  # process, number of its request


@attrs.define(eq=False)
class Pull:
    """One object on its way, or waiting to be."""

    object_id: bytes
    size: int  # bytes
    sources: list[int]  # numbers of nodes to try, the first one first
    waiters: list[Waiter] = attrs.field(factory=list)
    tried: list[str] = attrs.field(factory=list)  # why each source failed
    source: int = 0  # of the running attempt
    running: bool = False
    failures: int = 0  # of attempts that may be made again


@attrs.frozen
class StartPull:
    """Copy the object from that node; answer with `finished`."""

    object_id: bytes
    size: int
    source: int


@attrs.frozen
class EndPull:
    """Tell the waiters: the object is here (`reason` is empty), or cannot be had."""

    object_id: bytes
    waiters: tuple[Waiter, ...]
    reason: str


PullEffect = StartPull | EndPull


class Pulls:
    """All copies of one node. Every event method returns its effects."""

    def __init__(self, slots: int, room: int) -> None:
        self.slots = slots
        self.room = room  # bytes that may be on their way at once
        self._pulls: OrderedDict[bytes, Pull] = OrderedDict()
        self._running = 0
        self._bytes = 0

    def want(self, object_id: bytes, size: int, sources: Iterable[int], waiter: Waiter) -> list[PullEffect]:
        """Somebody waits for an object."""
        pull = self._pulls.get(object_id)
        if pull is None:
            pull = self._pulls[object_id] = Pull(object_id, size, [])
        pull.waiters.append(waiter)
        for source in sources:
            if source not in pull.sources and not (pull.running and source == pull.source):
                pull.sources.append(source)
        if not pull.sources and not pull.running:
            return self._end(pull, "no node is known that has it")
        return self._start()

    def finished(self, object_id: bytes, reason: str, passing: bool = False) -> list[PullEffect]:
        """An attempt is over: the object is here (`reason` is empty), or the source could not give it.

        A `passing` failure (a connection that broke) says nothing of the object: the source is tried a few times more.
        """
        pull = self._pulls[object_id]
        assert pull.running
        self._running -= 1
        self._bytes -= pull.size
        pull.running = False
        if not reason:
            return [*self._end(pull, ""), *self._start()]
        pull.tried.append(f"node {pull.source}: {reason}")
        pull.failures += passing
        if passing and pull.failures <= _AGAIN:
            pull.sources.append(pull.source)
        if not pull.sources:
            return [*self._end(pull, "; ".join(pull.tried)), *self._start()]
        return self._start()

    def forget_client(self, client: bytes) -> None:
        """A process has gone, whose waiters are (client, …). What nobody waits for and has not begun is dropped."""
        for pull in list(self._pulls.values()):
            pull.waiters = [waiter for waiter in pull.waiters if waiter[0] != client]
            if not pull.waiters and not pull.running:
                del self._pulls[pull.object_id]

    def _start(self) -> list[PullEffect]:
        effects: list[PullEffect] = []
        for pull in self._pulls.values():
            if self._running >= self.slots:
                break
            if pull.running or (self._running and self._bytes + pull.size > self.room):
                continue
            pull.running = True
            pull.source = pull.sources.pop(0)
            self._running += 1
            self._bytes += pull.size
            effects.append(StartPull(pull.object_id, pull.size, pull.source))
        return effects

    def _end(self, pull: Pull, reason: str) -> list[PullEffect]:
        del self._pulls[pull.object_id]
        return [EndPull(pull.object_id, tuple(pull.waiters), reason)]

    # Views

    @property
    def waiting(self) -> int:
        """How many objects have not begun."""
        return len(self._pulls) - self._running

    def validate(self) -> None:
        """Raise AssertionError if the book contradicts itself."""
        running = [pull for pull in self._pulls.values() if pull.running]
        assert len(running) == self._running <= self.slots
        assert sum(pull.size for pull in running) == self._bytes
        assert self._bytes <= self.room or self._running == 1
        assert all(pull.sources or pull.running for pull in self._pulls.values())
        assert not self._pulls or self._running, "something waits while nothing runs"
