"""Who is in the cluster: nodes join, renew their leases, drain, are lost, and never come back under the same number.

    (joins) → ALIVE ⇄ DRAINING → DEAD

A node holds a *lease* from the head: for `timeout` seconds after each renewal it counts as alive. The node itself
counts from before it asked, so it knows that it is fenced off no later than the head does (Gray & Cheriton, "Leases",
SOSP 1989). Numbers are never used twice: whatever comes from a dead node's processes later can be told by its number.

Times are of one monotonic clock, in seconds, and come with the events.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import attrs

from shoal.ids import NodeID
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, NodeView

_DEAD_KEPT = 1_000  # dead nodes remembered, so that late questions are answered


@attrs.define(eq=False, kw_only=True)
class NodeRecord:
    """One node as the head knows it."""

    number: int
    node_id: NodeID
    address: str  # host:port of its daemon, where other nodes reach its processes; "" on a cluster of one
    total: ResourceSet
    available: ResourceSet
    labels: Mapping[str, str]
    facts: Mapping[str, str] = attrs.field(factory=dict)  # host name, process, versions: for people
    state: str = "ALIVE"
    queued: int = 0  # leases that are waited for there
    renewed_at: float = 0.0
    connected: bool = True
    disconnected_at: float = 0.0
    reason: str = ""  # why it is dead
    version: int = 0  # of the last change

    def view(self) -> NodeView:
        """Return it as schedulers see it."""
        return NodeView(
            node_id=self.node_id,
            total=self.total,
            available=self.available.clipped(),
            labels=self.labels,
            alive=self.state != "DEAD",
            draining=self.state == "DRAINING",
            address=self.address,
            queued=self.queued,
        )


@attrs.frozen
class NodeChanged:
    """Tell everybody: it joined, its resources or its state changed."""

    number: int


@attrs.frozen
class NodeLost:
    """It is dead: what ran there is lost. A NodeChanged goes with it."""

    number: int
    reason: str


MembershipEffect = NodeChanged | NodeLost


class Membership:
    """All nodes of a cluster. Every event method returns its effects, in order."""

    def __init__(self, timeout: float, grace: float) -> None:
        """`timeout`: seconds without a renewal until a node is dead; `grace`: without a connection."""
        self.timeout = timeout
        self.grace = min(grace, timeout)
        self._nodes: dict[int, NodeRecord] = {}
        self._by_id: dict[NodeID, int] = {}
        self._dead: OrderedDict[int, None] = OrderedDict()
        self._next = 1
        self._reserved: set[int] = set()  # given out, and not joined yet
        self._version = 0

    # Events

    def reserve_number(self, minimum: int = 1) -> int:
        """Return a number that no node has had."""
        number = max(self._next, minimum)
        self._next = number + 1
        self._reserved.add(number)
        return number

    def skip_numbers(self, upto: int) -> None:
        """Numbers below `upto` were used by nodes of the last head."""
        self._next = max(self._next, upto)

    def join(
        self,
        number: int,
        node_id: NodeID,
        address: str,
        total: ResourceSet,
        labels: Mapping[str, str],
        now: float,
        facts: Mapping[str, str] | None = None,
    ) -> list[MembershipEffect]:
        """A node has proved itself, or has connected again. A dead one's number is refused: see `may_join`."""
        assert self.may_join(number, node_id)
        self._reserved.discard(number)
        known = self._nodes.get(number)
        if known is not None:
            known.connected = True
            known.renewed_at = now
            known.address = address
            return [self._changed(known)]
        record = NodeRecord(
            number=number,
            node_id=node_id,
            address=address,
            total=total,
            available=total,
            labels=dict(labels),
            facts=dict(facts or {}),
            renewed_at=now,
        )
        self._nodes[number] = record
        self._by_id[node_id] = number
        return [self._changed(record)]

    def restore(self, record: NodeRecord, now: float) -> None:
        """A node that lived when the last head ended: it has the whole timeout to connect again."""
        record.connected = False
        record.renewed_at = now
        record.disconnected_at = now + self.timeout - self.grace
        self._next = max(self._next, record.number + 1)
        self._version = max(self._version, record.version)
        self._nodes[record.number] = record
        self._by_id[record.node_id] = record.number

    def may_join(self, number: int, node_id: NodeID) -> bool:
        """Tell whether a node may have this number: it was reserved, or it is this very node's and that is not dead."""
        known = self._nodes.get(number)
        if known is None:
            return number in self._reserved
        return known.node_id == node_id and known.state != "DEAD"

    def renew(self, number: int, now: float) -> bool:
        """A node asks for its lease to go on. False: it is dead, and must end what it runs."""
        record = self._nodes.get(number)
        if record is None or record.state == "DEAD":
            return False
        record.renewed_at = now
        return True

    def resources(
        self, number: int, available: ResourceSet, queued: int, total: ResourceSet | None = None
    ) -> list[MembershipEffect]:
        """A node tells what is free there now."""
        record = self._nodes.get(number)
        if record is None or record.state == "DEAD":
            return []
        record.available = available
        record.queued = queued
        if total is not None:
            record.total = total
        return [self._changed(record)]

    def assume(self, number: int, taken: ResourceSet) -> NodeRecord | None:
        """A node was asked to give something away: it is not free any more, until the node itself tells what is."""
        record = self._nodes.get(number)
        if record is None or record.state == "DEAD":
            return None
        record.available = record.available - taken
        return record

    def disconnected(self, number: int, now: float) -> list[MembershipEffect]:
        """A node's connection broke: it has `grace` seconds to connect again."""
        record = self._nodes.get(number)
        if record is None or record.state == "DEAD":
            return []
        record.connected = False
        record.disconnected_at = now
        return []

    def left(self, number: int, reason: str) -> list[MembershipEffect]:
        """A node says goodbye, or a person has removed it."""
        record = self._nodes.get(number)
        if record is None or record.state == "DEAD":
            return []
        return self._die(record, reason)

    def drain(self, number: int) -> list[MembershipEffect]:
        """A node is to get no new work."""
        record = self._nodes.get(number)
        if record is None or record.state != "ALIVE":
            return []
        record.state = "DRAINING"
        return [self._changed(record)]

    def tick(self, now: float) -> list[MembershipEffect]:
        """Time has passed: declare dead whose lease has run out."""
        effects: list[MembershipEffect] = []
        for record in list(self._nodes.values()):
            if record.state == "DEAD":
                continue
            if now - record.renewed_at >= self.timeout:
                effects += self._die(record, f"it was not heard of for {now - record.renewed_at:.1f} s")
            elif not record.connected and now - record.disconnected_at >= self.grace:
                effects += self._die(record, "its connection broke, and it did not come back")
        return effects

    def next_deadline(self) -> float | None:
        """Return when `tick` may have something to say next, None while there is no node."""
        times = [
            record.renewed_at + self.timeout
            if record.connected
            else min(record.renewed_at + self.timeout, record.disconnected_at + self.grace)
            for record in self._nodes.values()
            if record.state != "DEAD"
        ]
        return min(times, default=None)

    # Inside

    def _changed(self, record: NodeRecord) -> NodeChanged:
        self._version += 1
        record.version = self._version
        return NodeChanged(record.number)

    def _die(self, record: NodeRecord, reason: str) -> list[MembershipEffect]:
        record.state = "DEAD"
        record.reason = reason
        record.connected = False
        record.available = ResourceSet()
        self._dead[record.number] = None
        while len(self._dead) > _DEAD_KEPT:
            oldest, _ = self._dead.popitem(last=False)
            gone = self._nodes.pop(oldest)
            self._by_id.pop(gone.node_id, None)
        return [self._changed(record), NodeLost(record.number, reason)]

    # Views

    def find(self, number: int) -> NodeRecord | None:
        """Return a node, dead or alive, if it is remembered."""
        return self._nodes.get(number)

    def find_id(self, node_id: NodeID) -> NodeRecord | None:
        """Return the node of an identifier, if it is remembered."""
        number = self._by_id.get(node_id)
        return None if number is None else self._nodes[number]

    def living(self) -> list[NodeRecord]:
        """Return the nodes that are not dead, by number."""
        return [record for _, record in sorted(self._nodes.items()) if record.state != "DEAD"]

    def all(self) -> list[NodeRecord]:
        """Return every node that is remembered, by number."""
        return [record for _, record in sorted(self._nodes.items())]

    def view(self, local: NodeID | None = None) -> ClusterView:
        """Return the cluster as schedulers see it."""
        return ClusterView(
            nodes={record.node_id: record.view() for record in self.living()},
            local=local,
            version=self._version,
        )

    @property
    def next_number(self) -> int:
        """The lowest number that no node has had: to be kept over a restart of the head."""
        return self._next

    def validate(self) -> None:
        """Raise AssertionError if the book contradicts itself."""
        for number, record in self._nodes.items():
            assert number == record.number < self._next
            assert self._by_id[record.node_id] == number
            assert (record.state == "DEAD") == (number in self._dead)
            assert record.state in ("ALIVE", "DRAINING", "DEAD")
            assert record.state != "DEAD" or record.reason
