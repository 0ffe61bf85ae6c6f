"""A world of processes in memory: real `Objects`, `Tasks` and `NativeEngine`, with queues in the place of sockets.

Each ordered pair of processes has one queue, as a connection has; which queue is served next is the test's choice.
What is faked is as wide as the protocol needs: peers, reactor, store.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections import deque
from types import SimpleNamespace
from typing import Any

from shoal.config import Config
from shoal.errors import WorkerCrashed
from shoal.interfaces.refs import ObjectRef
from shoal.native.client import arguments
from shoal.native.client.functions import SINGLE
from shoal.native.client.objects import Objects
from shoal.native.client.peers import Peer
from shoal.native.client.recording import Recorder
from shoal.native.client.records import Task
from shoal.native.client.tasks import Tasks
from shoal.native.client.values import decode
from shoal.native.engine import NativeEngine
from shoal.native.wire import kinds
from shoal.native.worker import calls
from shoal.serial import dump_error

_HELLO, _CALL, _END = "hello", "call", "end"
_MANY_TIMES = 10_000


class FakeReactor:
    """Gathers as the real one does; `flush` is called by the world."""

    def __init__(self) -> None:
        self.lock = contextlib.nullcontext()
        self.gatherers: list[Any] = []
        self.pending = False

    def nudge(self) -> None:
        """The world flushes when the test says so."""

    def flush(self) -> None:
        while self.pending:
            self.pending = False
            for gather in self.gatherers:
                gather()


class SharedStore:
    """The node's store: one dictionary for all processes."""

    def __init__(self) -> None:
        self.objects: dict[bytes, bytearray] = {}

    def create(self, object_id: bytes, size: int) -> memoryview:
        assert object_id not in self.objects, "made twice"
        self.objects[object_id] = bytearray(size)
        return memoryview(self.objects[object_id])

    def seal(self, object_id: bytes) -> None:
        assert object_id in self.objects

    def abort(self, object_id: bytes) -> None:
        del self.objects[object_id]

    def get(self, object_id: bytes) -> memoryview | None:
        found = self.objects.get(object_id)
        return None if found is None else memoryview(bytes(found))

    def contains(self, object_id: bytes) -> bool:
        return object_id in self.objects

    def delete(self, object_id: bytes) -> None:
        self.objects.pop(object_id, None)


class FakePeers:
    """Peers over the world's queues. A process that was never greeted is not known, as with real connections."""

    in_cluster = False

    def __init__(self, process: Process) -> None:
        self._process = process
        self._peers: dict[bytes, Peer] = {}

    def get(self, worker_id: bytes) -> Peer:
        peer = self._peers.get(worker_id)
        if peer is None:
            peer = self._peers[worker_id] = Peer(worker_id)
            me, world = self._process.worker_id, self._process.world
            if worker_id in world.processes:
                world.queue(me, worker_id).append([_HELLO])
            else:
                world.queue(worker_id, me).append([_END])  # nobody listens there
        return peer

    def find(self, worker_id: bytes) -> Peer | None:
        return self._peers.get(worker_id)

    def send(self, peer: Peer, message: list[Any]) -> None:
        self._process.world.send(self._process.worker_id, peer.worker_id, message)

    def lost(self, worker_id: bytes) -> Peer | None:
        peer = self._peers.pop(worker_id, None)
        if peer is not None:
            peer.gone = True
        return peer

    def living(self) -> list[bytes]:
        return list(self._peers)


class Process:
    """One process. It stands for its client as well as for its worker; `held` is what its program holds."""

    def __init__(self, world: World, number: int) -> None:
        self.world = world
        self.worker_id = bytes([number]) * 8
        self.process = os.getpid()
        self.inline_max = 128
        self.records_call_sites = False
        self.call_sites: dict[bytes, str] = {}
        self.broken = None
        self.deaths: dict[bytes, Any] = {}
        self.counters = itertools.count(1)
        self.depth = 0
        self.events: deque[Any] = deque(maxlen=1)
        self.reactor = FakeReactor()
        self.config = Config(event_log_max_bytes=0)
        self.recorder = Recorder(self)  # type: ignore[arg-type]
        self.recorder.armed = True  # no timer runs here, and nothing is written
        self.peers = FakePeers(self)
        self.store = world.store
        self.objects = Objects(self)  # type: ignore[arg-type]
        self.tasks = Tasks(self)  # type: ignore[arg-type]
        self.actors = SimpleNamespace(call=None)
        self.engine = NativeEngine(self)  # type: ignore[arg-type]
        self.held: list[ObjectRef[Any]] = []
        self.todo: deque[tuple[Peer, list[Any]]] = deque()
        self.client = self
        self.node_hex = "node"
        self.observing = None
        self._answering: list[Peer] = []
        self.reactor.gatherers.append(self._send_answers)
        self._handlers = {
            kinds.RESULTS: self.tasks.on_results,
            kinds.FETCH: self.objects.on_fetch,
            kinds.VALUES: self.objects.on_values,
            kinds.RELEASE: self.objects.on_release,
            kinds.ADD_BORROWER: self.objects.on_add_borrower,
            kinds.DELETE: self.objects.on_delete,
            kinds.LOST: self.objects.on_lost,
            kinds.FREE: self.objects.on_free,
            _CALL: lambda peer, message: self.todo.append((peer, message[1])),
        }

    # What Objects and Tasks ask of their client

    def object_id(self, counter: int, index: int) -> bytes:
        return self.worker_id + counter.to_bytes(8, "big") + index.to_bytes(4, "big")

    def certificate_of(self, worker_id: bytes) -> None:
        return None

    def on_released(self, record: Any) -> None:
        """No object here is an actor's lifetime."""

    # As a caller

    def put(self, refs: list[ObjectRef[Any]], large: bool) -> None:
        made = self.engine.put(_value(refs, large))
        self.world.contains(made.binary(), refs)
        self.held.append(made)

    def call(
        self, callee: bytes, direct: list[ObjectRef[Any]], nested: list[ObjectRef[Any]], large: bool
    ) -> None:
        method = SimpleNamespace(
            name="method", mode=SINGLE, count=1, retry_exceptions=False, max_retries=0, klass=None
        )
        task = arguments.make_task(self, method, None, (_value(nested, large), *direct), {})  # type: ignore[arg-type]
        self.held.append(self.tasks.make_returns(task, method))
        if task.slots is None or arguments.resolve(self, task, lambda task: self._send(callee, task)):  # type: ignore[arg-type]
            self._send(callee, task)

    def _send(self, callee: bytes, task: Task) -> None:
        failed = arguments.failed_argument(task)
        if failed is not None:
            self.tasks.finish_with_error(task, failed.payload)
            return
        peer = self.peers.get(callee)
        peer.inflight[task.counter] = task
        task.peer = peer
        extra = arguments.extra_for(self, task)  # type: ignore[arg-type]
        self.peers.send(peer, [_CALL, [task.counter, task.payload, extra]])

    def get(self, ref: ObjectRef[Any]) -> None:
        """Take what is inside a value, or ask for the value."""
        record = ref.record
        if record.status is None:
            self.objects.want([record])
        elif record.status != kinds.ERROR:
            self.held += decode(self, record)["refs"]  # type: ignore[arg-type]

    # As a worker

    def run(self, keep: int, give: int, hand_over: int, own: bool, large: bool) -> None:
        """Run the call that came first: keep some of its references, return others, or what was kept before."""
        peer, (counter, payload, extra) = self.todo.popleft()
        try:
            args, _, ids = calls.load_arguments(self, payload, extra)  # type: ignore[arg-type]
        except calls.ArgumentLost as error:
            calls.send_error(self, peer, counter, 0.0, error, "method", None)  # type: ignore[arg-type]
            return
        found = [ref for value in args for ref in value["refs"]]
        args = None
        self.held += found[:keep]
        returned = found[len(found) - give :] if give else []
        returned += self.held[:hand_over]
        del self.held[:hand_over]
        if own:
            returned.append(self.engine.put(_value([], large)))
        result = peer.worker_id + counter.to_bytes(8, "big") + bytes(4)
        returned = [ref for ref in returned if not self.world.leads_to(ref.binary(), result)]
        self.world.contains(result, returned)
        del found
        value = _value(returned, large)
        del returned
        calls.send_value(self, peer, counter, 0.0, value, SINGLE, 1, ids, "method")  # type: ignore[arg-type]

    def answer(self, peer: Peer, item: list[Any]) -> None:
        if not peer.results:
            self._answering.append(peer)
            self.reactor.pending = True
        peer.results.append(item)

    def _send_answers(self) -> None:
        answering, self._answering = self._answering, []
        for peer in answering:
            results, peer.results = peer.results, []
            if results:
                self.peers.send(peer, [kinds.RESULTS, results])

    # Messages

    def receive(self, sender: bytes, message: list[Any]) -> None:
        if message[0] == _HELLO:
            self.peers.get(sender)
        elif message[0] == _END:
            self._peer_gone(sender)
        else:
            peer = self.peers.find(sender)
            assert peer is not None, "a message without a connection"
            self._handlers[message[0]](peer, message)

    def _peer_gone(self, worker_id: bytes) -> None:
        peer = self.peers.lost(worker_id)
        if peer is None:
            return
        for task in list(peer.inflight.values()):
            self.tasks.finish_with_error(task, dump_error(WorkerCrashed("gone"), "method"))
        peer.inflight.clear()
        self.todo = deque(call for call in self.todo if call[0] is not peer)
        self.objects.on_peer_gone(peer)


class World:
    """All processes and the queues between them."""

    def __init__(self, count: int) -> None:
        self.queues: dict[tuple[bytes, bytes], deque[list[Any]]] = {}
        self.processes: dict[bytes, Process] = {}
        self.store = SharedStore()
        for number in range(1, count + 1):
            process = Process(self, number)
            self.processes[process.worker_id] = process
        self.killed = 0
        self._inside: dict[bytes, list[bytes]] = {}  # object → those that its value refers to

    def contains(self, object_id: bytes, refs: list[ObjectRef[Any]]) -> None:
        self._inside[object_id] = [ref.binary() for ref in refs]

    def leads_to(self, object_id: bytes, other: bytes) -> bool:
        """Whether an object is another, or refers to it in the end: counting references never frees a circle."""
        seen, found = set(), [object_id]
        while found:
            here = found.pop()
            if here == other:
                return True
            if here not in seen:
                seen.add(here)
                found += self._inside.get(here, [])
        return False

    def queue(self, sender: bytes, receiver: bytes) -> deque[list[Any]]:
        return self.queues.setdefault((sender, receiver), deque())

    def send(self, sender: bytes, receiver: bytes, message: list[Any]) -> None:
        if receiver in self.processes:
            self.queue(sender, receiver).append(message)

    def waiting(self) -> list[tuple[bytes, bytes]]:
        return [link for link, queue in self.queues.items() if queue and link[1] in self.processes]

    def deliver(self, link: tuple[bytes, bytes]) -> None:
        sender, receiver = link
        self.processes[receiver].receive(sender, self.queues[link].popleft())

    def kill(self, worker_id: bytes) -> None:
        """What it has sent arrives, then the end of its connections; what it was about to send does not."""
        process = self.processes.pop(worker_id)
        self.killed += 1
        for link in list(self.queues):
            if link[1] == worker_id:
                del self.queues[link]
        for other in self.processes.values():
            if other.peers.find(worker_id) is not None or self.queues.get((worker_id, other.worker_id)):
                self.queue(worker_id, other.worker_id).append([_END])
        process.held.clear()
        process.todo.clear()

    def settle(self) -> None:
        """Run every call, deliver every message, until nothing moves."""
        for _ in range(_MANY_TIMES):
            for process in list(self.processes.values()):
                process.reactor.flush()
            links = self.waiting()
            busy = [process for process in self.processes.values() if process.todo]
            if links:
                self.deliver(links[0])
            elif busy:
                busy[0].run(0, 0, 0, False, False)
            else:
                return
        raise AssertionError("the processes never come to rest")

    def assert_nothing_freed_too_early(self) -> None:
        """Whoever holds a reference finds the object with its owner. Not so after a kill: callers vouch for calls."""
        for process in self.processes.values():
            for ref in process.held:
                record = ref.record
                assert record.status != kinds.ERROR, "a value that somebody holds was freed"
                owner = self.processes[ref.binary()[:8]]
                if owner is process:
                    if record.status == kinds.STORED:
                        assert ref.binary() in self.store.objects, "the bytes of a held object are gone"
                    continue
                theirs = owner.objects.find(ref.binary())
                assert theirs is not None, "the owner has freed what another process holds"
                if theirs.status == kinds.STORED:
                    assert ref.binary() in self.store.objects, "the bytes of a held object are gone"


def _value(refs: list[ObjectRef[Any]], large: bool) -> dict[str, Any]:
    return {"refs": list(refs), "filling": b"x" * (2_000 if large else 1)}
