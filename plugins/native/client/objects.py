"""The objects that this process owns or borrows: values, references, borrowers.

The owner of an object counts who else holds it. Whoever hands a reference to process P sees to it that the owner adds
P as a borrower before it lets go of its own hold; P gives back what was added when its last reference goes. Counts may
arrive in the wrong order over different connections, so a borrower's count may be below zero for a moment; an object is
free when nothing is held here and no count is other than zero. Arguments need none of that: the caller holds them
until the answer arrives, and the answer names what the worker kept. After Wang et al., "Ownership" (NSDI 2021).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

from shoal.death import Cause, DeathCertificate
from shoal.errors import ObjectFreed, ObjectLost, OwnerDied
from shoal.interfaces.refs import ObjectRef
from shoal.native.client.records import Record
from shoal.native.wire import kinds
from shoal.native.wire.nodes import daemon_of, number_of
from shoal.serial import dump_error

if TYPE_CHECKING:
    from shoal.native.client.client import Client
    from shoal.native.client.peers import Peer


class Objects:
    """The table of one process. All methods are called with the reactor's lock held, but for `drop`."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._me = client.worker_id
        self._table: dict[bytes, Record] = {}  # borrowed objects, and owned ones that others may ask for
        self._reactor = client.reactor
        self._dropped: deque[Record] = deque()
        self._owed: dict[bytes, list[list[Any]]] = {}  # owner → [object, borrows] to give back
        client.reactor.gatherers.append(self.collect)
        self.recover: Callable[[Record], bool] = lambda record: False  # set by the task submitter
        self._subscribers: dict[bytes, set[bytes]] = {}  # owned object → peers to send its value to
        self.when_released: dict[bytes, Callable[[bytes], None]] = {}  # whom to tell that an object is free
        self._copies: dict[bytes, set[int]] = {}  # owned object → nodes with a copy of its bytes
        self._number = number_of(client.worker_id)

    # References

    def drop(self, record: Record) -> None:
        """A reference went away. The garbage collector calls this at any moment: it only notes it."""
        self._dropped.append(record)
        self._reactor.pending = True
        self._reactor.nudge()

    def ref(self, record: Record) -> ObjectRef[Any]:
        """Return a new reference to an object."""
        record.local += 1
        return ObjectRef(record.object_id, self._client.engine, record, self.drop)

    def adopt(self, object_id: bytes, credit: int) -> ObjectRef[Any]:
        """Return a reference to an object whose identifier came from elsewhere.

        `credit` is 1 if whoever sent it has told the owner that this process borrows it.
        """
        record = self._table.get(object_id)
        if record is None:
            owned = object_id[:8] == self._me
            record = Record(object_id, owned, None)
            self._table[object_id] = record
            if owned:
                error = ObjectLost(f"object {object_id.hex()} was freed by its owner")
                record.status, record.payload = kinds.ERROR, dump_error(error, "get")
        if not record.owned:
            record.credits += credit
        return self.ref(record)

    def export(self, refs: Iterable[ObjectRef[Any]]) -> list[bytes]:
        """Make objects findable by other processes; return their identifiers."""
        ids = []
        for ref in refs:
            record: Record = ref.record
            self._table.setdefault(record.object_id, record)
            ids.append(record.object_id)
        return ids

    def give(self, refs: Iterable[ObjectRef[Any]], receiver: bytes) -> list[bytes]:
        """Hand references to another process for good: it becomes a borrower. Return the identifiers."""
        refs = list(refs)
        ids = self.export(refs)
        for ref in refs:
            self.add_borrower(ref.record, receiver)
        return ids

    def add_borrower(self, record: Record, borrower: bytes) -> None:
        """Note, or tell the owner, that a process holds one reference more."""
        owner = record.object_id[:8]
        if owner == borrower:
            return
        if record.owned:
            self._count(record, borrower, 1)
        else:
            peers = self._client.peers
            peers.send(peers.get(owner), [kinds.ADD_BORROWER, [[record.object_id, borrower]]])

    def _count(self, record: Record, borrower: bytes, change: int) -> None:
        borrowers = record.borrowers
        if borrowers is None:
            borrowers = record.borrowers = {}
        count = borrowers.get(borrower, 0) + change
        peer = self._client.peers.find(borrower)
        if count:
            borrowers[borrower] = count
            if peer is not None:
                peer.borrowed.add(record.object_id)
        else:
            borrowers.pop(borrower, None)
            if peer is not None:
                peer.borrowed.discard(record.object_id)
            if not record.local:
                self._release(record)

    def collect(self) -> None:
        """Let go of what the garbage collector has dropped."""
        dropped = self._dropped
        while dropped:
            record = dropped.popleft()
            record.local -= 1
            if not record.local:
                self._release(record)
        if self._owed:
            self._give_back()

    def _give_back(self) -> None:
        """Tell owners what is not borrowed any more."""
        owed, self._owed = self._owed, {}
        peers = self._client.peers
        for owner, borrows in owed.items():
            # An owner that has not connected yet will count us as a borrower in a moment: it must hear of the end too.
            peer = peers.get(owner)
            if peer.results:
                # An answer that hands such a reference back to its owner must arrive first, or the object is freed.
                self._owed[owner] = borrows
                self._reactor.pending = True
            else:
                peers.send(peer, [kinds.RELEASE, borrows])

    @property
    def has_dropped(self) -> bool:
        """Whether `collect` has work."""
        return bool(self._dropped)

    def _release(self, record: Record) -> None:
        """Nothing here holds it any more."""
        if record.owned:
            if record.borrowers or record.object_id in self._subscribers:
                return
            self._table.pop(record.object_id, None)
            self._discard_value(record)
            if record.task is not None and record.status is not None:
                self._drop_lineage(record)
            self._client.on_released(record)
            if self.when_released:
                self._tell_released(record.object_id)
        else:
            self._table.pop(record.object_id, None)
            owed, record.credits = record.credits, 0
            if owed:
                self._owed.setdefault(record.object_id[:8], []).append([record.object_id, owed])
                self._reactor.pending = True
            record.contained = None

    def _tell_released(self, object_id: bytes) -> None:
        then = self.when_released.pop(object_id, None)
        if then is not None:
            self._reactor.call_soon_unlocked(lambda: then(object_id))

    def _drop_lineage(self, record: Record) -> None:
        """The object need not be made again. With the last one of a task go the arguments that it had stored."""
        task, record.task = record.task, None
        if (
            task is not None
            and task.large is not None
            and all(other.task is not task for other in task.returns)
        ):
            large, task.large = task.large, None
            self._client.store.delete(large.object_id)

    def _discard_value(self, record: Record) -> None:
        record.contained = None
        if record.status == kinds.STORED:
            self._delete_bytes(record.object_id, record.payload[1])
            for number in self._copies.pop(record.object_id, ()):
                self._delete_at(record.object_id, number)
        record.payload = None

    def _delete_bytes(self, object_id: bytes, creator: bytes) -> None:
        """Let the bytes go: by their creator if it lives, since it can use the memory again."""
        if creator != self._me:
            peer = self._client.peers.find(creator)
            if peer is not None:
                self._client.peers.send(peer, [kinds.DELETE, [object_id]])
                return
        self._delete_at(object_id, number_of(creator))

    def _delete_at(self, object_id: bytes, number: int) -> None:
        if number == self._number:
            self._client.store.delete(object_id)
        else:
            self._client.tell_daemon([kinds.DELETE_AT, number, [object_id]])

    # Copies on other nodes

    def copied(self, object_id: bytes, number: int) -> None:
        """There is a copy of an object of ours on a node now."""
        self._copies.setdefault(object_id, set()).add(number)

    def copies_of(self, object_id: bytes) -> set[int]:
        """Return the nodes with copies of an object of ours."""
        return self._copies.get(object_id, set())

    def on_copied(self, peer: Peer, message: list[Any]) -> None:
        """A process has had an object of ours copied to its node."""
        _, object_id, number = message
        record = self._table.get(object_id)
        if record is not None and record.status == kinds.STORED:
            self.copied(object_id, number)
        else:
            self._delete_at(object_id, number)  # it was freed meanwhile

    def _another_copy(self, record: Record) -> bool:
        """The bytes are not where they were: turn to a copy, if there is one on a node that lives."""
        size, creator = record.payload
        copies = self._copies.get(record.object_id, set())
        copies.discard(number_of(creator))
        alive = [number for number in copies if number == self._number or self._client.peers.is_alive(number)]
        if not alive:
            return False
        record.payload = [size, daemon_of(alive[0])]
        return True

    def is_had(self, record: Record) -> bool:
        """Tell whether the bytes of a stored object of ours are here, or on a node that lives."""
        number = number_of(record.payload[1])
        if number == self._number:
            return self._client.store.contains(record.object_id)
        return self._client.peers.is_alive(number)

    # Values

    def complete(
        self,
        record: Record,
        status: int,
        payload: Any,
        contained: list[ObjectRef[Any]] | None = None,
    ) -> None:
        """Give an object its value."""
        record.status = status
        record.payload = payload
        record.contained = contained
        record.fetching = False
        subscribers = self._subscribers.pop(record.object_id, None) if record.owned else None
        if subscribers:
            for worker_id in subscribers:
                peer = self._client.peers.find(worker_id)
                if peer is not None:
                    self._send_values(peer, [record])
        watchers = record.watchers
        if watchers is not None:
            record.watchers = None
            for callback in watchers:
                callback()
        if not record.local and record.owned:
            self._release(record)

    def _fail(self, record: Record, error: BaseException) -> None:
        self.complete(record, kinds.ERROR, dump_error(error, "get"))

    def fail(self, record: Record, error: BaseException) -> None:
        """Make an error the value of an object that has none yet."""
        if record.status is None:
            self._fail(record, error)

    def want(self, records: Sequence[Record]) -> None:
        """See to it that borrowed objects without a value get one."""
        by_owner: dict[bytes, list[bytes]] = {}
        for record in records:
            if record.status is None and not record.owned and not record.fetching:
                record.fetching = True
                by_owner.setdefault(record.object_id[:8], []).append(record.object_id)
        for owner, ids in by_owner.items():
            peers = self._client.peers
            peers.send(peers.get(owner), [kinds.FETCH, ids])

    def lost(self, record: Record) -> None:
        """The store has no bytes of an object that should have some: have it made again, or fail it."""
        if record.status != kinds.STORED:
            return
        if record.owned and self._another_copy(record):
            return
        record.status = None
        record.payload = None
        if record.owned:
            if not self.recover(record):
                what = "it was stored by put()" if record.task is None else "its task may not run again"
                certificate = DeathCertificate(
                    what="object", identity=record.object_id.hex(), cause=Cause.LOST, detail=what
                )
                self._fail(
                    record,
                    ObjectLost("every copy of the object is gone and it cannot be made again", certificate),
                )
            return
        peers = self._client.peers
        peers.send(peers.get(record.object_id[:8]), [kinds.LOST, record.object_id])
        self.want([record])

    def free(self, record: Record) -> None:
        """free() was called: the value goes, whoever refers to it."""
        if not record.owned:
            peers = self._client.peers
            peers.send(peers.get(record.object_id[:8]), [kinds.FREE, [record.object_id]])
        elif record.status is not None:
            self._discard_value(record)
            self._drop_lineage(record)
        record.status = None
        self._fail(record, ObjectFreed(f"object {record.object_id.hex()} was deleted with free()"))

    # Messages

    def on_fetch(self, peer: Peer, message: list[Any]) -> None:
        """A peer wants values: send those that are there, the others when they come."""
        ready = []
        for object_id in message[1]:
            record = self._table.get(object_id)
            if record is None:
                error = dump_error(ObjectLost(f"object {object_id.hex()} was freed by its owner"), "get")
                self._client.peers.send(peer, [kinds.VALUES, [[object_id, kinds.ERROR, error, None]]])
            elif record.status is not None:
                ready.append(record)
            else:
                self._subscribers.setdefault(object_id, set()).add(peer.worker_id)
        if ready:
            self._send_values(peer, ready)

    def _send_values(self, peer: Peer, records: list[Record]) -> None:
        values = []
        for record in records:
            contained = self.give(record.contained, peer.worker_id) if record.contained else None
            values.append([record.object_id, record.status, record.payload, contained])
        self._client.peers.send(peer, [kinds.VALUES, values])

    def on_values(self, peer: Peer, message: list[Any]) -> None:
        """Values that were asked for."""
        for object_id, status, payload, contained in message[1]:
            held = [self.adopt(inner, 1) for inner in contained] if contained else None
            record = self._table.get(object_id)
            if record is not None and not record.owned and record.status is None:
                self.complete(record, status, payload, held)

    def on_release(self, peer: Peer, message: list[Any]) -> None:
        """A borrower gives references back."""
        for object_id, count in message[1]:
            record = self._table.get(object_id)
            if record is not None and record.owned:
                self._count(record, peer.worker_id, -count)

    def on_add_borrower(self, peer: Peer, message: list[Any]) -> None:
        """A third process was given references to objects of ours."""
        for object_id, borrower in message[1]:
            record = self._table.get(object_id)
            if record is not None and record.owned:
                self._client.peers.get(borrower)  # a connection tells us of its end
                self._count(record, borrower, 1)

    def on_delete(self, peer: Peer, message: list[Any]) -> None:
        """Bytes that this process put into the store are needed no more."""
        for object_id in message[1]:
            self._client.store.delete(object_id)

    def on_lost(self, peer: Peer, message: list[Any]) -> None:
        """A borrower did not find the bytes of an object of ours."""
        record = self._table.get(message[1])
        if record is None or record.status != kinds.STORED:
            return
        if number_of(record.payload[1]) != self._number or not self.is_had(record):
            self.lost(record)

    def on_free(self, peer: Peer, message: list[Any]) -> None:
        """A borrower called free()."""
        for object_id in message[1]:
            record = self._table.get(object_id)
            if record is not None and record.owned:
                self.free(record)

    def on_peer_gone(self, peer: Peer) -> None:
        """A process ended: it borrows nothing more, and what it owned is lost."""
        for object_id in list(peer.borrowed):
            record = self._table.get(object_id)
            if record is not None and record.borrowers and peer.worker_id in record.borrowers:
                del record.borrowers[peer.worker_id]
                if not record.local:
                    self._release(record)
        for object_id, subscribers in list(self._subscribers.items()):
            subscribers.discard(peer.worker_id)
            if not subscribers:
                del self._subscribers[object_id]
                record = self._table.get(object_id)
                if record is not None and not record.local:
                    self._release(record)
        for record in list(self._table.values()):
            if not record.owned and record.fetching and record.object_id[:8] == peer.worker_id:
                certificate = self._client.certificate_of(peer.worker_id) or DeathCertificate(
                    what="owner", identity=peer.worker_id.hex(), cause=Cause.OWNER_DIED
                )
                self._fail(record, OwnerDied("the process that owned the object is gone", certificate))

    # Views

    def find(self, object_id: bytes) -> Record | None:
        """Return an object that other processes may know."""
        return self._table.get(object_id)

    @property
    def size(self) -> int:
        """How many objects are in the table."""
        return len(self._table)
