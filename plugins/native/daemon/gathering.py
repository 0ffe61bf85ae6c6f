"""Questions to every process of every node; who does not answer in time is named."""

from __future__ import annotations

import itertools
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import attrs
import msgspec

from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_PROCESS_SECONDS = 3.0
_NODE_SECONDS = 5.0  # longer, so that a node with a silent process answers in time

Report = dict[str, Any]
Have = dict[str, int] | None  # what who asks has already, in the words of the question


@attrs.define(eq=False)
class _Answers:
    """Answers that are on their way: `waiting` are processes (bytes) and nodes (numbers)."""

    then: Callable[[list[Report], list[Report]], None]
    waiting: set[bytes | int]
    processes: list[Report] = attrs.field(factory=list)
    nodes: list[Report] = attrs.field(factory=list)


class Gathering(ABC):
    """One kind of question. Called with the lock held."""

    to_process: ClassVar[int]  # kinds of its messages
    to_node: ClassVar[int]
    from_node_kind: ClassVar[int]
    silent_process: ClassVar[Report]  # what stands in the place of an answer that did not come

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._numbers = itertools.count(1)
        self._gatherings: dict[int, _Answers] = {}

    @abstractmethod
    def own(self, processes: list[Report], have: Have = None) -> Report:
        """Return this node's answer, made of those of its processes."""

    def ask(self, client: bytes, request: int, have: Have = None) -> None:
        """A process wants to know of the whole cluster; it gets a reply: one report a node."""
        daemon = self._daemon
        number = next(self._numbers)

        def answer(processes: list[Report], nodes: list[Report]) -> None:
            reports = sorted([self.own(processes, have), *nodes], key=lambda report: int(report["number"]))
            daemon.tell(client, [kinds.REPLY, request, True, reports])

        question = [self.to_node, number] if have is None else [self.to_node, number, have]
        others = [other for other in daemon.nodes.living() if daemon.nodes.send(other, question)]
        self._gather(number, answer, others, _NODE_SECONDS)

    def asked(self, node: int, number: int, have: Have = None) -> None:
        """Another node wants to know of this one."""

        def answer(processes: list[Report], nodes: list[Report]) -> None:
            packed = msgspec.msgpack.encode(self.own(processes, have))
            self._daemon.nodes.send(node, [self.from_node_kind, number, packed])

        self._gather(next(self._numbers), answer, [], _PROCESS_SECONDS)

    def _gather(
        self,
        number: int,
        then: Callable[[list[Report], list[Report]], None],
        nodes: list[int],
        seconds: float,
    ) -> None:
        daemon = self._daemon
        for client in daemon.clients.values():
            daemon.reactor.send(client.connection, [self.to_process, number])
        self._gatherings[number] = _Answers(then, {*daemon.clients, *nodes})
        daemon.call_later(seconds, lambda: self._finish(number))
        self._finish_if_whole(number)

    def from_process(self, client: bytes, number: int, packed: bytes) -> None:
        """A process of this node answers."""
        gathering = self._gatherings.get(number)
        if gathering is not None and client in gathering.waiting:
            gathering.waiting.discard(client)
            gathering.processes.append({**self._facts(client), **msgspec.msgpack.decode(packed)})
            self._finish_if_whole(number)

    def from_node(self, node: int, number: int, packed: bytes) -> None:
        """Another node answers for its processes."""
        gathering = self._gatherings.get(number)
        if gathering is not None and node in gathering.waiting:
            gathering.waiting.discard(node)
            gathering.nodes.append(msgspec.msgpack.decode(packed))
            self._finish_if_whole(number)

    def process_gone(self, client: bytes) -> None:
        """A process of this node has ended: it has nothing to say."""
        for number, gathering in list(self._gatherings.items()):
            gathering.waiting.discard(client)
            self._finish_if_whole(number)

    def _finish_if_whole(self, number: int) -> None:
        if not self._gatherings[number].waiting:
            self._finish(number)

    def _finish(self, number: int) -> None:
        gathering = self._gatherings.pop(number, None)
        if gathering is None:
            return
        for silent in gathering.waiting:
            if isinstance(silent, bytes):
                gathering.processes.append({**self._facts(silent), "silent": True, **self.silent_process})
            else:
                gathering.nodes.append({"number": silent, "silent": True, "processes": []})
        gathering.then(gathering.processes, gathering.nodes)

    def _facts(self, client_id: bytes) -> Report:
        client = self._daemon.clients.get(client_id)
        worker = self._daemon.pool.workers.get(client_id)
        return {
            "process": client_id,
            "kind": "" if client is None else client.kind,
            "pid": 0 if client is None else client.pid,
            "label": "" if worker is None else worker.label,
        }
