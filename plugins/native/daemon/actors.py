"""The directory's shell: carries out what the state machine of actors asks for."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from shoal.death import Cause, DeathCertificate
from shoal.machines.actors import (
    ActorDirectory,
    ActorEnded,
    ActorRecord,
    Effect,
    EndWorker,
    PlaceActor,
    TellActor,
    WithdrawActor,
)
from shoal.native.daemon.workers import WorkerProcess
from shoal.native.wire import kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.spec.resources import ResourceSet

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_GENTLE = (Cause.OUT_OF_SCOPE, Cause.INTENDED_EXIT)


class ActorsShell:
    """Actors of this cluster."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.directory = ActorDirectory()
        self._classes: dict[bytes, bytes] = {}  # hash → pickled class

    def create(self, creator: bytes, wire: dict[str, Any]) -> dict[str, Any]:
        """Add an actor, or find the one of that name. Returns {"taken": …} or {"existing": …} or {}."""
        name, namespace = wire["name"], wire["namespace"]
        if name:
            existing = self.directory.find_name(name, namespace)
            if existing is not None:
                if wire["get_if_exists"]:
                    return {"existing": self.describe(existing)}
                return {"taken": self.describe(existing)}
        if wire["class"] is not None:
            self._classes[wire["class_hash"]] = wire["class"]
        record = ActorRecord(
            actor_id=wire["actor"],
            creator=creator,
            class_name=wire["options"]["class_name"],
            name=name,
            namespace=namespace,
            detached=wire["detached"],
            max_restarts=wire["max_restarts"],
            specification=wire,
        )
        _, effects = self.directory.create(record)
        self._carry_out(effects)
        return {}

    def arguments_ready(self, actor_id: bytes, arguments: bytes, extra: dict[str, Any] | None) -> None:
        """The values that an actor's constructor waits for are there."""
        record = self.directory.find(actor_id)
        if record is not None and record.state != "DEAD":
            record.specification["arguments"] = arguments
            record.specification["extra"] = extra
            self._place(actor_id)
            self._daemon.schedule()

    def arguments_failed(self, actor_id: bytes, error: bytes) -> None:
        """A value that an actor's constructor waits for is an error."""
        record = self.directory.find(actor_id)
        if record is not None:
            record.error = error
            self.cannot_start(
                actor_id, self._certificate(actor_id, Cause.INIT_FAILED, "an argument is an error")
            )

    def describe(self, record: ActorRecord) -> dict[str, Any]:
        """Return what the directory tells of an actor."""
        return {
            "actor": record.actor_id,
            "class_name": record.class_name,
            "name": record.name,
            "namespace": record.namespace,
            "state": record.state,
            "detached": record.detached,
            "info": record.specification.get("info"),
            "worker": record.worker,
            "restarts": record.restarts,
            "certificate": plain_certificate(record.certificate),
        }

    def start_on(self, actor_id: bytes, worker: WorkerProcess, grant: dict[str, Any]) -> None:
        """A worker was found for an actor: have it constructed there."""
        incarnation = self.directory.placed(actor_id, worker.worker_id)
        record = self.directory.find(actor_id)
        if not incarnation or record is None:
            self._daemon.pool.end(worker, None)
            return
        wire = record.specification
        worker.label = record.class_name
        worker.retriable = record.max_restarts != 0
        message = {
            "actor": actor_id,
            "incarnation": incarnation,
            "creator": record.creator if record.creator in self._daemon.clients else b"",
            "class": self._classes[wire["class_hash"]],
            "captured": wire["captured"],
            "arguments": wire["arguments"],
            "extra": wire["extra"],
            "options": wire["options"],
            "name": record.name,
            "namespace": record.namespace,
            "grant": grant,
        }
        assert worker.connection is not None
        self._daemon.reactor.send(worker.connection, [kinds.START_ACTOR, message])

    def ready(self, worker: WorkerProcess, actor_id: bytes, incarnation: int) -> None:
        """An actor is constructed."""
        record = self.directory.find(actor_id)
        if record is not None and worker.lease is not None and record.state != "DEAD":
            self._daemon.scheduling.book.resize(
                worker.lease.lease_id, ResourceSet(record.specification["living"])
            )
        self._carry_out(self.directory.ready(actor_id, incarnation))

    def init_failed(self, worker: WorkerProcess, actor_id: bytes, incarnation: int, error: bytes) -> None:
        """An actor's constructor raised."""
        certificate = self._certificate(actor_id, Cause.INIT_FAILED, "its constructor raised", worker.pid)
        self._carry_out(self.directory.init_failed(actor_id, incarnation, error, certificate))

    def worker_died(self, worker: WorkerProcess, certificate: DeathCertificate) -> None:
        """A worker process is gone."""
        if worker.actor_id:
            import attrs

            record = self.directory.find(worker.actor_id)
            name = record.class_name if record is not None else certificate.name
            certificate = attrs.evolve(certificate, what="actor", identity=worker.actor_id.hex(), name=name)
            self._carry_out(self.directory.worker_died(worker.worker_id, certificate))

    def cannot_start(self, actor_id: bytes, certificate: DeathCertificate) -> None:
        """No worker can be had for an actor."""
        self._carry_out(self.directory.cannot_start(actor_id, certificate))

    def infeasible(self, actor_id: bytes, text: str) -> None:
        """No node can ever hold an actor: it fails, or its creator is warned, as the settings say."""
        record = self.directory.find(actor_id)
        if record is None:
            return
        if self._daemon.config.infeasible == "error":
            self.cannot_start(actor_id, self._certificate(actor_id, Cause.UNSCHEDULABLE, text))
        else:
            self._daemon.tell(record.creator, [kinds.WARNING, f"actor {record.class_name}: {text}"])

    def kill(self, actor_id: bytes, no_restart: bool) -> None:
        """kill() was called."""
        certificate = self._certificate(actor_id, Cause.KILLED_BY_USER, "kill() was called on it")
        self._carry_out(self.directory.kill(actor_id, no_restart, certificate))

    def end(self, actor_id: bytes) -> None:
        """No handle of an actor is left."""
        record = self.directory.find(actor_id)
        if record is None or record.detached:
            return
        certificate = self._certificate(
            actor_id, Cause.OUT_OF_SCOPE, "every handle of it has gone out of scope"
        )
        self._carry_out(self.directory.kill(actor_id, True, certificate))

    def exiting(self, actor_id: bytes, certificate: DeathCertificate) -> None:
        """An actor ends by its own wish."""
        self._carry_out(self.directory.exiting(actor_id, certificate))

    def subscribe(self, actor_id: bytes, client: bytes) -> None:
        """A client wants to know an actor's state."""
        self._carry_out(self.directory.subscribe(actor_id, client))

    def client_gone(self, client: bytes) -> None:
        """A process is gone: its actors that are not detached end."""
        certificate = DeathCertificate(
            what="actor",
            node=self._daemon.session.node_id.hex(),
            when=time.time(),
            cause=Cause.OWNER_DIED,
            detail=f"the process {client.hex()} that created it is gone",
        )
        self._carry_out(self.directory.client_gone(client, certificate))

    def _certificate(self, actor_id: bytes, cause: Cause, detail: str, pid: int = 0) -> DeathCertificate:
        record = self.directory.find(actor_id)
        if not pid and record is not None:
            worker = self._daemon.pool.workers.get(record.worker)
            pid = worker.pid if worker is not None else 0
        return DeathCertificate(
            what="actor",
            identity=actor_id.hex(),
            name=record.class_name if record is not None else "",
            node=self._daemon.session.node_id.hex(),
            process=pid,
            when=time.time(),
            cause=cause,
            detail=detail,
        )

    # Effects

    def _carry_out(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, PlaceActor):
                self._place(effect.actor_id)
            elif isinstance(effect, WithdrawActor):
                self._daemon.scheduling.withdraw(effect.actor_id)
            elif isinstance(effect, EndWorker):
                worker = self._daemon.pool.workers.get(effect.worker)
                if worker is None:
                    continue
                if effect.certificate.cause in _GENTLE:
                    self._daemon.pool.end(worker, effect.certificate)
                else:
                    self._daemon.pool.kill(worker, effect.certificate)
            elif isinstance(effect, TellActor):
                for client in effect.clients:
                    self._tell(effect.actor_id, client)
            elif isinstance(effect, ActorEnded):
                self._daemon.observe_actor(effect.actor_id, effect.restarting, effect.certificate)
        self._daemon.schedule()

    def _place(self, actor_id: bytes) -> None:
        record = self.directory.find(actor_id)
        if record is not None and record.specification["arguments"] is not None:
            wire = record.specification
            self._daemon.scheduling.want_actor(actor_id, wire["class_key"], wire["demand"], wire["depth"])

    def _tell(self, actor_id: bytes, client: bytes) -> None:
        record = self.directory.find(actor_id)
        if record is None:
            certificate = self._certificate(actor_id, Cause.LOST, "the directory does not know it (any more)")
            message = [kinds.ACTOR_STATE, actor_id, "DEAD", b"", 0, plain_certificate(certificate), None]
        else:
            message = [
                kinds.ACTOR_STATE,
                actor_id,
                record.state,
                record.worker,
                record.incarnation,
                plain_certificate(record.certificate),
                record.error,
            ]
        self._daemon.tell(client, message)
