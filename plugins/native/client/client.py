"""What drivers and workers share: one `Client` per process, joining objects, tasks, actors and peers."""

from __future__ import annotations

import itertools
import logging
import os
import pickle
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from shoal.death import DeathCertificate
from shoal.errors import (
    GetTimeout,
    NodeDied,
    NotInitialized,
    ShoalError,
    SystemFailure,
    TaskUnschedulable,
)
from shoal.native.client.actors import Actors
from shoal.native.client.chains import WaitChains
from shoal.native.client.functions import SchedulingClass, demand_to_wire
from shoal.native.client.holdings import tell_soon
from shoal.native.client.objects import Objects
from shoal.native.client.peers import DAEMON, Handler, Peer, Peers, socket_path
from shoal.native.client.pulls import Pulls
from shoal.native.client.recording import Recorder
from shoal.native.client.records import Record, Task
from shoal.native.client.streams import Streams
from shoal.native.client.tasks import Tasks
from shoal.native.client.values import MISSING, decode
from shoal.native.client.waiting import first_ready
from shoal.native.transport.connection import Connection, Message, connect_unix
from shoal.native.transport.reactor import Reactor
from shoal.native.transport.spin import Spin
from shoal.native.wire import kinds
from shoal.native.wire.handshake import ClientHandshake
from shoal.spec.jobs import JobSpec
from shoal.spec.resources import ResourceSet

if TYPE_CHECKING:
    from shoal.config import Config
    from shoal.interfaces.engine import Engine
    from shoal.interfaces.refs import ObjectRef
    from shoal.interfaces.store import ObjectStore
    from shoal.native.client.observing import Observing
    from shoal.native.process.session import Session

_log = logging.getLogger("shoal")

_DEATHS_KEPT = 1_000
_REQUEST_SECONDS = 60.0
_WORTH_ASKING_SECONDS = 1.0  # a get() that waited shorter is not explained by asking other processes
_BLOCK_SECONDS = 0.001  # a wait shorter than this does not give the CPU back


class Client:
    """One process's part in a session. `execution` and `blocking` are replaced in a worker."""

    is_far = False  # not on a node, so that it cannot write into the session's folder

    def __init__(self, session: Session, config: Config, worker_id: bytes, store: ObjectStore) -> None:
        self.session = session
        self.config = config
        self.worker_id = worker_id
        self.store = store
        self.inline_max = config.inline_object_max_bytes
        self.process = os.getpid()
        self.engine: Engine = None  # type: ignore[assignment]
        self.reactor = self.make_reactor()
        if len(os.sched_getaffinity(0)) > 1:
            self.reactor.spin = Spin()
        self.counters = itertools.count(1)
        self.depth = 0
        self.closed = False
        self.broken: Exception | None = None  # why nothing works any more
        self.events: deque[tuple[Any, ...]] = deque(maxlen=max(1, config.timeline_events_max))
        self.recorder = Recorder(self)
        self.deaths: OrderedDict[bytes, tuple[DeathCertificate, int]] = OrderedDict()
        self.creations: dict[bytes, Any] = {}  # what the creation of our actors holds
        self.dynamic_items: dict[int, list[Any]] = {}
        self.groups: dict[bytes, list[Record]] = {}  # group → objects that are ready with it
        self.job_environment: dict[str, Any] = {}
        self._job: JobSpec | None = None
        self.node_labels: dict[str, str] = {}
        self._requests: dict[int, Callable[[bool, Any], None]] = {}
        self._request_ids = itertools.count(1)
        self._warned: set[str] = set()
        self.on_daemon_lost: Callable[[], None] = lambda: None
        self.finish_logs: Callable[[], None] = lambda: None
        self.observing: Observing | None = None  # set where observers are installed
        self.records_call_sites: bool = config.record_call_sites
        self.call_sites: dict[bytes, str] = {}
        self.handlers: dict[int, Handler] = {}
        self.objects = Objects(self)
        self.pulls = Pulls(self)
        self.streams = Streams(self)
        self.tasks = Tasks(self)
        self.actors = Actors(self)
        self.chains = WaitChains(self)
        self._daemon_handlers: dict[int, Callable[[Message], None]] = {}
        self._install_handlers()
        self.peers = self.make_peers()
        self.peers.on_gone = self._peer_gone
        self._daemon = self._begin_daemon()

    def _install_handlers(self) -> None:
        objects, tasks = self.objects, self.tasks
        self.handlers.update(
            {
                kinds.RESULTS: tasks.on_results,
                kinds.HANDED_BACK: tasks.on_handed_back,
                kinds.STREAM_ITEM: tasks.on_stream_item,
                kinds.FETCH: objects.on_fetch,
                kinds.VALUES: objects.on_values,
                kinds.RELEASE: objects.on_release,
                kinds.ADD_BORROWER: objects.on_add_borrower,
                kinds.DELETE: objects.on_delete,
                kinds.LOST: objects.on_lost,
                kinds.COPIED: objects.on_copied,
                kinds.FREE: objects.on_free,
                kinds.CANCEL_OBJECT: self._on_cancel_object,
                kinds.EXPLAIN_OBJECT: self._on_explain_object,
                kinds.EXPLAINED: lambda peer, message: self._answer(message[1], True, message[2]),
            }
        )
        self._daemon_handlers.update(
            {
                kinds.LEASE: tasks.leases.on_lease,
                kinds.RECLAIM: lambda message: tasks.leases.on_reclaim(message[1]),
                kinds.WORKER_DIED: self._on_worker_died,
                kinds.CLASS_STATE: tasks.leases.on_class_state,
                kinds.ACTOR_STATE: self.actors.on_state,
                kinds.REPLY: lambda message: self._answer(message[1], message[2], message[3]),
                kinds.LOG_LINES: self._on_log_lines,
                kinds.RELIEVE: self._on_relieve,
                kinds.HOLDINGS: lambda message: tell_soon(self, message[1]),
                kinds.LOOK: self.recorder.on_look,
                kinds.GROUP_STATE: self._on_group_state,
                kinds.NODE_TABLE: lambda message: self.peers.on_nodes(message[1]),
            }
        )

    # Connections

    def make_reactor(self) -> Reactor:
        """Return the loop of this process."""
        return Reactor()

    def make_peers(self) -> Peers:
        """Return the way to the session's other processes."""
        session = self.session
        return Peers(
            self.reactor,
            session.folder,
            session.token,
            self.worker_id,
            self.handlers,
            bool(session.listen_host),
            session.links(),
        )

    def connect_daemon(self) -> Connection:
        """Begin to connect to the node's daemon. Raises SystemFailure."""
        path = socket_path(self.session.folder, DAEMON)
        try:
            sock = connect_unix(path)
        except OSError as error:
            raise SystemFailure(f"the session's daemon does not answer at {path}: {error}") from error
        handshake = ClientHandshake(self.session.token, self.worker_id)
        return Connection(sock, handshake, self.on_daemon_message, self.on_daemon_closed)

    def _begin_daemon(self) -> Connection:
        connection = self.connect_daemon()
        connection.data = connection.fileno()
        with self.reactor.lock:
            self.reactor.add_connection(connection)
        return connection

    def on_daemon_message(self, connection: Connection, message: Message) -> None:
        """The daemon says something."""
        handler = self._daemon_handlers.get(message[0])
        if handler is not None:
            handler(message)

    def on_daemon_closed(self, connection: Connection) -> None:
        """The daemon is gone."""
        self.reactor.unwatch(connection.data)
        if not self.closed:
            self.fail(
                NodeDied("the node's daemon is gone, and with it every worker and object of the session")
            )
            self.on_daemon_lost()

    def handle_daemon(self, kind: int, handler: Callable[[Message], None]) -> None:
        """Handle one more kind of message from the daemon."""
        self._daemon_handlers[kind] = handler

    def tell_daemon(self, message: Message) -> None:
        """Queue a message to the daemon; called with the lock held."""
        self.reactor.send(self._daemon, message)

    def request(self, name: str, *arguments: Any, timeout: float = _REQUEST_SECONDS) -> Any:
        """Ask the daemon and wait for its answer. Takes the lock. Raises what it answers, GetTimeout."""
        answer: list[Any] = []
        with self.reactor.lock:
            self._check_usable()
            number = self.expect_answer(lambda ok, value: answer.extend((ok, value)))
            self.tell_daemon([kinds.REQUEST, number, name, list(arguments)])
        if not self.reactor.run_until(
            lambda: bool(answer) or self.broken is not None, time.monotonic() + timeout
        ):
            self._requests.pop(number, None)
            raise GetTimeout(f"the daemon did not answer {name!r} within {timeout:g} s")
        if not answer:
            self._check_usable()
        ok, value = answer
        if not ok:
            raise pickle.loads(value)  # from our own daemon, which has proved itself
        return value

    def request_later(self, name: str, arguments: list[Any], then: Callable[[bool, Any], None]) -> None:
        """Ask the daemon; `then` is called under the lock. Called with the lock held."""
        number = self.expect_answer(then)
        self.tell_daemon([kinds.REQUEST, number, name, arguments])

    def expect_answer(self, then: Callable[[bool, Any], None]) -> int:
        """Return a number whose answer goes to `then`. Called with the lock held."""
        number = next(self._request_ids)
        self._requests[number] = then
        return number

    def own_actor(self) -> bytes | None:
        """Return the serial actor that this process hosts, if any."""
        return None

    def _answer(self, number: int, ok: bool, value: Any) -> None:
        then = self._requests.pop(number, None)
        if then is not None:
            then(ok, value)

    def _peer_gone(self, peer: Peer) -> None:
        self.tasks.failures.on_peer_gone(peer)
        self.actors.on_peer_gone(peer)
        self.objects.on_peer_gone(peer)

    def _on_worker_died(self, message: Message) -> None:
        _, worker_id, packed, started = message
        certificate = self.read_certificate(packed)
        assert certificate is not None
        self.deaths[worker_id] = (certificate, started)
        while len(self.deaths) > _DEATHS_KEPT:
            self.deaths.popitem(last=False)
        if self.observing is not None:
            self.observing.worker_died(worker_id, certificate)
        self.tasks.failures.on_worker_died(worker_id, certificate, started)

    def certificate_of(self, worker_id: bytes) -> DeathCertificate | None:
        """Return how a process died, if that is known."""
        found = self.deaths.get(worker_id)
        return None if found is None else found[0]

    def read_certificate(self, packed: dict[str, Any] | None) -> DeathCertificate | None:
        """Return a certificate from its plain form."""
        return None if packed is None else DeathCertificate(**packed)

    # Names

    def object_id(self, counter: int, index: int) -> bytes:
        """Return the identifier of a result of call `counter`."""
        return self.worker_id + counter.to_bytes(8, "big") + index.to_bytes(4, "big")

    def scheduling_class(self, template: Any) -> SchedulingClass:
        """Return the scheduling class of a task template."""
        environment = self.environment(template.runtime_env)
        strategy = self.inherit_group(template.strategy)
        key, wire = demand_to_wire(
            template.resources,
            strategy,
            template.label_selector,
            environment,
            template.name,
            template.max_retries != 0,
        )
        self.refuse_over_quota(template.resources, template.name, TaskUnschedulable)
        self.refuse_infeasible(wire, TaskUnschedulable)
        with self.reactor.lock:
            return self.tasks.scheduling_class(key, wire)

    def refuse_infeasible(self, wire: dict[str, Any], error: type[ShoalError]) -> None:
        """Raise `error` if the settings ask for that and no node can ever run this."""
        if self.config.infeasible == "error":
            reason = self.request("infeasible_reason", wire)
            if reason:
                raise error(f"{wire['name']}: no node can ever run this: {reason}")

    def job(self) -> JobSpec:
        """Return the job that this process works for."""
        if self._job is None:
            from shoal.native.process.job import job_of_environment, job_of_settings

            session = self.session
            found = job_of_environment(self.job_environment)
            if found is None and not session.standing:
                found = job_of_settings(self.config, session.job_id)
            self._job = found or JobSpec(job_id=session.job_id)
        return self._job

    def refuse_over_quota(self, resources: ResourceSet, name: str, error: type[ShoalError]) -> None:
        """Raise `error` if the job's quota can never allow that."""
        reason = self.job().refusal(resources)
        if reason:
            raise error(f"{name}: {reason}")

    def inherit_group(self, strategy: Any) -> Any:
        """Return the strategy, in the caller's placement group if that captures its children."""
        return strategy

    def environment(self, runtime_env: Any) -> dict[str, Any]:
        """Return the checked environment of a call: its own keys over the session's."""
        if not runtime_env:
            return dict(self.job_environment)
        from shoal.native.process.environments import merged

        return merged(self.job_environment, self.check_environment(runtime_env))

    def check_environment(self, runtime_env: Any) -> dict[str, Any]:
        """Return a runtime_env in canonical form. Raises ConfigError."""
        from shoal.native.process.environments import check_environment

        return self.session.carried(check_environment(runtime_env))

    # Waiting

    def execution(self) -> Any:
        """Return the call that the calling code runs in; None in a driver."""
        return None

    def block(self) -> Callable[[], None] | None:
        """The caller begins to wait: give back what a waiting worker does not need. Returns how to undo it."""
        return None

    def wait_until(self, done: Callable[[], bool], deadline: float | None) -> bool:
        """Serve until `done()`; a worker gives its CPU back meanwhile. Returns False at the deadline."""
        if done():
            return True
        self._check_usable()
        reactor = self.reactor
        soon = time.monotonic() + _BLOCK_SECONDS
        if self.execution() is None:
            return reactor.run_until(done, deadline)
        if reactor.run_until(done, soon if deadline is None else min(soon, deadline)):
            return True
        if deadline is not None and time.monotonic() >= deadline:
            return done()
        undo = self.block()
        try:
            return reactor.run_until(done, deadline)
        finally:
            if undo is not None:
                undo()

    def get(self, refs: Sequence[ObjectRef[Any]], timeout: float | None) -> list[Any]:
        """Return values in order. Takes the lock."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while True:
            pending = [ref.record for ref in refs if ref.record.status is None]
            if pending:
                self._wait_for(pending, deadline, timeout)
            if self.peers.in_cluster:
                self._bring(refs, deadline, timeout)
            values = []
            lost = False
            for ref in refs:
                record = ref.record
                value = decode(self, record) if record.status is not None else MISSING
                if value is MISSING:
                    lost = True
                    with self.reactor.lock:
                        self.objects.lost(record)
                values.append(value)
            if not lost:
                return values

    def _bring(self, refs: Sequence[ObjectRef[Any]], deadline: float | None, timeout: float | None) -> None:
        missing = self.pulls.missing_records(ref.record for ref in refs)
        if missing and not self.pulls.wait(missing, deadline):
            raise GetTimeout(
                f"get() waited {timeout:g} s; {len(missing)} values are ready, but were still on their way from other "
                "nodes"
            )

    def _wait_for(self, pending: list[Record], deadline: float | None, timeout: float | None) -> None:
        with self.reactor.lock:
            if self.objects.has_dropped:
                self.objects.collect()
            self.objects.want(pending)
        position = 0
        count = len(pending)

        def done() -> bool:
            nonlocal position
            while position < count and pending[position].status is not None:
                position += 1
            return position == count or self.broken is not None

        self.chains.waiting.append(pending)
        try:
            if not self._wait_patiently(done, deadline, pending):
                missing = [record for record in pending if record.status is None]
                raise GetTimeout(
                    f"get() waited {timeout:g} s; {len(missing)} of {count} values are missing.\n"
                    f"{self._explanation(missing[0], (timeout or 0) >= _WORTH_ASKING_SECONDS)}"
                )
        finally:
            self.chains.waiting.remove(pending)
        if self.broken is not None and any(record.status is None for record in pending):
            self._check_usable()

    def _wait_patiently(
        self, done: Callable[[], bool], deadline: float | None, pending: list[Record]
    ) -> bool:
        """Wait; say once, after a while, what for. Returns False at the deadline."""
        warning = self.config.get_warning_seconds
        if warning:
            warn_at = time.monotonic() + warning
            if deadline is None or warn_at < deadline:
                if self.wait_until(done, warn_at):
                    return True
                missing = next((record for record in pending if record.status is None), None)
                if missing is not None:
                    _log.warning("get() has waited %g s.\n%s", warning, self._explanation(missing, True))
        return self.wait_until(done, deadline)

    def _explanation(self, record: Record, may_ask: bool) -> str:
        reasons: list[str] = self.engine.reasons(record, may_ask)  # type: ignore[attr-defined]
        return "\n".join(
            [f"object {record.object_id.hex()} is not ready", *(f"  {line}" for line in reasons)]
        )

    def wait(
        self, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None
    ) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
        """Return (ready, not ready). Takes the lock."""
        return first_ready(self, refs, num_returns, timeout)

    # Room, logs, warnings

    def make_room(self, size: int) -> bool:
        """Ask the node's processes to spill or drop what they can. Returns whether trying again makes sense."""
        relieve = getattr(self.store, "relieve", None)
        if relieve is not None and relieve(size) > 0:
            return True
        try:
            self.request("relieve", size, timeout=5)
        except ShoalError:
            return False
        threading.Event().wait(0.01)
        return True

    def _on_relieve(self, message: Message) -> None:
        relieve = getattr(self.store, "relieve", None)
        if relieve is not None:
            size = message[1]
            self.reactor.call_soon_unlocked(lambda: relieve(size))

    def _on_log_lines(self, message: Message) -> None:
        if self.observing is not None:
            self.observing.log_lines(*message[1:])
        self.on_log_lines(message)

    def on_log_lines(self, message: Message) -> None:
        """Lines that workers printed; the driver shows them."""

    def warn(self, text: str) -> None:
        """Log a warning once."""
        if text in self._warned:
            return
        if len(self._warned) > 1_000:
            self._warned.clear()
        self._warned.add(text)
        _log.warning("%s", text)

    def _on_group_state(self, message: Message) -> None:
        _, group_id, state = message
        records = self.groups.pop(group_id, [])
        for record in records:
            if state == "CREATED":
                from shoal.serial import dumps

                self.objects.complete(record, kinds.PLAIN, dumps(True).data)
            else:
                from shoal.errors import PlacementGroupRemoved

                self.objects.fail(record, PlacementGroupRemoved("the placement group was removed"))

    # Cancelling

    def cancel_task(self, task: Task, force: bool, recursive: bool) -> None:
        """Cancel an unfinished call. Called with the lock held."""
        if task.peer is None:
            if task.actor is not None:
                task.cancelled = True
                from shoal.errors import TaskCancelled
                from shoal.serial import dump_error

                text = f"{task.function.name} was cancelled before it was sent"
                self.tasks.finish_with_error(task, dump_error(TaskCancelled(text), task.function.name))
            else:
                self.tasks.cancel_queued(task)
            return
        task.cancelled = True
        task.retries = 0
        self.reactor.flush()
        self.peers.send(task.peer, [kinds.CANCEL, task.counter, force, recursive])
        self.reactor.flush()

    def _on_cancel_object(self, peer: Peer, message: Message) -> None:
        record = self.objects.find(message[1])
        if record is not None and record.task is not None and record.status is None:
            self.cancel_task(record.task, message[2], message[3])

    def children_of(self, counter: int) -> list[Task]:
        """Return unfinished calls that call `counter` made."""
        tasks = [*self.tasks.unfinished(), *self.actors.unfinished()]
        return [task for task in tasks if task.parent == counter]

    def _on_explain_object(self, peer: Peer, message: Message) -> None:
        record = self.objects.find(message[2])
        lines = ["its owner does not know it"] if record is None else self.engine.reasons(record, False)  # type: ignore[attr-defined]
        self.peers.send(peer, [kinds.EXPLAINED, message[1], lines])

    def note_call_site(self, object_id: bytes) -> None:
        """Remember where the program makes a reference: `records_call_sites` says whether to."""
        from shoal.native.client.holdings import call_site

        self.call_sites[object_id] = call_site()

    def on_released(self, record: Record) -> None:
        """An object of ours is gone: it may have been an actor's lifetime."""
        if self.call_sites:
            self.call_sites.pop(record.object_id, None)
        if record.put:
            self.recorder.released(record)
        if self.actors.tokens:
            self.actors.token_released(record.object_id)

    # Life

    def _check_usable(self) -> None:
        if self.process != os.getpid():
            raise NotInitialized(
                "this process was forked after shoal.init(); a session cannot be shared with a fork. "
                "Use tasks or actors, or start the process with spawn and call init() there"
            )
        if self.broken is not None:
            raise self.broken
        if self.closed:
            raise NotInitialized("the session has ended; call shoal.init() for a new one")

    check_usable = _check_usable

    def fail(self, error: Exception) -> None:
        """Nothing works any more: everything that waits gets this error. Called with the lock held."""
        if self.broken is not None:
            return
        self.broken = error
        self.tasks.fail_all(error)
        self.actors.fail_all(error)
        for then in list(self._requests.values()):
            then(False, pickle.dumps(error))
        self._requests.clear()
        self.reactor.wake()

    def say_goodbye(self) -> None:
        """Everything is closed, and the loop still runs: for who is reached in another way."""

    def close(self) -> None:
        """Close every connection."""
        self.recorder.close()
        with self.reactor.lock:
            if self.closed:
                return
            self.closed = True
            self.fail(NotInitialized("the session has ended"))
            self.peers.close()
            self._daemon.close()
        self.say_goodbye()
        self.reactor.close()
        self.store.close()
