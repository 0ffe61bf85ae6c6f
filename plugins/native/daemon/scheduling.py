"""Leases to workers: joins the lease book (who may use what) with the worker pool (which process does it)."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from shoal.death import Cause, DeathCertificate
from shoal.ids import NodeID
from shoal.machines.leases import Forward, Lease, LeaseBook, Want
from shoal.native.daemon.environments import Environments
from shoal.native.daemon.jobs import LocalJobs
from shoal.native.daemon.lending import Lending
from shoal.native.daemon.workers import WorkerProcess
from shoal.native.process.environments import CONFIG, JOB
from shoal.native.wire import control, kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.native.wire.demand import demand_from_wire
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import PlacementGroupStrategy
from shoal.spec.view import ClusterView, Decision, Demand, NodeView, Placement, Wait

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_NO_ENVIRONMENT = b""
_MOST_SHOWN = 50
_WAITS_FOR_MACHINE = -2.0  # of an infeasible want: an autoscaler can launch one that it fits on
_START_FAILURES = 3  # workers that may die before they register, one after the other


class Scheduling:
    """The daemon's scheduler shell. `step` does what can be done now."""

    def __init__(self, daemon: Daemon, total: ResourceSet, devices: dict[str, list[str]]) -> None:
        self._daemon = daemon
        self._node = NodeID(daemon.session.node_id)
        self._labels = daemon.labels
        self._turn = 0
        self.jobs = LocalJobs(daemon, self, daemon.sharing)
        first_lease = (daemon.number << 40) + 1
        self.book = LeaseBook(total, devices, self._place, self._node, first_lease, self.jobs.shares)
        self.lending = Lending(daemon, self)
        self._classes: dict[bytes, dict[str, Any]] = {}
        self._waiting: dict[bytes, deque[tuple[Want, Lease]]] = {}  # environment → leases without a worker
        self.environments = Environments(daemon, _NO_ENVIRONMENT, self._environment_done)
        self._failures: dict[bytes, int] = {}
        self._told: dict[tuple[bytes, bytes], float] = {}  # infeasible wants: when first seen, −1 when told

    # The plugin

    def _place(self, demand: Demand, available: ResourceSet, class_key: bytes) -> Decision:
        if isinstance(demand.strategy, PlacementGroupStrategy):
            return self._place_in_group(demand.strategy, class_key)
        return self._daemon.scheduler.place(
            demand, self.lending.without_full(self.view(available), class_key)
        )

    def _place_in_group(self, strategy: PlacementGroupStrategy, class_key: bytes) -> Decision:
        """Choose another node that holds a bundle: there is no room in those that are here."""
        numbers = self._daemon.groups.nodes_of(strategy.group_id, strategy.bundle_index)
        for number in numbers:
            node = self._daemon.nodes.find(number)
            if node is not None and node.alive and not self.lending.is_full(number, class_key):
                return Placement(node.view.node_id)
        return Wait("its placement group's bundles are in use" if numbers else "")

    def view(self, available: ResourceSet | None = None) -> ClusterView:
        """Return the cluster as this node sees it."""
        shown = self.book.available if available is None else available
        own = NodeView(
            node_id=self._node,
            total=self.book.total,
            available=shown.clipped(),
            labels=self._labels,
            draining=self._daemon.draining,
            address=self._daemon.address or "local",
        )
        return self._daemon.nodes.view_with(own)

    # Demands

    def demand(
        self,
        holder: bytes,
        key: bytes,
        count: int,
        depth: int,
        wire: dict[str, Any] | None,
        where: dict[int, int],
    ) -> None:
        """A client says how many leases more it wants, and how many bytes of arguments lie on which node."""
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
        demand = self.demand_of(known)
        if where:
            demand = attrs.evolve(demand, argument_bytes=self._daemon.nodes.by_id(where))
        self.book.want(holder, key, demand, count, depth, self.jobs.of(known))
        if not count:
            self._told.pop((holder, key), None)

    def want_actor(self, actor_id: bytes, key: bytes, wire: dict[str, Any], depth: int) -> None:
        """An actor wants a place."""
        self._classes[key] = wire
        if wire["strategy"][0] == "group" and not self._daemon.groups.is_living(wire["strategy"][1]):
            self._tell_removed(actor_id, key, wire["strategy"][1])
            return
        self.book.want(actor_id, key, self.demand_of(wire), 1, depth, self.jobs.of(wire))

    def take_for_actor(self, actor_id: bytes, key: bytes, wire: dict[str, Any], depth: int) -> str:
        """Take a place for an actor now. Returns why that cannot be, "" if it was done."""
        self._classes[key] = wire
        return self.grant_here(actor_id, key, wire, depth)

    def grant_here(self, holder: bytes, key: bytes, wire: dict[str, Any], depth: int) -> str:
        """Grant a lease from what is free here. Returns why that cannot be, "" if it was done."""
        self._classes[key] = wire
        demand = self.demand_of(wire)
        found = self.book.grant_here(holder, key, demand, depth, self.jobs.of(wire))
        if isinstance(found, str):
            return found
        self._assign(Want(holder, key, demand, 0, depth, 0), found)
        self._daemon.reports.soon()
        return ""

    def class_of(self, key: bytes) -> dict[str, Any]:
        """Return a scheduling class that was asked for."""
        return self._classes[key]

    def demand_of(self, wire: dict[str, Any]) -> Demand:
        """Return a scheduling class's demand."""
        self._turn += 1
        return demand_from_wire(wire, self._turn)

    def withdraw(self, holder: bytes) -> None:
        """A holder is gone: its wants and leases end, here and elsewhere."""
        self.lending.holder_gone(holder)
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
        for want, found in self.book.grant():
            if isinstance(found, Forward):
                self.lending.ask(want, found.node_id, self._classes[want.class_key])
            else:
                self._assign(want, found)
        self.lending.tell_room()
        self.jobs.after_step()
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
        if self.environments.find(key) is None:
            self.environments.build(key, self._classes[waiting[0][0].class_key]["environment"])
            return
        for _ in range(len(waiting) - self._daemon.pool.starting(key)):
            if not self._start_worker(key):
                return  # when a worker has gone there is room again

    def _start_worker(self, key: bytes) -> bool:
        pool = self._daemon.pool
        if not pool.has_room():
            pool.end_longest_idle()
            return False
        changes = self.environments.find(key)
        assert changes is not None
        job = msgspec.msgpack.decode(key).get(JOB) if key else None
        pool.start(key, changes, job)
        return True

    def prestart(self, count: int) -> None:
        """Start workers before anybody asks."""
        for _ in range(count):
            self._start_worker(_NO_ENVIRONMENT)

    def _environment_done(self, key: bytes, failed: str) -> None:
        if failed:
            self._fail_waiting(key, failed)
        else:
            self._start_missing(key)

    def build_early(self, environment: dict[str, Any]) -> None:
        """Build an environment before anybody asks for a worker with it, unless it says that this can wait."""
        if environment and environment.get(CONFIG, {}).get("eager_install", True):
            self.environments.build(msgspec.msgpack.encode(environment), environment)

    def let_go_of_environments(self) -> None:
        """Let go of what no worker uses."""
        in_use = {worker.environment_key for worker in self._daemon.pool.workers.values()}
        in_use.update(key for key, waiting in self._waiting.items() if waiting)
        self.environments.let_go(in_use)

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
                # All of it is in the certificate.
                f"the environment of a worker could not be made: {text.partition(chr(10))[0]}",
                plain_certificate(certificate),
            ]
            self.lending.tell_failed(want.holder, want.class_key, message)
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
        self.lending.hand_over(want.holder, want.class_key, lease.lease_id, worker.worker_id, grant)

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
        if self.lending.returned(lease_id, must_end):
            return
        worker = self._worker_of(lease_id)
        self.book.give_back(lease_id)
        self.lending.freed = True
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
            self.lending.freed = True
        self._start_waiting()

    def _start_waiting(self) -> None:
        for key in list(self._waiting):
            self._start_missing(key)

    def block(self, worker: WorkerProcess, blocked: bool) -> None:
        """A worker begins to wait or goes on."""
        worker.blocks += 1 if blocked else -1
        if worker.lease is not None and (worker.blocks == 1 if blocked else worker.blocks == 0):
            self.book.block(worker.lease.lease_id, blocked)
            self.lending.freed = self.lending.freed or blocked

    # Telling

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
        if want is None or not want.infeasible or self._told.get(key, -1.0) < 0:
            return
        self._told[key] = -1.0
        holder, class_key = key
        scaling = self._daemon.scaling
        rescue = scaling.rescue(want)
        if rescue:
            self._told[key] = _WAITS_FOR_MACHINE
            if len(holder) != 16:
                text = f"{self._classes[class_key].get('name', '')}: no node can run this yet ({want.reason}); {rescue}"
                self._daemon.tell(holder, [kinds.WARNING, text])
            return
        text = (
            f"no node can ever run this: {want.reason}. This cluster has {self._everything()!r}. "
            + (f"{scaling.offers.why_not()}. " if scaling.offers.all else "")
            + "It waits until a node joins that can; cancel it, or ask for less"
        )
        if len(holder) == 16:
            self._daemon.uplink.up([control.ACTOR_INFEASIBLE, holder, text])
        else:
            self._daemon.tell(holder, [kinds.CLASS_STATE, class_key, "infeasible", text, None])

    def judge_again(self) -> None:
        """What an autoscaler can launch has changed: what no node can hold may be had now, or not any more."""
        for key, told in list(self._told.items()):
            if told != _WAITS_FOR_MACHINE and not (told < 0 and self._daemon.scaling.offers.all):
                continue
            del self._told[key]
            if told != _WAITS_FOR_MACHINE and len(key[0]) == 8:
                self._daemon.tell(key[0], [kinds.CLASS_STATE, key[1], "feasible", "", None])

    def _everything(self) -> ResourceSet:
        total = ResourceSet()
        for node in self.view().usable():
            total = total + node.total
        return total

    def release_bundles(self, group_id: bytes, bundles: Collection[int]) -> None:
        """Bundles that were reserved here are given back: work in them ends."""
        certificate = self._removed_certificate(group_id)
        for lease in self.book.release_group(group_id, bundles):
            worker = self._worker_of(lease.lease_id)
            if worker is not None:
                worker.lease = None
                self._daemon.pool.kill(worker, certificate)
        self.lending.freed = True
        self._daemon.schedule()

    def group_removed(self, group_id: bytes) -> None:
        """A placement group is gone: nothing that waits for it will run."""
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

    def demands(self) -> list[list[Any]]:
        """Return [what, how many, resources, why, job] of what waits here: the first few."""
        return [
            [
                self._classes[want.class_key].get("name", ""),
                want.count,
                repr(want.demand.resources),
                want.reason,
                want.job,
            ]
            for want in self.book.wants[:_MOST_SHOWN]
        ]

    def explain(self, holder: bytes, key: bytes) -> list[str]:
        """Say why a want is not met."""
        for want in self.book.wants:
            if want.holder == holder and want.class_key == key:
                state = "no node can ever run it" if want.infeasible else "it waits for resources"
                if want.infeasible and (rescue := self._daemon.scaling.rescue(want)):
                    state = f"no node can run it yet; {rescue}"
                return [f"{state}: {want.reason or 'not tried yet'}", f"free now: {self.book.available!r}"]
        for waiting in self._waiting.values():
            for want, _ in waiting:
                if want.holder == holder and want.class_key == key:
                    return ["its resources are reserved; a worker process is being started for it"]
        return []
