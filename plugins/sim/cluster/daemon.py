"""A node daemon of the model: the lease book of one machine, its workers and its objects."""

from __future__ import annotations

import itertools
from typing import Any

from shoal.ids import NodeID
from shoal.interfaces.scheduler import Scheduler
from shoal.machines.leases import Lease, LeaseBook
from shoal.sim.cluster.truth import Truth
from shoal.sim.cluster.worker import Worker
from shoal.sim.network import Connection, Network
from shoal.sim.process import Machine, Process
from shoal.spec.live import LiveView
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, Decision, Demand, NodeView, Placement

HEARTBEAT = 0.5  # seconds between two signs of life to the head
FENCE = 3.0  # a daemon that hears nothing from the head for so long ends the actors on it
START = 0.05  # seconds that a worker process takes to start
RETRY = 0.5  # seconds until a refused connection is tried again


def node_id(name: str, life: int) -> NodeID:
    """Return the identifier of a life of the node of that name, which ends in a number."""
    return NodeID(int(name.rpartition("-")[2]).to_bytes(4, "big") + life.to_bytes(4, "big"))


def node_name(node_id: NodeID) -> str:
    """Return the name of the node whose identifier this is, in whichever life."""
    return f"node-{int.from_bytes(node_id[:4], 'big')}"


class Daemon(Process):
    """One node. All that it knows is lost with it: it begins again as a new node of the same name."""

    def __init__(
        self, network: Network, machine: Machine, cpus: float, scheduler: Scheduler, truth: Truth
    ) -> None:
        super().__init__(network, machine, machine.name)
        self.scheduler = scheduler
        self.truth = truth
        self.id: NodeID = node_id(machine.name, 1)
        self.total: ResourceSet = ResourceSet.of(CPU=cpus)
        self.book: LeaseBook = LeaseBook(self.total, {}, self._place_here)
        self.workers: dict[str, Worker] = {}
        self.objects: dict[str, int] = {}
        self.view: LiveView = LiveView()
        self._numbers = itertools.count(1)

    # Life

    def started(self) -> None:
        self.id = node_id(self.name, self.life)
        self.number = 0  # the head gives it one
        self.book = LeaseBook(self.total, {}, self._place_here)
        self.workers, self.objects = {}, {}
        self.view = LiveView(local=self.id)
        self._holders: dict[Connection, bytes] = {}
        self._homes: dict[bytes, Connection] = {}
        self._groups: dict[bytes, dict[int, int]] = {}  # group → bundles reserved here → in which attempt
        self._head: Connection | None = None
        self._heard = self.clock()
        self._incarnations: dict[bytes, int] = {}
        self.connect("head")
        self._beat()

    def lost(self) -> None:
        for worker in list(self.workers.values()):
            worker.crash(with_machine=not self.machine_alive)

    def _beat(self) -> None:
        if self._head is not None:
            self._head.send(("alive", self.number, self.book.available))
        if self.clock() - self._heard > FENCE:
            self._fence()
        self.after(HEARTBEAT, self._beat)

    def _fence(self) -> None:
        """The head may believe this node dead by now and have its actors started elsewhere: end them here."""
        for worker in list(self.workers.values()):
            if worker.actor:
                self.world.note("fence", worker.name)
                worker.crash()

    # The head

    def connected(self, end: Connection) -> None:
        self._head = end
        actors = [
            (worker.actor, worker.name, worker.incarnation)
            for worker in self.workers.values()
            if worker.actor
        ]
        node = NodeView(node_id=self.id, total=self.total, available=self.book.available)
        groups = {key: dict(held) for key, held in self._groups.items()}
        end.send(("register", self.number, node, actors, groups))

    def refused(self, name: str) -> None:
        self.after(RETRY, self.connect, name)

    def accepted(self, end: Connection) -> None:
        pass

    def closed(self, end: Connection) -> None:
        if end is self._head:
            self._head = None
            for worker in list(self.workers.values()):
                if worker.is_for_actor and not worker.actor:
                    self._drop(worker)  # who was to say what it becomes will not
            self.after(RETRY, self.connect, "head")
            return
        holder = self._holders.pop(end, None)
        if holder is not None:
            del self._homes[holder]
            for lease in self.book.forget_holder(holder):
                self._end_lease(lease)
            self._step()

    # Messages

    def received(self, end: Connection, message: Any) -> None:
        kind, *rest = message
        getattr(self, f"on_{kind}")(end, *rest)

    def on_welcome(self, end: Connection, number: int) -> None:
        """The head has taken this node in."""
        self.number = number
        self._heard = self.clock()

    def on_heard(self, end: Connection) -> None:
        self._heard = self.clock()

    def on_dead(self, end: Connection) -> None:
        """The head has given this node up: everything here is over. Begin again as a new node."""
        self.world.note("reborn", self.name)
        self.crash()
        self.begin()

    def on_nodes(self, end: Connection, nodes: list[NodeView], gone: list[NodeID]) -> None:
        for node in nodes:
            self.view.put(node)
        for gone_id in gone:
            self.view.remove(gone_id)

    def on_hello(self, end: Connection, holder: bytes) -> None:
        self._holders[end] = holder
        self._homes[holder] = end

    def on_ask(self, end: Connection, number: int, demand: Demand) -> None:
        """Say which node a request should be made at, as far as this one knows."""
        view = self.view if self.view.nodes else ClusterView(nodes={self.id: self._as_node()}, local=self.id)
        decision = self.scheduler.place(demand, view)
        end.send(("try", number, decision.node_id if isinstance(decision, Placement) else None))

    def on_want(self, end: Connection, key: bytes, demand: Demand, count: int) -> None:
        self.book.want(self._holders[end], key, demand, count, 0)
        self._step()

    def on_return(self, end: Connection, lease_id: int) -> None:
        lease = self.book.give_back(lease_id)
        if lease is not None:
            self._end_lease(lease)
        self._step()

    def on_start_actor(self, end: Connection, actor: bytes, incarnation: int, demand: Demand) -> None:
        """Start a worker for an actor if there is room for it now."""
        self._incarnations[actor] = incarnation
        self.book.want(actor, actor, demand, 1, 0)
        self._step()
        if not any(lease.holder == actor for lease in self.book.leases.values()):
            self.book.want(actor, actor, demand, 0, 0)
            end.send(("actor_busy", actor, incarnation))

    def on_construct(self, end: Connection, actor: bytes, worker: str, incarnation: int) -> None:
        found = self.workers.get(worker)
        if found is not None and found.alive:
            found.construct(actor, incarnation)
        else:
            end.send(("worker_died", worker))

    def on_end_worker(self, end: Connection, worker: str) -> None:
        found = self.workers.get(worker)
        if found is not None:
            found.crash()

    def on_reserve(
        self, end: Connection, group: bytes, attempt: int, bundles: dict[int, ResourceSet]
    ) -> None:
        """Reserve bundles of a group, all that are asked for or none."""
        reason = "there is no room any more"
        if self.book.reserve(group, bundles):
            reason = ""
            self._groups.setdefault(group, {}).update(dict.fromkeys(bundles, attempt))
        end.send(("reserved", group, attempt, self.number, reason))

    def on_release(self, end: Connection, group: bytes, attempt: int | None) -> None:
        """Give back what an attempt reserved of a group, None: all of it."""
        held = self._groups.get(group, {})
        indices = [index for index, made in held.items() if attempt in (None, made)]
        for index in indices:
            del held[index]
        if not held:
            self._groups.pop(group, None)
        for lease in self.book.release_group(group, indices):
            self._end_lease(lease)
        self._step()

    # Leases

    def _place_here(self, demand: Demand, available: ResourceSet, class_key: bytes) -> Decision:
        node = self._as_node(available)
        return self.scheduler.place(demand, ClusterView(nodes={self.id: node}, local=self.id))

    def _as_node(self, available: ResourceSet | None = None) -> NodeView:
        shown = self.book.available if available is None else available
        return NodeView(node_id=self.id, total=self.total, available=shown)

    def _step(self) -> None:
        for want, lease in self.book.grant():
            assert isinstance(lease, Lease)  # owners look round by themselves: nothing is sent on
            worker = Worker(self, f"{self.name}/{self.life}.{next(self._numbers)}")
            worker.lease_id = lease.lease_id
            worker.is_for_actor = len(want.holder) == 16
            self.workers[worker.name] = worker
            self.after(START, self._begin_worker, worker, want.holder, want.class_key)
        self.book.validate()

    def _begin_worker(self, worker: Worker, holder: bytes, key: bytes) -> None:
        if worker.name not in self.workers:
            return  # its lease ended meanwhile
        worker.begin()
        if worker.is_for_actor:
            if self._head is None:
                worker.crash()
            else:
                self._head.send(("actor_placed", holder, self._incarnations[holder], worker.name))
            return
        end = self._homes.get(holder)
        if end is not None:
            end.send(("lease", key, worker.lease_id, worker.name))

    def _end_lease(self, lease: Lease) -> None:
        for worker in list(self.workers.values()):
            if worker.lease_id == lease.lease_id:
                self._drop(worker)

    def _drop(self, worker: Worker) -> None:
        if worker.alive:
            worker.crash()
        else:
            self.worker_died(worker)

    def worker_died(self, worker: Worker) -> None:
        """One of the workers here is gone."""
        self.workers.pop(worker.name, None)
        if not self.alive:
            return
        self.book.give_back(worker.lease_id)
        if worker.is_for_actor and self._head is not None:
            self._head.send(("worker_died", worker.name))
        self._step()

    def actor_ready(self, worker: Worker) -> None:
        """An actor's constructor has returned."""
        if self._head is not None:
            self._head.send(("actor_ready", worker.actor, worker.incarnation))

    # Objects

    def fetch_seconds(self, name: str, size: int, place: str) -> float | None:
        """Return how long an argument takes to be here; None if its node is gone or has it no more."""
        if not place or name in self.objects:
            return 0.0
        other = self.network.process(place)
        if (
            not isinstance(other, Daemon)
            or not other.alive
            or name not in other.objects
            or not self.network.reach(self.machine, other.machine)
        ):
            return None
        return self.network.transfer_seconds(other.machine, self.machine, size)
