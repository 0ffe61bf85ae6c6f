"""The directory of actors: each one's life from its creation to its death, through restarts.

    PENDING → ALIVE → RESTARTING → ALIVE …
       └────────┴──────────┴──→ DEAD

Effects are values for a shell to carry out, in order.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import attrs

from shoal.death import DeathCertificate

_DEAD_KEPT = 1_000  # dead actors remembered, so that late callers learn why


@attrs.define(eq=False, kw_only=True)
class ActorRecord:
    """One actor as the directory knows it. `specification` is the creator's, opaque here."""

    actor_id: bytes
    creator: bytes
    class_name: str
    name: str
    namespace: str
    detached: bool
    max_restarts: int
    specification: dict[str, Any]
    durable: bool = False  # something is kept for it until it is dead
    state: str = "PENDING"
    worker: bytes = b""
    process: int = 0  # process id of that worker, or of the last one
    incarnation: int = 0  # grows with every attempt to start it
    restarts: int = 0
    certificate: DeathCertificate | None = None
    error: bytes | None = None  # what its constructor raised, pickled by its worker
    ending: DeathCertificate | None = None  # its process was told to end, for this reason
    ends_for_good: bool = False
    subscribers: set[bytes] = attrs.field(factory=set)


@attrs.frozen
class PlaceActor:
    """Find resources and a worker for it; answer with `placed`."""

    actor_id: bytes


@attrs.frozen
class WithdrawActor:
    """Stop looking for a place, or give its place back."""

    actor_id: bytes


@attrs.frozen
class EndWorker:
    """End that worker process."""

    worker: bytes
    certificate: DeathCertificate


@attrs.frozen
class TellActor:
    """Tell these clients the actor's state."""

    actor_id: bytes
    clients: tuple[bytes, ...]


@attrs.frozen
class ActorEnded:
    """For observers: it died, for good unless `restarting`."""

    actor_id: bytes
    restarting: bool
    certificate: DeathCertificate


Effect = PlaceActor | WithdrawActor | EndWorker | TellActor | ActorEnded


class ActorDirectory:
    """All actors of a cluster. Every method returns the effects of one event."""

    def __init__(self) -> None:
        self._actors: dict[bytes, ActorRecord] = {}
        self._names: dict[tuple[str, str], bytes] = {}
        self._dead: OrderedDict[bytes, None] = OrderedDict()

    # Events

    def create(self, record: ActorRecord) -> tuple[bool, list[Effect]]:
        """Add an actor. Returns False, changing nothing, if its name is taken by a living one."""
        if record.name:
            key = (record.namespace, record.name)
            if key in self._names:
                return False, []
            self._names[key] = record.actor_id
        self._actors[record.actor_id] = record
        return True, [PlaceActor(record.actor_id)]

    def restore(self, record: ActorRecord) -> None:
        """An actor that lived when the last head ended."""
        self._actors[record.actor_id] = record
        if record.name:
            self._names[record.namespace, record.name] = record.actor_id

    def begin(self, actor_id: bytes) -> int:
        """A node is asked to start the actor. Returns the incarnation, 0 if the actor is dead or lives by now."""
        record = self._actors.get(actor_id)
        if record is None or record.state not in ("PENDING", "RESTARTING") or record.worker:
            return 0
        record.incarnation += 1
        return record.incarnation

    def placed(self, actor_id: bytes, incarnation: int, worker: bytes, process: int = 0) -> bool:
        """A worker begins to construct the actor. Returns False if it is to end: the actor is dead or elsewhere."""
        record = self._actors.get(actor_id)
        if record is None or record.state == "DEAD" or record.incarnation != incarnation:
            return False
        record.worker = worker
        record.process = process
        return True

    def ready(self, actor_id: bytes, incarnation: int) -> list[Effect]:
        """The constructor has returned."""
        record = self._actors.get(actor_id)
        if record is None or record.incarnation != incarnation or record.state == "DEAD" or not record.worker:
            return []  # the last words of a worker that is gone
        record.state = "ALIVE"
        return [self._tell(record)]

    def init_failed(
        self, actor_id: bytes, incarnation: int, error: bytes, certificate: DeathCertificate
    ) -> list[Effect]:
        """The constructor raised: the actor is dead, whatever restarts it has left."""
        record = self._actors.get(actor_id)
        if record is None or record.incarnation != incarnation or record.state == "DEAD":
            return []
        record.error = error
        ends: list[Effect] = [EndWorker(record.worker, certificate)] if record.worker else []
        return self._die(record, certificate, ends)

    def worker_died(self, worker: bytes, certificate: DeathCertificate) -> list[Effect]:
        """A worker process is gone; if an actor lived in it, the actor restarts or dies."""
        record = next((r for r in self._actors.values() if r.worker == worker and r.state != "DEAD"), None)
        return [] if record is None else self._process_gone(record, certificate)

    def cannot_start(self, actor_id: bytes, certificate: DeathCertificate) -> list[Effect]:
        """No worker can be had for it (its environment failed, its group was removed)."""
        record = self._actors.get(actor_id)
        if record is None or record.state == "DEAD":
            return []
        return self._die(record, certificate, [])

    def kill(self, actor_id: bytes, no_restart: bool, certificate: DeathCertificate) -> list[Effect]:
        """kill() was called, or no handle is left (`no_restart` then)."""
        record = self._actors.get(actor_id)
        if record is None or record.state == "DEAD":
            return []
        if record.worker and record.state == "ALIVE":
            record.ending = certificate
            if no_restart:
                record.ends_for_good = True
                self._free_name(record)  # kill() and then the same name again must work
            return [EndWorker(record.worker, certificate)]
        if not no_restart:
            return []  # it is being started anew already
        effects: list[Effect] = []
        if record.worker:
            effects.append(EndWorker(record.worker, certificate))
        return self._die(record, certificate, effects)

    def exiting(self, actor_id: bytes, certificate: DeathCertificate) -> list[Effect]:
        """It ends by its own wish: exit_actor()."""
        record = self._actors.get(actor_id)
        if record is not None:
            record.ending = certificate
            record.ends_for_good = True
        return []

    def subscribe(self, actor_id: bytes, client: bytes) -> list[Effect]:
        """A client wants to know an actor's state, now and whenever it changes."""
        record = self._actors.get(actor_id)
        if record is None:
            return [TellActor(actor_id, (client,))]
        record.subscribers.add(client)
        return [self._tell(record, client)]

    def client_gone(self, client: bytes, certificate: DeathCertificate) -> list[Effect]:
        """A process is gone: it hears nothing more, and its actors that are not detached end."""
        effects: list[Effect] = []
        for record in list(self._actors.values()):
            record.subscribers.discard(client)
            if record.creator != client:
                continue
            if record.detached:
                record.creator = b""
            else:
                effects += self.kill(record.actor_id, True, certificate)
        return effects

    # Inside

    def _process_gone(self, record: ActorRecord, certificate: DeathCertificate) -> list[Effect]:
        certificate = record.ending or certificate
        record.ending = None
        record.worker = b""
        lasts = record.max_restarts == -1 or record.restarts < record.max_restarts
        if record.ends_for_good or not lasts:
            return self._die(record, certificate, [])
        record.restarts += 1
        record.state = "RESTARTING"
        record.certificate = certificate
        return [
            WithdrawActor(record.actor_id),
            ActorEnded(record.actor_id, True, certificate),
            self._tell(record),
            PlaceActor(record.actor_id),
        ]

    def _die(self, record: ActorRecord, certificate: DeathCertificate, effects: list[Effect]) -> list[Effect]:
        record.state = "DEAD"
        record.certificate = certificate
        record.worker = b""
        record.specification = {}
        self._free_name(record)
        self._dead[record.actor_id] = None
        while len(self._dead) > _DEAD_KEPT:
            oldest, _ = self._dead.popitem(last=False)
            self._actors.pop(oldest, None)
        return [
            *effects,
            WithdrawActor(record.actor_id),
            ActorEnded(record.actor_id, False, certificate),
            self._tell(record),
        ]

    def _free_name(self, record: ActorRecord) -> None:
        if record.name and self._names.get((record.namespace, record.name)) == record.actor_id:
            del self._names[record.namespace, record.name]

    def _tell(self, record: ActorRecord, client: bytes | None = None) -> TellActor:
        clients = tuple(record.subscribers) if client is None else (client,)
        return TellActor(record.actor_id, clients)

    # Views

    def find(self, actor_id: bytes) -> ActorRecord | None:
        """Return an actor, dead or alive, if it is remembered."""
        return self._actors.get(actor_id)

    def find_name(self, name: str, namespace: str) -> ActorRecord | None:
        """Return the living actor of that name."""
        actor_id = self._names.get((namespace, name))
        return None if actor_id is None else self._actors[actor_id]

    def names(self) -> list[tuple[str, str]]:
        """Return (namespace, name) of every living named actor, sorted."""
        return sorted(self._names)

    def all(self) -> list[ActorRecord]:
        """Return every actor that is remembered."""
        return list(self._actors.values())

    def validate(self) -> None:
        """Raise AssertionError if the directory contradicts itself."""
        for (namespace, name), actor_id in self._names.items():
            record = self._actors[actor_id]
            assert (record.namespace, record.name) == (namespace, name)
            assert record.state != "DEAD"
        for record in self._actors.values():
            assert record.max_restarts == -1 or record.restarts <= record.max_restarts
            assert record.state != "ALIVE" or record.worker
        assert set(self._dead) == {r.actor_id for r in self._actors.values() if r.state == "DEAD"}


__all__ = [
    "ActorDirectory",
    "ActorEnded",
    "ActorRecord",
    "Effect",
    "EndWorker",
    "PlaceActor",
    "TellActor",
    "WithdrawActor",
]
