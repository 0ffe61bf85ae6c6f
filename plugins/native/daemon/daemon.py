"""The node daemon: one thread, one loop; leases, workers, the directory of actors, placement groups, logs.

It sees leases, never tasks: nothing here grows with the number of calls or objects.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from shoal.config import Config
from shoal.death import Cause, DeathCertificate
from shoal.interfaces.accelerator import Accelerator
from shoal.interfaces.metadata import Metadata
from shoal.interfaces.scheduler import Scheduler
from shoal.interfaces.sharing import Sharing
from shoal.native.client.peers import DAEMON, socket_path
from shoal.native.daemon import memory
from shoal.native.daemon.actors import LocalActors
from shoal.native.daemon.asked import Asked
from shoal.native.daemon.door import remove_door
from shoal.native.daemon.errands import Errands
from shoal.native.daemon.gateways import Gateways
from shoal.native.daemon.groups import LocalGroups
from shoal.native.daemon.holdings import Holdings
from shoal.native.daemon.lifeline import Lifeline, ProcessEnd
from shoal.native.daemon.logs import LogPipes
from shoal.native.daemon.looking import Looking
from shoal.native.daemon.metrics import MetricsService
from shoal.native.daemon.neighbours import Neighbours
from shoal.native.daemon.nodes import Node, Nodes
from shoal.native.daemon.packages import Packages
from shoal.native.daemon.pulls import PullsShell
from shoal.native.daemon.recording import DaemonEvents
from shoal.native.daemon.reports import Reports
from shoal.native.daemon.requests import Requests
from shoal.native.daemon.scaling import LocalScaling
from shoal.native.daemon.scheduling import Scheduling
from shoal.native.daemon.uplink import LocalLink, Uplink
from shoal.native.daemon.web import Dashboard
from shoal.native.daemon.workers import WorkerPool, WorkerProcess
from shoal.native.head.head import Head
from shoal.native.process.session import Session
from shoal.native.process.store import import_target, open_store
from shoal.native.transport.connection import Connection, Message
from shoal.native.transport.reactor import Listener, Reactor
from shoal.native.wire import control, kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.native.wire.handshake import ServerHandshake
from shoal.native.wire.nodes import number_of
from shoal.spec.resources import ResourceSet, to_units

if TYPE_CHECKING:
    from shoal.native.daemon.cluster import ClusterPart
    from shoal.native.daemon.remote_head import RemoteHead

_log = logging.getLogger("shoal.daemon")
_SWEEP_SECONDS = 5.0


@attrs.define(eq=False)
class ClientConnection:
    """A driver or worker that is connected."""

    worker_id: bytes
    connection: Connection
    kind: str = ""
    pid: int = 0


class Daemon:
    """One node of one session. `run` is its life."""

    def __init__(
        self,
        session: Session,
        zygote: socket.socket,
        lifeline: socket.socket,
        remote_head: RemoteHead | None,
        metadata: Metadata | None,
    ) -> None:
        """Either `remote_head` was greeted, and waits for this node to join, or this node is the head of `metadata`."""
        self.session = session
        self.config = Config.from_wire(session.config)
        self.reactor = Reactor()
        self.links = session.links()
        self.clients: dict[bytes, ClientConnection] = {}
        self.ended = False
        self._stopped = False  # by a person, for good
        self._lifeline = lifeline
        self._soon: deque[Callable[[], None]] = deque()
        self._stepping = False
        self._again = False
        self.number = session.number
        self.address = ""  # host:port where other nodes reach this one
        self.draining = False
        self.labels = dict(self.config.labels)
        targets = session.targets
        self.scheduler: Scheduler = import_target(targets["scheduler"])(self.config.scheduler_options)
        self.sharing: Sharing = import_target(targets["sharing"])()
        self.accelerators: list[Accelerator] = [
            import_target(target)()
            for name, target in sorted(targets.items())
            if name.startswith("accelerator:")
        ]
        self.nodes = Nodes(self)
        self.asked = Asked()
        self.reports = Reports(self)
        self.store = open_store(session, "daemon")
        logs = LogPipes(
            self.reactor,
            session.folder,
            self.config.log_file_max_bytes,
            self.config.log_files_max,
            self.config.session_log_max_bytes,
            self.config.log_format == "json",
            self._send_lines,
        )
        self.pool = WorkerPool(
            self.reactor,
            session,
            zygote,
            logs,
            self._worker_died,
            self._zygote_lost,
            self.config.worker_start_timeout_seconds,
            self.config.max_workers,
        )
        total, devices = self._resources()
        self.scheduling = Scheduling(self, total, devices)
        self.scheduling.jobs.nodes_changed()
        self.actors = LocalActors(self)
        self.groups = LocalGroups(self)
        self.requests = Requests(self)
        self.pulls = PullsShell(self)
        self.events = DaemonEvents(self)
        self.holdings = Holdings(self)
        self.looking = Looking(self)
        self.errands = Errands(self)
        self.metrics = MetricsService(self)
        self.packages = Packages(self)
        self.scaling = LocalScaling(self)
        self.neighbours = Neighbours(self)
        self.gateways = Gateways(self)
        self.dashboard = Dashboard(self)
        if remote_head is None:
            self.dashboard.begin()
        self.head: Head | None = None
        self._handlers: dict[int, Callable[[ClientConnection, Message], None]] = {
            kinds.REGISTER: self._on_register,
            kinds.DEMAND: self._on_demand,
            kinds.RETURN: self._on_return,
            kinds.BLOCKED: lambda client, message: self._on_block(client, True),
            kinds.UNBLOCKED: lambda client, message: self._on_block(client, False),
            kinds.SUBSCRIBE_ACTOR: self._ask_head,
            kinds.KILL_ACTOR: self._ask_head,
            kinds.END_ACTOR: self._ask_head,
            kinds.ACTOR_READY: self._on_actor_ready,
            kinds.ACTOR_FAILED: self._on_actor_failed,
            kinds.ACTOR_EXITING: lambda client, message: self.uplink.up(
                [control.ACTOR_LEAVES, message[1], message[2]]
            ),
            kinds.KILL_WORKER: self._on_kill_worker,
            kinds.DELETE_AT: self._on_delete_at,
            kinds.TALLY: lambda client, message: self.metrics.tally(client.worker_id, *message[1:]),
            kinds.REQUEST: lambda client, message: self.requests.handle(
                client, message[1], message[2], message[3]
            ),
        }
        self._head_handlers: dict[int, Callable[..., None]] = {
            control.CLIENT: self._from_head,
            control.START_ACTOR: self.actors.start,
            control.WITHDRAW_ACTOR: self.actors.withdraw,
            control.END_WORKER: self.actors.end_worker,
            control.RESERVE: self.groups.reserve,
            control.RELEASE: self.groups.release,
            control.GROUP: self.groups.on_state,
            control.NODES: self.nodes.update,
            control.AVAILABLE: self.nodes.update_available,
            control.JOBS: self.scheduling.jobs.update,
            control.QUOTA_GIVE: self.scheduling.jobs.allow,
            control.QUOTA_TIGHT: self.scheduling.jobs.tight,
            control.MAKE_ROOM: self.scheduling.jobs.make_room,
            control.EXPLAIN_ACTOR: self._explain_actor,
            control.DRAIN: self._drain,
            control.SCALING: lambda packed: self.scaling.update(packed),
            control.GONE_CLIENTS: lambda clients: self.pulls.owners_gone(clients),
        }
        self.cluster: ClusterPart | None = None
        if session.listen_host:
            from shoal.native.daemon.cluster import ClusterPart  # gRPC is an extra, and not small

            self.cluster = ClusterPart(self, remote_head)
            self.address = self.cluster.address
        self.uplink: Uplink
        if remote_head is not None:
            self.uplink = remote_head
        else:
            assert metadata is not None
            self.uplink = self._begin_head(metadata)
        if self.cluster is not None:
            self.cluster.begin()

    def _begin_head(self, metadata: Metadata) -> Uplink:
        """Be the cluster's head, too."""
        standing = self.session.standing
        self.head = Head(
            self.config,
            metadata,
            self.scheduler,
            self.sharing,
            self.call_later,
            keeps_records=standing,
            session=self.session.name,
        )
        self.head.on_event = self.events.fact
        self.head.jobs.own = self.session.job_id
        self.head.keep_packages = lambda environment: self.packages.keep(environment)
        self.head.open_dashboard = self.dashboard.open
        link = LocalLink(self, self.head)
        book = self.scheduling.book
        facts = {"pid": str(os.getpid())} if self.cluster is None else self.cluster.facts()
        facts["head"] = "yes"
        self.number = self.head.membership.reserve_number(self.number)
        assert self.number == self.session.number
        self.head.records.next_number(self.head.membership.next_number)
        self.head.forget_own(self.session.node_id)
        self.head.attach(
            link, self.number, self.session.node_id, self.address, book.total, self.labels, facts
        )
        return link

    def _resources(self) -> tuple[ResourceSet, dict[str, list[str]]]:
        """Return what this node offers, settings first, then what was detected."""
        config = self.config
        units: dict[str, int] = {name: to_units(name, value) for name, value in config.resources.items()}
        devices: dict[str, list[str]] = {}
        given = {"CPU": config.num_cpus, "GPU": config.num_gpus}
        for accelerator in self.accelerators:
            name = accelerator.resource
            found = list(accelerator.detect())
            quantity = accelerator.quantity(found)
            asked = given.get(name)
            if asked is not None:
                quantity = asked
            if not quantity:
                continue
            units[name] = to_units(name, quantity)
            self.labels.update(accelerator.type_labels(found))
            if name != "CPU":
                ids = [device.id for device in found]
                if quantity > len(ids):
                    _log.warning("this node offers %s: %g, and %d are found here", name, quantity, len(ids))
                # More than was detected: a laptop that pretends, as the reference allows. Numbers stand for devices.
                devices[name] = ids[: int(quantity)] or [str(i) for i in range(int(quantity))]
        for name, asked in given.items():
            if asked and name not in units:
                units[name] = to_units(name, asked)
                if name == "GPU":
                    _log.warning("this node offers GPU: %g, and none is found here", asked)
                    devices[name] = [str(i) for i in range(int(asked))]
        _, total = memory.memory_in_use()
        offered = config.memory_bytes
        if offered is None:
            offered = max(0, int(total * 0.9) - self.session.store_bytes)
        units["memory"] = to_units("memory", offered)
        units["object_store_memory"] = to_units("object_store_memory", self.session.store_bytes)
        self.labels.setdefault("shoal.io/node-id", self.session.node_id.hex())
        return ResourceSet(units), devices

    # Life

    def run(self) -> None:
        """Serve until the driver that owns the session is gone."""
        path = socket_path(self.session.folder, DAEMON)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        # Nobody may find a socket that refuses: that is how others tell the sessions of the dead, which they remove.
        listening.bind(path + ".new")
        listening.listen(1024)
        os.rename(path + ".new", path)
        self.reactor.watch(Listener(listening, self._accept))
        signal.signal(signal.SIGTERM, lambda number, frame: self._terminated())
        if not self.session.standing:
            self.reactor.watch(Lifeline(self._lifeline, self.end))
            self._watch_driver()
        self._lifeline.send(b"R" + msgspec.msgpack.encode(self.labels))
        cpus = self.scheduling.book.total.get("CPU", 1)
        self.prestarted = max(1, min(int(cpus), 8, self.config.max_workers or 8))
        self.scheduling.prestart(self.prestarted)
        self.scheduling.build_early(self.session.environment)
        self.events.begin()
        scraped = self.metrics.begin()
        if scraped is not None:
            self.reactor.watch(Listener(scraped, self.metrics.accept))
        self._sweep()
        if self.cluster is not None:
            self.reports.keep_telling_demands()
        if self.config.memory_monitor_interval_seconds:
            self._watch_memory()
        while not self.ended:
            self.reactor.poll(None)
        if scraped is not None:
            scraped.close()
        self.gateways.close()
        self.dashboard.close()
        self.pool.end_all()
        self.events.close()
        if self._stopped and self.cluster is not None and self.head is not None:
            self.head.end_cluster(self.session.node_id)
        self.nodes.close()
        self.pulls.close()
        if self.cluster is not None:
            self.cluster.close()
        if self.head is not None:
            self.head.close()

    def _watch_driver(self) -> None:
        """End with the driver even if a process that it forked still holds the lifeline's other end."""
        try:
            descriptor = os.pidfd_open(self.session.driver_pid)
        except ProcessLookupError:
            self.end()
            return
        except OSError:  # a kernel without pidfd: the lifeline has to do
            return
        self.reactor.watch(ProcessEnd(descriptor, self.end))

    def end(self) -> None:
        """The session is over."""
        self.ended = True

    def _terminated(self) -> None:
        self._stopped = True
        self.ended = True
        self.reactor.wake()

    def _zygote_lost(self) -> None:
        _log.error("the process that forks workers has died; the session ends")
        self.ended = True

    def call_soon(self, callback: Callable[[], None]) -> None:
        """Run a callback in the daemon's loop; from any thread."""
        self._soon.append(callback)
        self.reactor.call_soon_unlocked(self._run_soon)
        self.reactor.wake()

    def _run_soon(self) -> None:
        with self.reactor.lock:
            while self._soon:
                self._soon.popleft()()
            self.reactor.flush()

    def call_later(self, seconds: float, callback: Callable[[], None]) -> None:
        """Run a callback after a while."""
        self.reactor.call_later(seconds, callback)

    def _sweep(self) -> None:
        self.pool.end_idle(self.prestarted, self.config.idle_worker_seconds)
        self.scheduling.let_go_of_environments()
        self.reactor.call_later(_SWEEP_SECONDS, self._sweep)

    def _watch_memory(self) -> None:
        used, total = memory.memory_in_use()
        if used > total * self.config.memory_usage_threshold:
            workers = list(self.pool.workers.values())
            jobs = self.scheduling.jobs.shares
            victim = memory.choose_victim(workers, lambda job: jobs.spec(job).share)
            if victim is not None:
                certificate = memory.verdict(used, total, self.config.memory_usage_threshold, workers)
                _log.warning("%s", certificate)
                self.pool.kill(victim, certificate)
        self.reactor.call_later(self.config.memory_monitor_interval_seconds, self._watch_memory)

    # Clients

    def _accept(self, sock: socket.socket) -> None:
        handshake = ServerHandshake(self.session.token, DAEMON)
        connection = Connection(sock, handshake, self._on_message, self._on_close, self._on_open)
        connection.data = (None, connection.fileno())
        self.reactor.add_connection(connection)

    def _on_open(self, connection: Connection) -> None:
        client = ClientConnection(connection.peer, connection)
        self.clients[connection.peer] = client
        connection.data = (client, connection.data[1])

    def _on_message(self, connection: Connection, message: Message) -> None:
        client = connection.data[0]
        handler = self._handlers.get(message[0])
        if handler is None:
            _log.error("client %s sent a message of unknown kind %r", client.worker_id.hex(), message[0])
            connection.close()
            return
        try:
            handler(client, message)
        except Exception:  # a fault in one client's matter must not end the node
            _log.exception("a message of kind %r from client %s failed", message[0], client.worker_id.hex())

    def _on_close(self, connection: Connection) -> None:
        client: ClientConnection | None = connection.data[0]
        self.reactor.unwatch(connection.data[1])
        if client is None or self.clients.get(client.worker_id) != client:
            return
        del self.clients[client.worker_id]
        self.scheduling.withdraw(client.worker_id)
        self.asked.forget(client.worker_id)
        self.uplink.up([control.CLIENT_GONE, client.worker_id])
        self.holdings.process_gone(client.worker_id)
        self.looking.process_gone(client.worker_id)
        self.metrics.process_gone(client.worker_id)
        if self.cluster is not None:
            self.pulls.client_gone(client.worker_id)
        worker = self.pool.workers.get(client.worker_id)
        if worker is not None:
            self.pool.connection_lost(worker)
        elif client.kind:
            self.events.process_ended(client.worker_id, client.kind)
        if client.worker_id == self.session.driver and not self.session.standing:
            self.end()
        self.schedule()

    def tell(self, worker_id: bytes, message: Message) -> None:
        """Send to a driver or worker, of this node if it is connected, or of another."""
        client = self.clients.get(worker_id)
        if client is not None:
            self.reactor.send(client.connection, message)
        elif number_of(worker_id) != self.number:
            self.nodes.send(number_of(worker_id), [kinds.RELAY, worker_id, message])

    def tell_nodes(self) -> None:
        """Tell every process of this node where the others are."""
        message = [kinds.NODE_TABLE, self.nodes.table()]
        for client in self.clients.values():
            self.reactor.send(client.connection, message)

    def node_lost(self, node: Node) -> None:
        """Another node is dead: what it lent us is lost, and what it borrowed comes back."""
        self.scheduling.lending.node_unreachable(node.number, node.reason)
        self.scheduling.lending.borrower_unreachable(node.number)
        self.pulls.node_lost(node.number)
        self.schedule()

    @contextlib.contextmanager
    def together(self) -> Iterator[None]:
        """Grant what can be granted once, at the end of what comes in one go."""
        if self._stepping:
            yield
            return
        self._stepping, self._again = True, False
        try:
            yield
        finally:
            self._stepping = False
            if self._again:
                self.schedule()

    def schedule(self) -> None:
        """Grant what can be granted now. Calls from inside a grant are taken care of by the outer one."""
        if self._stepping:
            self._again = True
            return
        self._stepping = True
        try:
            self._again = True
            while self._again:
                self._again = False
                self.scheduling.step()
                if self.head is not None:
                    self.head.try_pending()
        finally:
            self._stepping = False
        self.reports.soon()

    # Messages

    def _on_register(self, client: ClientConnection, message: Message) -> None:
        facts: dict[str, Any] = message[1]
        client.kind = facts["kind"]
        client.pid = facts["pid"]
        self.events.process_started(client.worker_id, client.kind, client.pid)
        if self.nodes.any:
            self.reactor.send(client.connection, [kinds.NODE_TABLE, self.nodes.table()])
        if client.kind == "worker":
            worker = self.pool.registered(client.worker_id, client.connection)
            if worker is not None:
                worker.runs_as(client.pid)
                self.scheduling.worker_ready(worker)
                self.schedule()

    def _on_demand(self, client: ClientConnection, message: Message) -> None:
        _, key, count, depth, wire, where = message
        self.scheduling.demand(client.worker_id, key, count, depth, wire, where)
        self.schedule()

    def _on_return(self, client: ClientConnection, message: Message) -> None:
        for lease_id, must_end in message[1]:
            self.scheduling.returned(lease_id, must_end)
        self.schedule()

    def _on_block(self, client: ClientConnection, blocked: bool) -> None:
        worker = self.pool.workers.get(client.worker_id)
        if worker is not None:
            self.scheduling.block(worker, blocked)
            self.schedule()

    def _on_actor_ready(self, client: ClientConnection, message: Message) -> None:
        worker = self.pool.workers.get(client.worker_id)
        if worker is not None:
            self.actors.ready(worker, message[1], message[2])

    def _on_actor_failed(self, client: ClientConnection, message: Message) -> None:
        worker = self.pool.workers.get(client.worker_id)
        if worker is not None:
            self.actors.init_failed(worker, message[1], message[2], message[3])

    def _on_kill_worker(self, client: ClientConnection, message: Message) -> None:
        worker = self.pool.workers.get(message[1])
        if worker is not None:
            self.pool.kill(worker, DeathCertificate(**message[2]))

    def _ask_head(self, client: ClientConnection, message: Message) -> None:
        self.ask_head(client.worker_id, message)

    def ask_head(self, client: bytes, message: Message) -> None:
        """Pass a process's question on to the head."""
        if self.head is None:
            self.asked.note(client, message)
        self.uplink.up([control.FROM_CLIENT, client, message])

    def _from_head(self, client: bytes, message: Message) -> None:
        if self.head is None:
            self.asked.answered(client, message)
        self.tell(client, message)

    # The head and other nodes

    def on_head_message(self, message: Message) -> None:
        """Do what the head says."""
        handler = self._head_handlers.get(message[0])
        if handler is None:
            _log.error("the head sent a message of unknown kind %r", message[0])
            return
        handler(*message[1:])

    def _explain_actor(self, client: bytes, number: int, actor_id: bytes, lines: list[str]) -> None:
        self.tell(client, [kinds.REPLY, number, True, self.actors.explain(actor_id, lines)])

    def _drain(self) -> None:
        self.draining = True
        self.schedule()

    def _on_delete_at(self, client: ClientConnection, message: Message) -> None:
        _, number, object_ids = message
        if number == self.number:
            self.pulls.delete(object_ids)
        else:
            self.nodes.send(number, [kinds.DELETE_COPIES, object_ids])

    # Deaths

    def _worker_died(self, worker: WorkerProcess, certificate: DeathCertificate, started: int) -> None:
        """A worker is gone for certain; its last words are in the certificate."""
        self.events.worker_died(worker, certificate)
        expected = certificate.cause in (Cause.INTENDED_EXIT, Cause.OUT_OF_SCOPE)
        if worker.state in ("starting", "registered") or (worker.connection is None and not expected):
            self.scheduling.worker_never_started(worker, certificate)
        lease = worker.lease
        if lease is not None and len(lease.holder) == 8:
            self.scheduling.lending.tell_died(
                lease.holder, lease.lease_id, worker.worker_id, plain_certificate(certificate), started
            )
        self.scheduling.worker_gone(worker)
        self.actors.worker_died(worker, certificate)
        self.store.sweep(worker.worker_id.hex())
        self._remove_socket(worker.worker_id)
        self.schedule()

    def _remove_socket(self, worker_id: bytes) -> None:
        remove_door(self.session.folder, worker_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path(self.session.folder, worker_id))

    def _send_lines(self, worker_id: bytes, pid: int, label: str, stream: str, lines: list[str]) -> None:
        if self.config.log_to_driver:
            worker = self.pool.workers.get(worker_id)
            driver = self.session.driver if worker is None else worker.driver
            self.tell(driver, [kinds.LOG_LINES, worker_id, pid, label, stream, lines])
