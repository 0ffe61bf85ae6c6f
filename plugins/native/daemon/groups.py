"""Placement groups: the shell of their state machine."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError
from shoal.ids import NodeID, PlacementGroupID
from shoal.machines.groups import GroupBook, GroupRecord
from shoal.native.wire import kinds
from shoal.spec.resources import ResourceSet
from shoal.spec.view import BundleSpec, GroupPlacement, GroupSpec, Infeasible

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon


class GroupsShell:
    """Placement groups of this cluster."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.book = GroupBook()
        self._watchers: dict[bytes, set[bytes]] = {}

    def create(self, creator: bytes, wire: dict[str, Any]) -> None:
        """Add a group. Raises ConfigError if its name is taken."""
        spec = GroupSpec(
            group_id=PlacementGroupID(wire["group"]),
            bundles=tuple(
                BundleSpec(index=index, resources=ResourceSet(units), label_selector=labels)
                for index, (units, labels) in enumerate(wire["bundles"])
            ),
            strategy=wire["strategy"],
            name=wire["name"],
            namespace=wire["namespace"],
            lifetime=wire["lifetime"],
            soft_target_node=NodeID(wire["target"]) if wire["target"] else None,
        )
        if not self.book.create(spec, creator):
            raise ConfigError(f"a placement group named {spec.name!r} exists in namespace {spec.namespace!r}")

    def try_pending(self) -> None:
        """Reserve what fits now, oldest first."""
        for record in self.book.pending():
            decision = self._daemon.scheduler.place_group(record.spec, self._daemon.scheduling.view())
            if not isinstance(decision, GroupPlacement):
                record.reason = decision.reason
                record.infeasible = isinstance(decision, Infeasible)
                continue
            bundles = {bundle.index: bundle.resources for bundle in record.spec.bundles}
            if self._daemon.scheduling.book.reserve(record.spec.group_id, bundles):
                self.book.created(record.spec.group_id, tuple(decision.nodes))
                self._tell(bytes(record.spec.group_id), "CREATED")
            else:
                record.reason = "devices are not free together"

    def remove(self, group_id: bytes) -> None:
        """End a group."""
        before = self.book.remove(group_id)
        if before is None:
            return
        self._daemon.scheduling.group_removed(group_id)
        self._tell(bytes(group_id), "REMOVED")

    def client_gone(self, client: bytes) -> None:
        """A process is gone: its groups that are not detached end."""
        for group_id in self.book.of_creator(client):
            self.remove(group_id)
        for watchers in self._watchers.values():
            watchers.discard(client)

    def watch(self, group_id: bytes, client: bytes) -> None:
        """Tell a client when a group is there, or gone."""
        record = self.book.find(group_id)
        if record is None or record.state == "REMOVED":
            self._daemon.tell(client, [kinds.GROUP_STATE, group_id, "REMOVED"])
        elif record.state == "CREATED":
            self._daemon.tell(client, [kinds.GROUP_STATE, group_id, "CREATED"])
        else:
            self._watchers.setdefault(group_id, set()).add(client)

    def _tell(self, group_id: bytes, state: str) -> None:
        for client in self._watchers.pop(group_id, ()):
            self._daemon.tell(client, [kinds.GROUP_STATE, group_id, state])

    def is_living(self, group_id: bytes) -> bool:
        """Tell whether a group is there or waits for room."""
        record = self.book.find(group_id)
        return record is not None and record.state != "REMOVED"

    def find(self, group_id: bytes) -> GroupRecord | None:
        """Return a group if it is remembered."""
        return self.book.find(group_id)
