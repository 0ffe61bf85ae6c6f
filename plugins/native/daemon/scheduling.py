"""Leases to workers: joins the lease book (who may use what) with the worker pool (which process does it)."""

from __future__ import annotations

import functools
import os
import threading
import time
from collections import deque
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.death import Cause, DeathCertificate
from shoal.errors import RuntimeEnvSetup
from shoal.ids import NodeID, PlacementGroupID
from shoal.interfaces.environment import WorkerChanges
from shoal.machines.leases import Lease, LeaseBook, Want
from shoal.native.daemon.workers import WorkerProcess
from shoal.native.process.environments import build_environment
from shoal.native.wire import kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import (
    DefaultStrategy,
    NodeAffinityStrategy,
    NodeLabelStrategy,
    PlacementGroupStrategy,
    SpreadStrategy,
    Strategy,
)
from shoal.spec.view import ClusterView, Decision, Demand, Infeasible, NodeView

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_NO_ENVIRONMENT = b""
_START_FAILURES = 3  # workers that may die before they register, one after the other


class Scheduling:
    """The daemon's scheduler shell. `step` does what can be done now."""

    def __init__(self, daemon: Daemon, total: ResourceSet, devices: dict[str, list[str]]) -> None:
        self._daemon = daemon
        self._node = NodeID(daemon.session.node_id)
        self._labels = daemon.labels
        self._turn = 0
        self.book = LeaseBook(total, devices, self._place)
        self._classes: dict[bytes, dict[str, Any]] = {}
        self._waiting: dict[bytes, deque[tuple[Want, Lease]]] = {}  # environment → leases without a worker
        self._environments: dict[bytes, WorkerChanges] = {_NO_ENVIRONMENT: WorkerChanges()}
        self._building: set[bytes] = set()
        self._failures: dict[bytes, int] = {}
        self._told: dict[tuple[bytes, bytes], float] = {}  # infeasible wants: when first seen, −1 when told
        self._contended = False

    # The plugin

    def _place(self, demand: Demand, available: ResourceSet) -> Decision:
        return self._daemon.scheduler.place(demand, self.view(available))

    def view(self, available: ResourceSet | None = None) -> ClusterView:
        """Return the cluster as this node sees it."""
        shown = self.book.available if available is None else available
        clipped = ResourceSet({name: max(0, units) for name, units in shown.units.items()})
        node = NodeView(
            node_id=self._node, total=self.book.total, available=clipped, labels=self._labels, address="local"
        )
        return ClusterView(nodes={self._node: node}, local=self._node)

    # Demands

    def demand(self, holder: bytes, key: bytes, count: int, depth: int, wire: dict[str, Any] | None) -> None:
        """A client says how many leases more it wants."""
        if wire is not None:
            self._classes[key] = wire
        known = self._classes[key]
        if (
            count
            and known["strategy"][0] == "group"
            and not self._daemon.groups.is_living(known["strategy"][1])
        ):
            self._tell_removed(holder, key, known["strategy"][1])
            return
        self.book.want(holder, key, self.demand_of(known), count, depth)
        if not count:
            self._told.pop((holder, key), None)

    def want_actor(self, actor_id: bytes, key: bytes, wire: dict[str, Any], depth: int) -> None:
        """An actor wants a place."""
        self._classes[key] = wire
        if wire["strategy"][0] == "group" and not self._daemon.groups.is_living(wire["strategy"][1]):
            self._tell_removed(actor_id, key, wire["strategy"][1])
            return
        self.book.want(actor_id, key, self.demand_of(wire), 1, depth)

    def demand_of(self, wire: dict[str, Any]) -> Demand:
        """Return a scheduling class's demand."""
        self._turn += 1
        return Demand(
            resources=ResourceSet(wire["resources"]),
            strategy=strategy_from_wire(wire["strategy"]),
            label_selector=wire["labels"],
            turn=self._turn,
        )

    def withdraw(self, holder: bytes) -> None:
        """A holder is gone: its wants and leases end."""
        for waiting in self._waiting.values():
            for pair in [pair for pair in waiting if pair[0].holder == holder]:
                waiting.remove(pair)
        for lease in self.book.forget_holder(holder):
            worker = self._worker_of(lease.lease_id)
            if worker is not None and worker.state == "leased":
                # What it runs is for nobody any more.
                cause = DeathCertificate(what="worker", cause=Cause.OWNER_DIED, detail="its caller is gone")
                self._daemon.pool.kill(worker, cause)

    def _worker_of(self, lease_id: int) -> WorkerProcess | None:
        for worker in self._daemon.pool.workers.values():
            if worker.lease is not None and worker.lease.lease_id == lease_id:
                return worker
        return None

    # Granting

    def step(self) -> None:
        """Grant what can be granted, and tell who must know."""
        for want, lease in self.book.grant():
            self._assign(want, lease)
        self._tell_contention()
        self._note_infeasible()

    def _assign(self, want: Want, lease: Lease) -> None:
        wire = self._classes[want.class_key]
        environment_key = self._environment_key(wire)
        variables = self._device_variables(lease)
        worker = self._daemon.pool.take_idle(environment_key, variables)
        if worker is not None:
            self._hand_out(want, lease, worker, wire, variables)
            return
        self._waiting.setdefault(environment_key, deque()).append((want, lease))
        self._start_missing(environment_key)

    def _environment_key(self, wire: dict[str, Any]) -> bytes:
        environment = wire["environment"]
        if not environment:
            return _NO_ENVIRONMENT
        return msgspec.msgpack.encode(environment)

    def _start_missing(self, key: bytes) -> None:
        """Start a worker for each lease that waits for one of this environment, as far as `max_workers` allows."""
        waiting = self._waiting.get(key)
        if not waiting:
            return
        if key not in self._environments:
            self._build(key, self._classes[waiting[0][0].class_key]["environment"])
            return
        for _ in range(len(waiting) - self._daemon.pool.starting(key)):
            if not self._start_worker(key):
                return  # when a worker has gone there is room again

    def _start_worker(self, key: bytes) -> bool:
        pool = self._daemon.pool
        if not pool.has_room():
            pool.end_longest_idle()
            return False
        changes = self._environments[key]
        pool.start(key, dict(changes.variables), list(changes.path), changes.working_folder)
        return True

    def prestart(self, count: int) -> None:
        """Start workers before anybody asks."""
        for _ in range(count):
            self._start_worker(_NO_ENVIRONMENT)

    def _build(self, key: bytes, environment: dict[str, Any]) -> None:
        """Build an environment in a thread; workers that wait for it start then."""
        if key in self._building:
            return
        self._building.add(key)
        folder = os.path.join(self._daemon.session.folder, "env", os.urandom(6).hex())

        def work() -> None:
            result: WorkerChanges | Exception
            try:
                os.makedirs(folder)
                result = build_environment(environment, folder)
            except Exception as error:  # a stranger's step may raise anything: it becomes the tasks' error
                result = error
            self._daemon.call_soon(lambda: self._built(key, result))

        threading.Thread(target=work, name="shoal-environment", daemon=True).start()

    def _built(self, key: bytes, result: WorkerChanges | Exception) -> None:
        self._building.discard(key)
        if isinstance(result, Exception):
            text = (
                str(result) if isinstance(result, RuntimeEnvSetup) else f"{type(result).__name__}: {result}"
            )
            self._fail_waiting(key, text)
            return
        self._environments[key] = result
        self._start_missing(key)

    def _fail_waiting(self, key: bytes, text: str) -> None:
        certificate = DeathCertificate(
            what="worker",
            node=self._node.hex(),
            when=time.time(),
            cause=Cause.ENVIRONMENT_FAILED,
            detail=text,
        )
        for want, lease in self._waiting.pop(key, ()):
            self.book.give_back(lease.lease_id)
            if len(want.holder) == 16:
                self._daemon.actors.cannot_start(want.holder, certificate)
                continue
            self.book.want(want.holder, want.class_key, want.demand, 0, 0)
            message = [
                kinds.CLASS_STATE,
                want.class_key,
                "failed",
                f"the environment of a worker could not be made: {text}",
                plain_certificate(certificate),
            ]
            self._daemon.tell(want.holder, message)
        self.step()

    def worker_ready(self, worker: WorkerProcess) -> None:
        """A worker is up, or free again."""
        self._failures.pop(worker.environment_key, None)
        waiting = self._waiting.get(worker.environment_key)
        if waiting:
            want, lease = waiting.popleft()
            self._hand_out(want, lease, worker, self._classes[want.class_key], self._device_variables(lease))
        else:
            self._daemon.pool.put_idle(worker)
            self._start_waiting()  # at the limit of workers, others could not begin until this one was free

    def worker_never_started(self, worker: WorkerProcess, certificate: DeathCertificate) -> None:
        """A worker died before it was up: try again a few times, then say why not."""
        key = worker.environment_key
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        waiting = self._waiting.get(key)
        if not waiting:
            return
        if failures >= _START_FAILURES:
            self._failures.pop(key, None)
            lines = "\n".join(certificate.last_lines)
            self._fail_waiting(key, f"workers die before they are up: {certificate.how()}\n{lines}".rstrip())
            return
        self._start_missing(key)

    def _hand_out(
        self,
        want: Want,
        lease: Lease,
        worker: WorkerProcess,
        wire: dict[str, Any],
        variables: dict[str, str],
    ) -> None:
        worker.lease = lease
        worker.leased_at = time.monotonic()
        worker.variables = variables or worker.variables
        worker.retriable = bool(wire.get("retriable"))
        worker.label = wire.get("name", "")
        worker.blocks = 0
        strategy = wire["strategy"]
        grant = {
            "resources": lease.resources.to_floats(),
            "devices": {name: list(ids) for name, ids in lease.devices.items()},
            "variables": variables,
            "depth": lease.depth,
            "group": strategy[1] if strategy[0] == "group" else b"",
            "capture": strategy[3] if strategy[0] == "group" else False,
            "environment": wire["environment"],
            "labels": dict(self._labels),
        }
        if len(want.holder) == 16:
            worker.state = "actor"
            worker.actor_id = want.holder
            self._daemon.actors.start_on(want.holder, worker, grant)
            return
        worker.state = "leased"
        self._daemon.tell(want.holder, [kinds.LEASE, want.class_key, lease.lease_id, worker.worker_id, grant])

    def _device_variables(self, lease: Lease) -> dict[str, str]:
        variables: dict[str, str] = {}
        for accelerator in self._daemon.accelerators:
            ids = lease.devices.get(accelerator.resource)
            if ids is not None:
                variables.update(accelerator.environment(list(ids)))
            elif accelerator.resource in self.book.total.units and accelerator.resource != "CPU":
                variables.update(accelerator.environment(()))
        return variables

    # Ending

    def returned(self, lease_id: int, must_end: bool) -> None:
        """A client gives a lease back."""
        worker = self._worker_of(lease_id)
        self.book.give_back(lease_id)
        if worker is None or worker.ending is not None:
            return
        if must_end:
            worker.lease = None
            self._daemon.pool.end(worker, None)
        else:
            self.worker_ready(worker)

    def worker_gone(self, worker: WorkerProcess) -> None:
        """A worker died: its lease is over, and there is room for another."""
        if worker.lease is not None:
            self.book.give_back(worker.lease.lease_id)
        self._start_waiting()

    def _start_waiting(self) -> None:
        for key in list(self._waiting):
            self._start_missing(key)

    def block(self, worker: WorkerProcess, blocked: bool) -> None:
        """A worker begins to wait or goes on."""
        worker.blocks += 1 if blocked else -1
        if worker.lease is not None and (worker.blocks == 1 if blocked else worker.blocks == 0):
            self.book.block(worker.lease.lease_id, blocked)

    # Telling

    def _tell_contention(self) -> None:
        """Ask clients for leases they do not use while somebody else waits for one."""
        wants = [want for want in self.book.wants if not want.infeasible]
        waiting = {(want.holder, want.class_key) for want in wants}
        contended = False
        if waiting:
            for lease in self.book.leases.values():
                mine = (lease.holder, lease.class_key)
                if len(lease.holder) == 8 and (len(waiting) > 1 or mine not in waiting):
                    contended = True
                    break
        if contended == self._contended and not contended:
            return
        changed = contended != self._contended
        self._contended = contended
        if changed or contended:
            for holder in {lease.holder for lease in self.book.leases.values() if len(lease.holder) == 8}:
                client = self._daemon.clients.get(holder)
                if client is not None and client.contended != contended:
                    client.contended = contended
                    self._daemon.tell(holder, [kinds.RECLAIM, contended])
        if changed and not contended:
            for client in self._daemon.clients.values():
                if client.contended:
                    client.contended = False
                    self._daemon.tell(client.worker_id, [kinds.RECLAIM, False])

    def _note_infeasible(self) -> None:
        for want in self.book.wants:
            key = (want.holder, want.class_key)
            if not want.infeasible:
                if self._told.pop(key, 0.0) == -1.0 and len(want.holder) == 8:
                    self._daemon.tell(want.holder, [kinds.CLASS_STATE, want.class_key, "feasible", "", None])
                continue
            if key not in self._told:
                self._told[key] = time.monotonic()
                config = self._daemon.config
                wait = 0.0 if config.infeasible == "error" else config.infeasible_warning_seconds
                self._daemon.call_later(wait, functools.partial(self._tell_infeasible, key))

    def _tell_infeasible(self, key: tuple[bytes, bytes]) -> None:
        want = next((w for w in self.book.wants if (w.holder, w.class_key) == key), None)
        if want is None or not want.infeasible or self._told.get(key) == -1.0:
            return
        self._told[key] = -1.0
        holder, class_key = key
        text = (
            f"no node can ever run this: {want.reason}. This cluster has {self.book.total!r}. "
            "It waits until a node joins that can; cancel it, or ask for less"
        )
        if len(holder) == 16:
            self._daemon.actors.infeasible(holder, text)
        else:
            self._daemon.tell(holder, [kinds.CLASS_STATE, class_key, "infeasible", text, None])

    def group_removed(self, group_id: bytes) -> None:
        """A placement group is gone: work in it ends."""
        certificate = self._removed_certificate(group_id)
        for lease in self.book.release_group(group_id):
            worker = self._worker_of(lease.lease_id)
            if worker is not None:
                worker.lease = None
                self._daemon.pool.kill(worker, certificate)
        for want in list(self.book.wants):
            strategy = want.demand.strategy
            if isinstance(strategy, PlacementGroupStrategy) and strategy.group_id == group_id:
                self.book.want(want.holder, want.class_key, want.demand, 0, 0)
                self._tell_removed(want.holder, want.class_key, group_id)

    def _removed_certificate(self, group_id: bytes) -> DeathCertificate:
        return DeathCertificate(
            what="worker",
            node=self._node.hex(),
            when=time.time(),
            cause=Cause.GROUP_REMOVED,
            detail=f"placement group {group_id.hex()} was removed",
        )

    def _tell_removed(self, holder: bytes, key: bytes, group_id: bytes) -> None:
        certificate = self._removed_certificate(group_id)
        if len(holder) == 16:
            self._daemon.actors.cannot_start(holder, certificate)
            return
        packed = plain_certificate(certificate)
        self._daemon.tell(holder, [kinds.CLASS_STATE, key, "removed", certificate.detail, packed])

    def infeasible_reason(self, wire: dict[str, Any]) -> str:
        """Return why no node can ever run a class, or nothing if some could."""
        if wire["strategy"][0] == "group":
            return ""
        decision = self._place(self.demand_of(wire), self.book.total)
        return decision.reason if isinstance(decision, Infeasible) else ""

    def explain(self, holder: bytes, key: bytes) -> list[str]:
        """Say why a want is not met."""
        for want in self.book.wants:
            if want.holder == holder and want.class_key == key:
                state = "no node can ever run it" if want.infeasible else "it waits for resources"
                return [f"{state}: {want.reason or 'not tried yet'}", f"free now: {self.book.available!r}"]
        for waiting in self._waiting.values():
            for want, _ in waiting:
                if want.holder == holder and want.class_key == key:
                    return ["its resources are reserved; a worker process is being started for it"]
        return []


def strategy_from_wire(wire: list[Any]) -> Strategy:
    """Return a strategy from its plain form."""
    kind = wire[0]
    if kind == "spread":
        return SpreadStrategy()
    if kind == "node":
        return NodeAffinityStrategy(node_id=NodeID(wire[1]), soft=wire[2])
    if kind == "labels":
        return NodeLabelStrategy(
            hard={k: tuple(v) for k, v in wire[1].items()}, soft={k: tuple(v) for k, v in wire[2].items()}
        )
    if kind == "group":
        return PlacementGroupStrategy(
            group_id=PlacementGroupID(wire[1]), bundle_index=wire[2], capture_child_tasks=wire[3]
        )
    return DefaultStrategy()
