"""The directory's shell: carries out what the state machine of actors asks for, on whatever node."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import attrs

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
from shoal.machines.scaling import NeedTable, shape_of
from shoal.native.wire import control, kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.native.wire.demand import demand_from_wire
from shoal.native.wire.nodes import number_of
from shoal.spec.view import Infeasible, Placement

if TYPE_CHECKING:
    from shoal.native.head.head import Head

_log = logging.getLogger("shoal.head")
_RETRY_SECONDS = 0.05
_QUIET = (Cause.OUT_OF_SCOPE, Cause.KILLED_BY_USER)


class ActorsShell:
    """Actors of this cluster."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self.directory = ActorDirectory()
        self._classes: dict[bytes, bytes] = {}  # hash → pickled class
        self._where: dict[bytes, int] = {}  # actor → node that was asked to start it
        self._waiting: dict[bytes, str] = {}  # actors without a node, and why
        self._infeasible: set[bytes] = set()  # of them: no node can ever hold them
        self._warned: set[bytes] = set()
        self._turn = 0
        self._noted: dict[bytes, tuple[str, int, bytes]] = {}  # actors as the event log was told of them

    # From clients

    def create(self, creator: bytes, wire: dict[str, Any]) -> dict[str, Any]:
        """Add an actor, or find the one of that name. Returns {"taken": …} or {"existing": …} or {}."""
        name, namespace = wire["name"], wire["namespace"]
        known = self.directory.find(wire["actor"])
        if known is not None and known.creator == creator:
            return {}  # asked again, since the answer was lost with the last head
        if name:
            existing = self.directory.find_name(name, namespace)
            if existing is not None:
                if wire["get_if_exists"]:
                    return {"existing": self.describe(existing)}
                return {"taken": self.describe(existing)}
        if wire["class"] is not None:
            self._classes[wire["class_hash"]] = wire["class"]
            self._head.records.cls(wire["class_hash"], wire["class"])
        record = ActorRecord(
            actor_id=wire["actor"],
            creator=creator,
            class_name=wire["options"]["class_name"],
            name=name,
            namespace=namespace,
            detached=wire["detached"],
            max_restarts=wire["max_restarts"],
            specification=wire,
            durable=wire["options"]["durable"] is not None,
        )
        if record.detached:
            self._head.keep_packages(wire["demand"]["environment"])
        _, effects = self.directory.create(record)
        self._save(record.actor_id)
        self._carry_out(effects)
        return {}

    def arguments_ready(self, actor_id: bytes, arguments: bytes, extra: dict[str, Any] | None) -> None:
        """The values that an actor's constructor waits for are there."""
        record = self.directory.find(actor_id)
        if record is not None and record.state != "DEAD":
            record.specification["arguments"] = arguments
            record.specification["extra"] = extra
            self._save(actor_id)
            self._place(actor_id)

    def arguments_failed(self, actor_id: bytes, error: bytes) -> None:
        """A value that an actor's constructor waits for is an error."""
        record = self.directory.find(actor_id)
        if record is not None:
            record.error = error
            certificate = self._certificate(actor_id, Cause.INIT_FAILED, "an argument is an error")
            self._carry_out(self.directory.cannot_start(actor_id, certificate))

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

    def subscribe(self, actor_id: bytes, client: bytes) -> None:
        """A client wants to know an actor's state."""
        self._carry_out(self.directory.subscribe(actor_id, client))

    def client_gone(self, client: bytes) -> None:
        """A process is gone: its actors that are not detached end."""
        certificate = DeathCertificate(
            what="actor",
            when=time.time(),
            cause=Cause.OWNER_DIED,
            detail=f"the process {client.hex()} that created it is gone",
        )
        self._carry_out(self.directory.client_gone(client, certificate))

    def creators(self) -> set[bytes]:
        """Return the processes that created living actors; b"" stands for those that are gone already."""
        return {record.creator for record in self.directory.all() if record.state != "DEAD"}

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

    def explain(self, actor_id: bytes) -> tuple[list[str], int]:
        """Return why an actor does not run (yet), and the node that knows more, 0 if none does."""
        record = self.directory.find(actor_id)
        if record is None:
            return ["the directory does not know it"], 0
        lines = [f"the actor {record.class_name} is {record.state}"]
        if record.certificate is not None and record.state in ("DEAD", "RESTARTING"):
            lines += str(record.certificate).splitlines()
        if record.state not in ("PENDING", "RESTARTING"):
            return lines, 0
        if record.worker:
            return [*lines, "its constructor is running"], 0
        if actor_id in self._waiting:
            state = "no node can ever run it" if actor_id in self._infeasible else "it waits for resources"
            return [*lines, f"{state}: {self._waiting[actor_id]}"], 0
        return lines, self._where.get(actor_id, 0)

    # From nodes

    def placed(self, actor_id: bytes, incarnation: int, worker: bytes, pid: int) -> None:
        """A worker begins to construct an actor."""
        if not self.directory.placed(actor_id, incarnation, worker, pid):
            certificate = self._certificate(actor_id, Cause.LOST, "it was not wanted any more when it began")
            self._end_worker(worker, certificate)
        else:
            self._save(actor_id)

    def refused(self, actor_id: bytes, incarnation: int, reason: str) -> None:
        """The node that was asked has no room any more."""
        record = self.directory.find(actor_id)
        if record is not None and record.incarnation == incarnation and not record.worker:
            self._where.pop(actor_id, None)
            self._wait(actor_id, reason)
            # The view was older than the truth, and what is true may have arrived before the refusal.
            self._head.call_later(_RETRY_SECONDS, self.try_pending)

    def unplaceable(self, actor_id: bytes, incarnation: int, certificate: dict[str, Any]) -> None:
        """No worker can be had for an actor: its environment failed."""
        record = self.directory.find(actor_id)
        if record is not None and record.incarnation == incarnation:
            self._carry_out(self.directory.cannot_start(actor_id, DeathCertificate(**certificate)))

    def ready(self, actor_id: bytes, incarnation: int) -> None:
        """An actor is constructed."""
        self._carry_out(self.directory.ready(actor_id, incarnation))

    def init_failed(self, actor_id: bytes, incarnation: int, error: bytes, pid: int) -> None:
        """An actor's constructor raised."""
        certificate = self._certificate(actor_id, Cause.INIT_FAILED, "its constructor raised", pid)
        self._carry_out(self.directory.init_failed(actor_id, incarnation, error, certificate))

    def exiting(self, actor_id: bytes, certificate: dict[str, Any]) -> None:
        """An actor ends by its own wish."""
        self._carry_out(self.directory.exiting(actor_id, DeathCertificate(**certificate)))

    def worker_died(self, worker: bytes, certificate: dict[str, Any]) -> None:
        """The process of an actor is gone."""
        told = DeathCertificate(**certificate)
        record = self.directory.find(bytes.fromhex(told.identity))
        if record is not None:
            told = attrs.evolve(told, name=record.class_name)
        self._carry_out(self.directory.worker_died(worker, told))

    def infeasible(self, actor_id: bytes, text: str) -> None:
        """No node can ever hold an actor: it fails, or its creator is warned, as the settings say."""
        record = self.directory.find(actor_id)
        if record is None or record.state == "DEAD":
            return
        rescue = self._head.scaling.rescue(demand_from_wire(record.specification["demand"], 0))
        if rescue:
            text = f"actor {record.class_name}: no node can hold it yet; {rescue}"
            self._head.tell(record.creator, [kinds.WARNING, text])
        elif self._head.config.infeasible == "error":
            certificate = self._certificate(actor_id, Cause.UNSCHEDULABLE, text)
            self._carry_out(self.directory.cannot_start(actor_id, certificate))
        else:
            self._head.tell(record.creator, [kinds.WARNING, f"actor {record.class_name}: {text}"])

    def node_lost(self, number: int, reason: str) -> None:
        """A node is dead, and the actors that lived or were about to live there."""
        node = self._head.membership.find(number)
        hexadecimal = "" if node is None else node.node_id.hex()
        for record in self.directory.all():
            if record.state == "DEAD" or self._where.get(record.actor_id) != number:
                continue
            if not record.worker:
                self._where.pop(record.actor_id, None)
                self._place(record.actor_id)
                continue
            certificate = DeathCertificate(
                what="actor",
                identity=record.actor_id.hex(),
                name=record.class_name,
                node=hexadecimal,
                when=time.time(),
                cause=Cause.NODE_DIED,
                detail=f"node {hexadecimal} is dead: {reason}",
            )
            self._carry_out(self.directory.worker_died(record.worker, certificate))

    def group_removed(self, group_id: bytes) -> None:
        """Actors that wait for a place in a group that is gone never get one."""
        for actor_id in list(self._waiting):
            record = self.directory.find(actor_id)
            if record is None:
                continue
            strategy = record.specification["demand"]["strategy"]
            if strategy[0] == "group" and strategy[1] == group_id:
                self._group_is_gone(actor_id, group_id)

    # Placing

    def reconsider(self) -> None:
        """There is a choice of nodes now: what waits at the only node there was is placed anew."""
        for actor_id, number in list(self._where.items()):
            record = self.directory.find(actor_id)
            if record is not None and record.state in ("PENDING", "RESTARTING") and not record.worker:
                self._head.send(number, [control.WITHDRAW_ACTOR, actor_id])
                del self._where[actor_id]
                self._place(actor_id)

    @property
    def has_pending(self) -> bool:
        """Whether an actor waits for a node."""
        return bool(self._waiting)

    def waiting(self) -> list[dict[str, Any]]:
        """Return the actors that wait for a node, for people."""
        found = []
        for actor_id, reason in self._waiting.items():
            record = self.directory.find(actor_id)
            if record is not None:
                demand = demand_from_wire(record.specification["demand"], 0).resources
                what = f"actor {record.name or record.class_name}"
                job = self._job_of(record)
                shown = {"what": what, "count": 1, "demand": repr(demand), "reason": reason}
                found.append({**shown, "job": job, "node": 0})
        return found

    def waiting_demands(self) -> list[tuple[bytes, dict[str, int]]]:
        """Return (job, units) of each actor that waits for room on some node, and not for its quota."""
        found: list[tuple[bytes, dict[str, int]]] = []
        for actor_id in self._waiting.keys() - self._infeasible:
            record = self.directory.find(actor_id)
            if record is not None and record.state != "DEAD":
                demand = record.specification["demand"]
                job = self._job_of(record)
                if (
                    demand["strategy"][0] != "group"
                    and self._waiting[actor_id] != self._head.jobs.spec(job).at_quota()
                ):
                    found.append((job, demand["resources"]))
        return found

    def add_needs(self, table: NeedTable) -> None:
        """Add what waits for a node, and not for its job's quota."""
        for actor_id, reason in self._waiting.items():
            record = self.directory.find(actor_id)
            if record is None or record.state == "DEAD":
                continue
            if reason != self._head.jobs.spec(self._job_of(record)).at_quota():
                demand = demand_from_wire(record.specification["demand"], 0)
                table.add(shape_of(demand), 1, f"actor {record.name or record.class_name}")

    def _job_of(self, record: ActorRecord) -> bytes:
        return self._head.jobs.of_demand(record.specification.get("demand"))

    def try_pending(self) -> None:
        """Resources were freed, or a node has joined."""
        records = [record for key in self._waiting if (record := self.directory.find(key)) is not None]
        for record in self._head.jobs.in_order(records, self._job_of):
            self._place(record.actor_id)

    def _place(self, actor_id: bytes) -> None:
        """Choose a node and ask it to start an actor, or note why that must wait."""
        record = self.directory.find(actor_id)
        if record is None or record.state == "DEAD" or record.specification["arguments"] is None:
            self._forget_waiting(actor_id)
            return
        wire = record.specification["demand"]
        head = self._head
        if wire["strategy"][0] == "group":
            group_id, index = wire["strategy"][1], wire["strategy"][2]
            if not head.groups.is_living(group_id):
                self._group_is_gone(actor_id, group_id)
                return
            nodes = head.groups.node_of(group_id, index)
            if head.has_one_node():
                nodes = list(head.links)
            if not nodes:
                self._waiting[actor_id] = f"placement group {group_id.hex()} is not reserved yet"
                return
            self._turn += 1
            self._start(record, nodes[self._turn % len(nodes)])
            return
        if head.has_one_node():
            # There is nothing to choose: the node itself says what it has, and keeps who waits in order.
            self._start(record, next(iter(head.links)))
            return
        head.refresh()
        self._turn += 1
        decision = head.scheduler.place(demand_from_wire(wire, self._turn), head.membership.view())
        if isinstance(decision, Placement):
            node = head.membership.find_id(decision.node_id)
            if record.worker or record.state not in ("PENDING", "RESTARTING"):
                self._forget_waiting(actor_id)
                return
            if node is not None and node.number in head.links:
                reason = head.jobs.take(self._job_of(record), {node.number: wire["resources"]})
                if reason:
                    self._wait(actor_id, reason)
                else:
                    self._start(record, node.number)
                return
            self._waiting[actor_id] = f"node {decision.node_id.hex()} is not connected"
            return
        self._wait(actor_id, decision.reason)
        if isinstance(decision, Infeasible):
            self._infeasible.add(actor_id)
            if actor_id not in self._warned:
                self._warned.add(actor_id)
                wait = 0.0 if head.config.infeasible == "error" else head.config.infeasible_warning_seconds
                head.call_later(wait, lambda: self._tell_infeasible(actor_id))
        else:
            self._infeasible.discard(actor_id)

    def _wait(self, actor_id: bytes, reason: str) -> None:
        if actor_id not in self._waiting:
            self._head.jobs.waiting_changed()
        self._waiting[actor_id] = reason

    def _tell_infeasible(self, actor_id: bytes) -> None:
        self._warned.discard(actor_id)
        if actor_id in self._infeasible:
            more = self._head.scaling.offers.why_not()
            text = f"no node can ever run this: {self._waiting[actor_id]}. " + (f"{more}. " if more else "")
            text += "It waits until a node joins that can"
            self.infeasible(actor_id, text)

    def _forget_waiting(self, actor_id: bytes) -> None:
        if self._waiting.pop(actor_id, None) is not None:
            self._head.jobs.waiting_changed()
        self._infeasible.discard(actor_id)

    def _start(self, record: ActorRecord, number: int) -> None:
        actor_id = record.actor_id
        incarnation = self.directory.begin(actor_id)
        if not incarnation:
            return
        self._forget_waiting(actor_id)
        self._where[actor_id] = number
        self._save(actor_id)
        wire = record.specification
        specification = {
            "creator": record.creator,
            "class": self._classes[wire["class_hash"]],
            "captured": wire["captured"],
            "arguments": wire["arguments"],
            "extra": wire["extra"],
            "options": wire["options"],
            "name": record.name,
            "namespace": record.namespace,
            "class_key": wire["class_key"],
            "demand": wire["demand"],
            "depth": wire["depth"],
            "living": wire["living"],
            "restarted": record.restarts > 0,
            "restartable": record.max_restarts != 0,
        }
        may_refuse = not self._head.has_one_node()
        self._head.send(number, [control.START_ACTOR, actor_id, incarnation, specification, may_refuse])

    def _group_is_gone(self, actor_id: bytes, group_id: bytes) -> None:
        self._forget_waiting(actor_id)
        certificate = self._certificate(
            actor_id, Cause.GROUP_REMOVED, f"placement group {group_id.hex()} was removed"
        )
        self._carry_out(self.directory.cannot_start(actor_id, certificate))

    # Effects

    def _save(self, actor_id: bytes) -> None:
        record = self.directory.find(actor_id)
        if record is not None and self._head.records.keeps:
            self._head.records.actor(record, self._where.get(actor_id, 0))

    def _note(self, actor_id: bytes) -> None:
        """Tell the event log of an actor, if it is not as it was told of last."""
        record = self.directory.find(actor_id)
        if record is None:
            return
        now = (record.state, record.incarnation, record.worker)
        if self._noted.get(actor_id) == now:
            return
        if record.state == "DEAD":
            self._noted.pop(actor_id, None)
        else:
            self._noted[actor_id] = now
        certificate = record.certificate
        cause = "" if certificate is None else f"{certificate.cause.name}: {certificate.detail}"
        self._head.on_event(
            "actor",
            {
                "actor": actor_id,
                "class_name": record.class_name,
                "name": record.name,
                "namespace": record.namespace,
                "state": record.state,
                "detached": record.detached,
                "worker": record.worker,
                "pid": record.process,
                "restarts": record.restarts,
                "cause": cause,
                "job": self._job_of(record),
            },
        )

    def restore(self) -> None:
        """Go on with the actors of the last head: those without a node wait for one."""
        records = self._head.records
        self._classes = records.load_classes()
        for record, where in records.load_actors():
            self.directory.restore(record)
            if where:
                self._where[record.actor_id] = where
            elif record.specification["arguments"] is not None:
                self._waiting[record.actor_id] = "the head has just come back"

    def reconcile(self, number: int, actors: list[list[Any]], clients: set[bytes]) -> None:
        """A node tells which actors live there, [actor, incarnation, worker, process, ready], and which processes."""
        there = {actor[0]: actor for actor in actors}
        for actor_id, incarnation, worker, process, is_ready in actors:
            record = self.directory.find(actor_id)
            if record is None or record.worker != worker:
                self.placed(actor_id, incarnation, worker, process)
            elif record.ending is not None:
                self._end_worker(worker, record.ending)  # it was told so when the node could not hear it
            if is_ready and record is not None and record.state != "ALIVE":
                self.ready(actor_id, incarnation)
        for actor_id, where in list(self._where.items()):
            record = self.directory.find(actor_id)
            if where != number or actor_id in there or record is None or record.state == "DEAD":
                continue
            if record.worker:
                certificate = self._certificate(actor_id, Cause.LOST, "it ended while no head was there")
                self._carry_out(self.directory.worker_died(record.worker, certificate))
            else:
                self._where.pop(actor_id, None)
                self._place(actor_id)
        for creator in self.creators():
            if creator and number_of(creator) == number and creator not in clients:
                self.client_gone(creator)

    def _carry_out(self, effects: list[Effect]) -> None:
        for actor_id in dict.fromkeys(one.actor_id for one in effects if not isinstance(one, EndWorker)):
            self._note(actor_id)
        if self._head.records.keeps:  # before anybody is told
            for actor_id in {effect.actor_id for effect in effects if not isinstance(effect, EndWorker)}:
                self._save(actor_id)
        for effect in effects:
            if isinstance(effect, PlaceActor):
                self._place(effect.actor_id)
            elif isinstance(effect, WithdrawActor):
                self._forget_waiting(effect.actor_id)
                number = self._where.pop(effect.actor_id, 0)
                if number:
                    self._head.send(number, [control.WITHDRAW_ACTOR, effect.actor_id])
            elif isinstance(effect, EndWorker):
                self._end_worker(effect.worker, effect.certificate)
            elif isinstance(effect, TellActor):
                for client in effect.clients:
                    self._tell(effect.actor_id, client)
            elif isinstance(effect, ActorEnded):
                level = logging.INFO if effect.certificate.cause in _QUIET else logging.WARNING
                record = self.directory.find(effect.actor_id)
                if record is not None and record.durable and not effect.restarting:
                    self._head.durable.forget(effect.actor_id)
                what = "restarts" if effect.restarting else "died"
                _log.log(level, "actor %s %s\n%s", effect.actor_id.hex(), what, effect.certificate)

    def _end_worker(self, worker: bytes, certificate: DeathCertificate) -> None:
        self._head.send(number_of(worker), [control.END_WORKER, worker, plain_certificate(certificate)])

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
        self._head.tell(client, message)

    def _certificate(self, actor_id: bytes, cause: Cause, detail: str, pid: int = 0) -> DeathCertificate:
        record = self.directory.find(actor_id)
        node = self._head.membership.find(self._where.get(actor_id, 0))
        return DeathCertificate(
            what="actor",
            identity=actor_id.hex(),
            name=record.class_name if record is not None else "",
            node=node.node_id.hex() if node is not None else "",
            process=pid or (record.process if record is not None else 0),
            when=time.time(),
            cause=cause,
            detail=detail,
        )
