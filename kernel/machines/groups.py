"""Placement groups: asked for, reserved, removed.

PENDING → CREATED → REMOVED
   └──────────────────┘
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import attrs

from shoal.spec.view import GroupSpec

_REMOVED_KEPT = 1_000


@attrs.define(eq=False)
class GroupRecord:
    """One group. `nodes[i]` holds bundle i once it is CREATED."""

    spec: GroupSpec
    creator: bytes
    state: str = "PENDING"
    nodes: tuple[bytes, ...] = ()
    reason: str = "not tried yet"
    infeasible: bool = False


class GroupBook:
    """All placement groups of a cluster, in the order they were asked for."""

    def __init__(self) -> None:
        self._groups: OrderedDict[bytes, GroupRecord] = OrderedDict()
        self._names: dict[tuple[str, str], bytes] = {}

    def create(self, spec: GroupSpec, creator: bytes) -> bool:
        """Add a group. Returns False if its name is taken."""
        key = (spec.namespace, spec.name)
        if spec.name and key in self._names:
            return False
        if spec.name:
            self._names[key] = spec.group_id
        self._groups[spec.group_id] = GroupRecord(spec, creator)
        return True

    def pending(self) -> list[GroupRecord]:
        """Return the groups that wait for room, oldest first."""
        return [record for record in self._groups.values() if record.state == "PENDING"]

    def created(self, group_id: bytes, nodes: tuple[bytes, ...]) -> bool:
        """All bundles are reserved. Returns False if the group was removed meanwhile: release them."""
        record = self._groups.get(group_id)
        if record is None or record.state == "REMOVED":
            return False
        record.state = "CREATED"
        record.nodes = nodes
        record.reason = ""
        return True

    def remove(self, group_id: bytes) -> GroupRecord | None:
        """End a group; return it as it was before, None if it was over or unknown."""
        record = self._groups.get(group_id)
        if record is None or record.state == "REMOVED":
            return None
        before = attrs.evolve(record)
        record.state = "REMOVED"
        if record.spec.name:
            self._names.pop((record.spec.namespace, record.spec.name), None)
        removed = [key for key, other in self._groups.items() if other.state == "REMOVED"]
        for key in removed[: max(0, len(removed) - _REMOVED_KEPT)]:
            del self._groups[key]
        return before

    def of_creator(self, creator: bytes) -> list[bytes]:
        """Return the living groups that end with their creator."""
        return [
            key
            for key, record in self._groups.items()
            if record.creator == creator and record.state != "REMOVED" and record.spec.lifetime != "detached"
        ]

    def find(self, group_id: bytes) -> GroupRecord | None:
        """Return a group if it is remembered."""
        return self._groups.get(group_id)

    def table(self) -> list[Mapping[str, object]]:
        """Return one plain mapping per group."""
        return [
            {
                "group_id": record.spec.group_id.hex(),
                "name": record.spec.name,
                "namespace": record.spec.namespace,
                "strategy": record.spec.strategy,
                "state": record.state,
                "reason": record.reason,
                "bundles": {bundle.index: bundle.resources.to_floats() for bundle in record.spec.bundles},
                "bundle_nodes": {index: node.hex() for index, node in enumerate(record.nodes)},
            }
            for record in self._groups.values()
        ]

    def validate(self) -> None:
        """Raise AssertionError if the book contradicts itself."""
        named = {}
        for key, record in self._groups.items():
            assert key == record.spec.group_id
            assert record.state in ("PENDING", "CREATED", "REMOVED"), record.state
            assert bool(record.nodes) or record.state != "CREATED"
            if record.spec.name and record.state != "REMOVED":
                named[record.spec.namespace, record.spec.name] = key
        assert named == self._names
        assert sum(record.state == "REMOVED" for record in self._groups.values()) <= _REMOVED_KEPT
