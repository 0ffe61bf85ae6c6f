"""Placement groups: asked for, reserved in two phases, removed.

    PENDING → RESERVING → CREATED → REMOVED
       ↑──────────┘ ↑         │
       └────────────┴─────────┘ (a node refuses, or is lost)

An attempt asks every node that it needs to reserve; the group is there when all have. If one refuses, what the others
have reserved is given back: all or none (two-phase commit, Gray 1978). When a node dies only its bundles are placed
anew.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Collection, Mapping

import attrs

from shoal.spec.view import GroupSpec

_REMOVED_KEPT = 1_000


@attrs.define(eq=False)
class GroupRecord:
    """One group. `nodes[i]` holds bundle i, b"" if none does (yet)."""

    spec: GroupSpec
    creator: bytes
    state: str = "PENDING"
    nodes: tuple[bytes, ...] = ()
    reason: str = "not tried yet"
    infeasible: bool = False
    attempt: int = 0
    order: int = 0  # in which groups were asked for
    proposed: dict[int, bytes] = attrs.field(factory=dict)  # bundle → node, in the present attempt
    unanswered: set[int] = attrs.field(factory=set)  # nodes asked, by number
    reserved: set[int] = attrs.field(factory=set)  # nodes that have said yes
    job: bytes = b""  # who pays for it


class GroupBook:
    """All placement groups of a cluster, in the order they were asked for."""

    def __init__(self) -> None:
        self._groups: OrderedDict[bytes, GroupRecord] = OrderedDict()
        self._names: dict[tuple[str, str], bytes] = {}
        self._pending: set[bytes] = set()
        self._removed: deque[bytes] = deque()
        self._count = 0

    def create(self, spec: GroupSpec, creator: bytes, job: bytes = b"") -> bool:
        """Add a group of a job. Returns False if its name is taken."""
        key = (spec.namespace, spec.name)
        if spec.name and key in self._names:
            return False
        if spec.name:
            self._names[key] = spec.group_id
        self._add(GroupRecord(spec, creator, job=job))
        self._pending.add(spec.group_id)
        return True

    def _add(self, record: GroupRecord) -> None:
        self._count += 1
        record.order = self._count
        self._groups[record.spec.group_id] = record

    def restore(self, record: GroupRecord) -> None:
        """A group that was not removed when the last head ended."""
        group_id = record.spec.group_id
        self._add(record)
        if record.spec.name:
            self._names[record.spec.namespace, record.spec.name] = group_id
        if record.nodes and all(record.nodes):
            record.state = "CREATED"
            record.reason = ""
        else:
            self._pending.add(group_id)

    def bundles_lost(self, group_id: bytes, node_id: bytes, indices: Collection[int]) -> bool:
        """A node does not hold bundles that it should. Returns whether the group was whole and is not any more."""
        record = self._groups.get(group_id)
        if record is None or record.state == "REMOVED":
            return False
        lost = [index for index in indices if index < len(record.nodes) and record.nodes[index] == node_id]
        if not lost:
            return False
        record.nodes = tuple(b"" if index in lost else node for index, node in enumerate(record.nodes))
        if record.state != "CREATED":
            return False
        self._again(record, f"node {node_id.hex()} does not hold all its bundles any more")
        return True

    @property
    def has_pending(self) -> bool:
        """Whether some group waits for room."""
        return bool(self._pending)

    def pending(self) -> list[GroupRecord]:
        """Return the groups that wait for room, oldest first."""
        return sorted((self._groups[key] for key in self._pending), key=lambda record: record.order)

    def missing(self, record: GroupRecord) -> list[int]:
        """Return the bundles that no node holds."""
        if not record.nodes:
            return list(range(len(record.spec.bundles)))
        return [index for index, node in enumerate(record.nodes) if not node]

    def propose(self, group_id: bytes, chosen: Mapping[int, bytes], asked: frozenset[int]) -> int:
        """Nodes, by number, are asked to reserve the missing bundles. Return the attempt's number."""
        record = self._groups[group_id]
        assert record.state == "PENDING"
        assert sorted(chosen) == self.missing(record)
        self._pending.discard(group_id)
        record.state = "RESERVING"
        record.reason = "its bundles are being reserved"
        record.infeasible = False
        record.attempt += 1
        record.proposed = dict(chosen)
        record.unanswered = set(asked)
        record.reserved = set()
        return record.attempt

    def answered(self, group_id: bytes, attempt: int, number: int, reason: str) -> str:
        """A node has reserved (`reason` is empty) or refused. Return "stale", "waiting", "failed" or "created".

        "failed": see `take_back`. "stale": what the node has reserved is nobody's.
        """
        record = self._groups.get(group_id)
        if record is None or record.state != "RESERVING" or record.attempt != attempt:
            return "stale"
        if number not in record.unanswered:
            return "stale"
        record.unanswered.discard(number)
        if reason:
            self._again(record, reason)
            return "failed"
        record.reserved.add(number)
        if record.unanswered:
            return "waiting"
        nodes = list(record.nodes or (b"",) * len(record.spec.bundles))
        for index, node in record.proposed.items():
            nodes[index] = node
        record.nodes = tuple(nodes)
        record.state = "CREATED"
        record.reason = ""
        record.proposed = {}
        record.reserved = set()
        return "created"

    def take_back(self, group_id: bytes) -> set[int]:
        """Return the nodes that had reserved bundles in an attempt that failed: they are to release those."""
        record = self._groups[group_id]
        nodes, record.reserved = record.reserved, set()
        return nodes

    def node_lost(self, node_id: bytes, number: int) -> list[bytes]:
        """A node is dead: its bundles are missing. Return the groups that were whole and are not any more."""
        broken = []
        for group_id, record in self._groups.items():
            if record.state == "RESERVING" and node_id in record.proposed.values():
                record.reserved.discard(number)
                self._again(record, f"node {node_id.hex()} died while it was reserved")
            if node_id in record.nodes and record.state != "REMOVED":
                record.nodes = tuple(b"" if node == node_id else node for node in record.nodes)
                if record.state == "CREATED":
                    self._again(record, f"node {node_id.hex()}, which held some of its bundles, died")
                    broken.append(group_id)
        return broken

    def _again(self, record: GroupRecord, reason: str) -> None:
        record.state = "PENDING"
        record.reason = reason
        record.proposed = {}
        record.unanswered = set()
        self._pending.add(record.spec.group_id)

    def remove(self, group_id: bytes) -> GroupRecord | None:
        """End a group; return it as it was before, None if it was over or unknown."""
        record = self._groups.get(group_id)
        if record is None or record.state == "REMOVED":
            return None
        before = attrs.evolve(record)
        record.state = "REMOVED"
        record.proposed, record.unanswered, record.reserved = {}, set(), set()
        self._pending.discard(group_id)
        if record.spec.name:
            self._names.pop((record.spec.namespace, record.spec.name), None)
        self._removed.append(group_id)
        if len(self._removed) > _REMOVED_KEPT:
            del self._groups[self._removed.popleft()]
        return before

    def of_creator(self, creator: bytes) -> list[bytes]:
        """Return the living groups that end with their creator."""
        return [
            key
            for key, record in self._groups.items()
            if record.creator == creator and record.state != "REMOVED" and record.spec.lifetime != "detached"
        ]

    def living(self) -> list[GroupRecord]:
        """Return the groups that are not removed."""
        return [record for record in self._groups.values() if record.state != "REMOVED"]

    def find(self, group_id: bytes) -> GroupRecord | None:
        """Return a group if it is remembered."""
        return self._groups.get(group_id)

    def table(self) -> list[Mapping[str, object]]:
        """Return one plain mapping per group."""
        return [self.row(record) for record in self._groups.values()]

    @staticmethod
    def row(record: GroupRecord) -> dict[str, object]:
        """Return a group as a plain mapping."""
        return {
            "group_id": record.spec.group_id.hex(),
            "name": record.spec.name,
            "namespace": record.spec.namespace,
            "strategy": record.spec.strategy,
            "state": record.state,
            "reason": record.reason,
            "bundles": {bundle.index: bundle.resources.to_floats() for bundle in record.spec.bundles},
            "bundle_nodes": {index: node.hex() for index, node in enumerate(record.nodes) if node},
        }

    def validate(self) -> None:
        """Raise AssertionError if the book contradicts itself."""
        named = {}
        for key, record in self._groups.items():
            assert key == record.spec.group_id
            assert record.state in ("PENDING", "RESERVING", "CREATED", "REMOVED"), record.state
            assert record.state != "CREATED" or (bool(record.nodes) and all(record.nodes))
            assert (record.state == "PENDING") == (key in self._pending)
            assert bool(record.unanswered) == (record.state == "RESERVING")
            if record.state == "RESERVING":
                assert sorted(record.proposed) == self.missing(record)
            if record.spec.name and record.state != "REMOVED":
                named[record.spec.namespace, record.spec.name] = key
        assert named == self._names
        removed = [key for key, record in self._groups.items() if record.state == "REMOVED"]
        assert sorted(removed) == sorted(self._removed)
        assert len(removed) <= _REMOVED_KEPT
