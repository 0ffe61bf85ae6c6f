"""The actors that live on this node, or are to: started, watched and ended as the head's directory says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

from shoal.death import Cause, DeathCertificate
from shoal.native.daemon.workers import WorkerProcess
from shoal.native.wire import control, kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.spec.resources import ResourceSet

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_GENTLE = (Cause.OUT_OF_SCOPE, Cause.INTENDED_EXIT)


@attrs.define(eq=False)
class _Start:
    """An actor that this node was asked to start."""

    incarnation: int
    specification: dict[str, Any]
    worker: bytes = b""
    ready: bool = False


class LocalActors:
    """What the head asked this node to start and has not withdrawn."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._starts: dict[bytes, _Start] = {}

    # The head asks

    def start(
        self, actor_id: bytes, incarnation: int, specification: dict[str, Any], may_refuse: bool
    ) -> None:
        """Find a worker for an actor. With `may_refuse` it does not wait here for room."""
        daemon = self._daemon
        if may_refuse and specification["demand"]["strategy"][0] != "group":
            jobs, demand = daemon.scheduling.jobs, specification["demand"]
            jobs.purpose_comes(jobs.of(demand), demand["resources"])
        if daemon.draining:
            self._hand_back(specification)
            daemon.uplink.up([control.ACTOR_REFUSED, actor_id, incarnation, "the node is being drained"])
            return
        self._starts[actor_id] = _Start(incarnation, specification)
        key, wire = specification["class_key"], specification["demand"]
        if not may_refuse:
            daemon.scheduling.want_actor(actor_id, key, wire, specification["depth"])
            daemon.schedule()
            return
        reason = daemon.scheduling.take_for_actor(actor_id, key, wire, specification["depth"])
        if reason:
            del self._starts[actor_id]
            self._hand_back(specification)
            daemon.uplink.up([control.ACTOR_REFUSED, actor_id, incarnation, reason])

    def _hand_back(self, specification: dict[str, Any]) -> None:
        """The head gave a part of a quota for an actor that is refused."""
        jobs, demand = self._daemon.scheduling.jobs, specification["demand"]
        jobs.not_needed(jobs.of(demand), demand["resources"])

    def withdraw(self, actor_id: bytes) -> None:
        """Stop looking for a place for an actor, or take its place back."""
        start = self._starts.pop(actor_id, None)
        if start is not None and start.worker:
            worker = self._daemon.pool.workers.get(start.worker)
            if worker is not None and worker.ending is None:
                cause = DeathCertificate(
                    what="actor", cause=Cause.LOST, detail="it is not wanted here any more"
                )
                self._daemon.pool.kill(worker, cause)
        self._daemon.scheduling.withdraw(actor_id)
        self._daemon.schedule()

    def end_worker(self, worker_id: bytes, certificate: dict[str, Any]) -> None:
        """End a worker process, gently where it ends by nobody's fault."""
        worker = self._daemon.pool.workers.get(worker_id)
        if worker is None:
            return
        told = DeathCertificate(**certificate)
        if not told.process:
            told = attrs.evolve(told, process=worker.pid)
        if told.cause in _GENTLE:
            self._daemon.pool.end(worker, told)
        else:
            self._daemon.pool.kill(worker, told)

    def living(self) -> list[list[Any]]:
        """Return [actor, incarnation, worker, process, ready] of each actor that has a worker here."""
        found = []
        for actor_id, start in self._starts.items():
            worker = self._daemon.pool.workers.get(start.worker)
            if worker is not None and worker.ending is None:
                found.append([actor_id, start.incarnation, start.worker, worker.pid, start.ready])
        return found

    def explain(self, actor_id: bytes, lines: list[str]) -> list[str]:
        """Add why an actor waits here."""
        start = self._starts.get(actor_id)
        if start is None:
            return lines
        return lines + self._daemon.scheduling.explain(actor_id, start.specification["class_key"])

    # The node tells

    def start_on(self, actor_id: bytes, worker: WorkerProcess, grant: dict[str, Any]) -> None:
        """A worker was found for an actor: have it constructed there."""
        start = self._starts.get(actor_id)
        if start is None:
            self._daemon.pool.end(worker, None)
            return
        start.worker = worker.worker_id
        wire = start.specification
        worker.label = wire["options"]["class_name"]
        worker.retriable = wire["restartable"]
        told = [control.ACTOR_PLACED, actor_id, start.incarnation, worker.worker_id, worker.pid]
        self._daemon.uplink.up(told)
        message = {
            "actor": actor_id,
            "incarnation": start.incarnation,
            "restarted": wire["restarted"],
            "creator": wire["creator"],
            "class": wire["class"],
            "captured": wire["captured"],
            "arguments": wire["arguments"],
            "extra": wire["extra"],
            "options": wire["options"],
            "name": wire["name"],
            "namespace": wire["namespace"],
            "grant": grant,
        }
        assert worker.connection is not None
        self._daemon.reactor.send(worker.connection, [kinds.START_ACTOR, message])

    def ready(self, worker: WorkerProcess, actor_id: bytes, incarnation: int) -> None:
        """An actor is constructed."""
        start = self._starts.get(actor_id)
        if start is not None and start.incarnation == incarnation and worker.lease is not None:
            living = ResourceSet(start.specification["living"])
            self._daemon.scheduling.book.resize(worker.lease.lease_id, living)
            start.ready = True
        self._daemon.uplink.up([control.ACTOR_IS_READY, actor_id, incarnation])
        self._daemon.schedule()

    def init_failed(self, worker: WorkerProcess, actor_id: bytes, incarnation: int, error: bytes) -> None:
        """An actor's constructor raised."""
        self._daemon.uplink.up([control.ACTOR_RAISED, actor_id, incarnation, error, worker.pid])

    def worker_died(self, worker: WorkerProcess, certificate: DeathCertificate) -> None:
        """A worker process is gone."""
        if not worker.actor_id:
            return
        start = self._starts.get(worker.actor_id)
        if start is not None and start.worker == worker.worker_id:
            del self._starts[worker.actor_id]
        told = attrs.evolve(certificate, what="actor", identity=worker.actor_id.hex())
        self._daemon.uplink.up([control.ACTOR_GONE, worker.worker_id, plain_certificate(told)])

    def cannot_start(self, actor_id: bytes, certificate: DeathCertificate) -> None:
        """No worker can be had for an actor."""
        start = self._starts.pop(actor_id, None)
        if start is not None:
            packed = plain_certificate(certificate)
            self._daemon.uplink.up([control.ACTOR_UNPLACEABLE, actor_id, start.incarnation, packed])
