"""Leases between nodes: asking others for workers, and lending them ours.

A node that is asked grants at once or refuses: nothing of ours waits in another node's queue, so nothing has to be
withdrawn there, and what is refused is placed anew with what the refusal tells. A node that has refused says so when
something is freed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from shoal.death import Cause, DeathCertificate
from shoal.ids import NodeID
from shoal.native.wire import kinds
from shoal.native.wire.certificates import plain_certificate
from shoal.native.wire.nodes import number_of
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView

if TYPE_CHECKING:
    from shoal.machines.leases import Want
    from shoal.native.daemon.daemon import Daemon
    from shoal.native.daemon.scheduling import Scheduling

_NOTHING = ResourceSet()
_LENT = "lent"  # begins the names of claims of other nodes
UNKNOWN_START = -1  # nobody knows which of its calls a lost worker had begun: any of them


@attrs.frozen
class _Borrowed:
    """A lease of another node's worker that a process of this node has."""

    number: int
    holder: bytes
    worker: bytes
    class_key: bytes
    job: bytes
    resources: ResourceSet


class Lending:
    """One node's part. Called with the lock held."""

    def __init__(self, daemon: Daemon, scheduling: Scheduling) -> None:
        self._daemon = daemon
        self._scheduling = scheduling
        self.freed = False  # something was freed here since `tell_room`
        self._borrowed: dict[int, _Borrowed] = {}
        self._asked: dict[
            tuple[int, bytes, bytes], int
        ] = {}  # (node, holder, class) → questions without an answer
        self._full: dict[int, set[bytes]] = {}  # node → classes that it has refused since it last had news
        self._refused: set[int] = set()  # nodes that we have refused since something was freed

    # Asking

    def ask(self, want: Want, node_id: NodeID, wire: dict[str, Any], insist: bool = False) -> None:
        """Ask another node for one lease. `insist`: it was waited for so long that others may have to make room."""
        number = self._daemon.nodes.number_of(node_id)
        assert number is not None
        self._daemon.nodes.assume(node_id, want.demand.resources)
        key = (number, want.holder, want.class_key)
        self._asked[key] = self._asked.get(key, 0) + 1
        message = [kinds.ASK_LEASE, want.holder, want.class_key, wire, want.depth, insist]
        if not self._daemon.nodes.send(number, message):
            self._daemon.nodes.assume_free(number, want.demand.resources)
            self._answered(number, want.holder, want.class_key, False, f"node {number} cannot be reached")

    def granted(
        self, number: int, holder: bytes, key: bytes, lease_id: int, worker: bytes, grant: dict[str, Any]
    ) -> None:
        """Another node has granted a lease."""
        self._answered(number, holder, key, True, "")
        demand = self._scheduling.class_of(key)
        job, resources = self._scheduling.jobs.of(demand), ResourceSet(demand["resources"])
        if holder not in self._daemon.clients:
            self._daemon.nodes.send(number, [kinds.GIVE_BACK, [[lease_id, False]]])
            self._daemon.nodes.assume_free(number, resources)
            return
        self._borrowed[lease_id] = _Borrowed(number, holder, worker, key, job, resources)
        self._scheduling.jobs.shares.borrowed(job, resources, 1)
        self._daemon.tell(holder, [kinds.LEASE, key, lease_id, worker, grant])

    def refused(self, number: int, holder: bytes, key: bytes, free: dict[str, int], reason: str) -> None:
        """Another node has no room: look again, with what it says is free there."""
        self._daemon.nodes.learn(number, free)
        self._answered(number, holder, key, False, reason)
        self._daemon.schedule()

    def _answered(self, number: int, holder: bytes, key: bytes, granted: bool, reason: str) -> None:
        asked = (number, holder, key)
        left = self._asked.get(asked, 0) - 1
        if left < 0:
            return  # it was given up when the node could not be reached
        if left:
            self._asked[asked] = left
        else:
            del self._asked[asked]
        if not granted:
            self._full.setdefault(number, set()).add(key)
        self._scheduling.book.answered(holder, key, granted, reason)

    def is_full(self, number: int, key: bytes) -> bool:
        """Tell whether a node has refused a class lately."""
        return key in self._full.get(number, ())

    def without_full(self, view: ClusterView, key: bytes) -> ClusterView:
        """Return the view in which nodes that have refused this class lately have nothing free."""
        full = [number for number, keys in self._full.items() if key in keys]
        if not full:
            return view
        nodes = dict(view.nodes)
        for number in full:
            node = self._daemon.nodes.find(number)
            if node is not None and node.view.node_id in nodes:
                nodes[node.view.node_id] = attrs.evolve(nodes[node.view.node_id], available=_NOTHING)
        return attrs.evolve(view, nodes=nodes)

    def borrowed(self) -> list[tuple[bytes, bytes, bytes]]:
        """Return (holder, class, job) of the leases of other nodes that processes of this one have."""
        return [(lease.holder, lease.class_key, lease.job) for lease in self._borrowed.values()]

    def _pop(self, lease_id: int) -> _Borrowed | None:
        borrowed = self._borrowed.pop(lease_id, None)
        if borrowed is not None:
            self._scheduling.jobs.shares.borrowed(borrowed.job, borrowed.resources, -1)
            self._daemon.nodes.assume_free(borrowed.number, borrowed.resources)
        return borrowed

    def room_at(self, number: int) -> None:
        """There is news of a node: it may be asked again."""
        self._full.pop(number, None)

    def worker_gone(
        self, lease_id: int, worker: bytes, certificate: dict[str, Any] | None, started: int
    ) -> None:
        """A worker that was lent to a process of this node has died."""
        borrowed = self._pop(lease_id)
        if borrowed is not None:
            self._daemon.tell(borrowed.holder, [kinds.WORKER_DIED, worker, certificate, started])

    def returned(self, lease_id: int, must_end: bool) -> bool:
        """A process gives a lease back. Returns whether it was another node's."""
        if lease_id >> 40 == self._daemon.number:
            return False
        borrowed = self._pop(lease_id)
        if borrowed is not None:
            self._daemon.nodes.send(borrowed.number, [kinds.GIVE_BACK, [[lease_id, must_end]]])
        return True

    def holder_gone(self, holder: bytes) -> None:
        """A process of this node has ended: give back what it had of others."""
        if number_of(holder) != self._daemon.number or len(holder) != 8:
            return
        numbers = {key[0] for key in self._asked if key[1] == holder}
        for lease_id, borrowed in list(self._borrowed.items()):
            if borrowed.holder == holder:
                self._pop(lease_id)
                numbers.add(borrowed.number)
        for number in numbers:
            self._daemon.nodes.send(number, [kinds.HOLDER_GONE, holder])

    def node_unreachable(self, number: int, why: str) -> None:
        """What a node has lent us is lost, and what it was asked for comes from nowhere."""
        for lease_id, borrowed in list(self._borrowed.items()):
            if borrowed.number != number:
                continue
            self._pop(lease_id)
            self._daemon.tell(
                borrowed.holder,
                [
                    kinds.WORKER_DIED,
                    borrowed.worker,
                    plain_certificate(self._certificate(number, borrowed.worker, why)),
                    UNKNOWN_START,
                ],
            )
        for asked, count in list(self._asked.items()):
            if asked[0] == number:
                for _ in range(count):
                    self._answered(number, asked[1], asked[2], False, f"node {number} cannot be reached")
        self._full.pop(number, None)

    def _certificate(self, number: int, worker: bytes, why: str) -> DeathCertificate:
        node = self._daemon.nodes.find(number)
        identity = node.view.node_id.hex() if node is not None else ""
        return DeathCertificate(
            what="worker",
            identity=worker.hex(),
            node=identity,
            when=time.time(),
            cause=Cause.NODE_DIED,
            detail=f"node {identity} ({node.address if node is not None else number}): {why}",
        )

    # Lending

    def asked(
        self, number: int, holder: bytes, key: bytes, wire: dict[str, Any], depth: int, insist: bool
    ) -> None:
        """Another node asks for a lease. What it is refused it may still want: see LeaseBook.claim."""
        book, jobs = self._scheduling.book, self._scheduling.jobs
        claim = (_LENT, number, holder, key)
        book.unclaim(claim)
        reason = "the node is being drained"
        if not self._daemon.draining:
            reason = self._scheduling.grant_here(holder, key, wire, depth)
        if reason:
            self._refused.add(number)
            if not self._daemon.draining and wire["strategy"][0] != "group":
                book.claim(claim, jobs.of(wire), ResourceSet(wire["resources"]))
                if insist:
                    jobs.make_room(jobs.of(wire), wire["resources"])
            jobs.after_step()
            free = dict(self._scheduling.book.available.units)
            self._daemon.nodes.send(number, [kinds.REFUSED, holder, key, free, reason])

    def hand_over(
        self, holder: bytes, key: bytes, lease_id: int, worker: bytes, grant: dict[str, Any]
    ) -> None:
        """A lease has its worker: tell whoever has it."""
        number = number_of(holder)
        if number == self._daemon.number:
            self._daemon.tell(holder, [kinds.LEASE, key, lease_id, worker, grant])
        else:
            self._daemon.nodes.send(number, [kinds.GRANTED, holder, key, lease_id, worker, grant])

    def tell_died(
        self, holder: bytes, lease_id: int, worker: bytes, certificate: dict[str, Any] | None, started: int
    ) -> None:
        """A leased worker has died: tell whoever had it."""
        number = number_of(holder)
        if number == self._daemon.number:
            self._daemon.tell(holder, [kinds.WORKER_DIED, worker, certificate, started])
        else:
            self._daemon.nodes.send(
                number, [kinds.WORKER_GONE, holder, lease_id, worker, certificate, started]
            )

    def tell_failed(self, holder: bytes, key: bytes, message: list[Any]) -> None:
        """No worker can be had for a lease: tell whoever waits for it."""
        number = number_of(holder)
        if number == self._daemon.number:
            self._daemon.tell(holder, message)
        else:
            self._daemon.nodes.send(number, [kinds.CLASS_FAILED, holder, key, message])

    def failed(self, number: int, holder: bytes, key: bytes, message: list[Any]) -> None:
        """Another node cannot make a worker for a class: it is no use anywhere."""
        self._answered(number, holder, key, True, "")
        self._daemon.tell(holder, message)

    def borrower_unreachable(self, number: int) -> None:
        """What we have lent to processes of a node comes back."""
        for holder in {lease.holder for lease in self._scheduling.book.leases.values()}:
            if len(holder) == 8 and number_of(holder) == number:
                self._scheduling.withdraw(holder)
        self._refused.discard(number)
        self._unclaim(lambda name: name[1] == number)

    def forget_claims(self, holder: bytes) -> None:
        """A process of another node has ended: it wants nothing any more."""
        self._unclaim(lambda name: name[2] == holder)

    def _unclaim(self, over: Callable[[tuple[Any, ...]], bool]) -> None:
        book = self._scheduling.book
        for name in [
            name for name in book.claims if isinstance(name, tuple) and name[0] == _LENT and over(name)
        ]:
            book.unclaim(name)

    def tell_room(self) -> None:
        """If something was freed, tell the nodes that were refused."""
        if not self.freed:
            return
        self.freed = False
        refused, self._refused = self._refused, set()
        for number in refused:
            self._daemon.nodes.send(number, [kinds.ROOM])
