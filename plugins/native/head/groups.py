"""Placement groups: the shell of their state machine. Bundles are reserved on all their nodes, or on none."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import attrs

from shoal.errors import ConfigError
from shoal.ids import NodeID, PlacementGroupID
from shoal.machines.groups import GroupBook, GroupRecord
from shoal.machines.membership import NodeRecord
from shoal.native.wire import control, kinds
from shoal.native.wire.nodes import number_of
from shoal.spec.resources import ResourceSet, together
from shoal.spec.view import BundleSpec, ClusterView, GroupPlacement, GroupSpec, Infeasible

if TYPE_CHECKING:
    from shoal.native.head.head import Head, NodeLink


_RETRY_SECONDS = 0.05


class GroupsShell:
    """Placement groups of this cluster."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self.book = GroupBook()
        self._watchers: dict[bytes, set[bytes]] = {}
        self._trying = False

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
        known = self.book.find(bytes(spec.group_id))
        if known is not None and known.creator == creator:
            return  # asked again, since the answer was lost with the last head
        if not self.book.create(spec, creator, wire["job"]):
            raise ConfigError(f"a placement group named {spec.name!r} exists in namespace {spec.namespace!r}")
        self._save(bytes(spec.group_id))
        self._head.broadcast([control.GROUP, bytes(spec.group_id), "PENDING", {}], soon=False)
        if not self._trying:
            self._trying = True
            self._head.call_later(0.0, self._try_soon)  # with others that are asked for in the same go

    def _try_soon(self) -> None:
        self._trying = False
        self._head.try_pending()

    @property
    def has_pending(self) -> bool:
        """Whether a group waits for room."""
        return self.book.has_pending

    def try_pending(self) -> None:
        """Ask nodes to reserve what fits now: by the rank of their jobs, oldest first."""
        self._head.refresh()
        view = self._head.membership.view()
        for record in self._head.jobs.in_order(self.book.pending(), lambda record: record.job):
            if record.state != "PENDING":
                continue  # the head's own node answers at once: meanwhile others were placed, or removed
            spec = record.spec
            missing = self.book.missing(record)
            if len(missing) < len(spec.bundles):
                spec = attrs.evolve(spec, bundles=tuple(spec.bundles[index] for index in missing))
            decision = self._head.scheduler.place_group(spec, self._view_for(record, view))
            if not isinstance(decision, GroupPlacement):
                record.reason = decision.reason
                record.infeasible = isinstance(decision, Infeasible)
                if record.infeasible and self._head.scaling.could_hold(spec, view):
                    record.infeasible = False
                    record.reason += "; the autoscaler can launch machines for it"
                continue
            asked = self._propose(record, dict(zip(missing, decision.nodes, strict=True)))
            if asked:  # what the next one sees
                view = attrs.evolve(
                    view, nodes={**view.nodes, **{node.node_id: node.view() for node in asked}}
                )

    def _view_for(self, record: GroupRecord, view: ClusterView) -> ClusterView:
        """Return the nodes that the missing bundles of a group may go to."""
        kept = {NodeID(node) for node in record.nodes if node}
        if record.spec.strategy == "STRICT_SPREAD" and kept:
            view = attrs.evolve(
                view, nodes={key: node for key, node in view.nodes.items() if key not in kept}
            )
        return view

    def _propose(self, record: GroupRecord, chosen: dict[int, NodeID]) -> list[NodeRecord]:
        """Ask nodes to reserve bundles; return them."""
        by_node: dict[int, dict[int, dict[str, int]]] = {}
        for index, node_id in chosen.items():
            node = self._head.membership.find_id(node_id)
            if node is None or node.number not in self._head.links:
                record.reason = f"node {node_id.hex()} is not connected"
                return []
            by_node.setdefault(node.number, {})[index] = dict(record.spec.bundles[index].resources.units)
        group_id = bytes(record.spec.group_id)
        parts = {number: together(bundles.values()) for number, bundles in by_node.items()}
        reason = self._head.jobs.take(record.job, parts)
        if reason:
            record.reason = reason
            return []
        attempt = self.book.propose(
            group_id, {index: bytes(node) for index, node in chosen.items()}, frozenset(by_node)
        )
        asked = []
        for number, bundles in by_node.items():
            taken = sum((record.spec.bundles[index].resources for index in bundles), ResourceSet())
            node = self._head.membership.assume(number, taken)
            self._head.send(number, [control.RESERVE, group_id, attempt, bundles, record.job])
            if node is not None:
                asked.append(node)
        return asked

    def answered(self, number: int, group_id: bytes, attempt: int, reason: str) -> None:
        """A node has reserved its bundles of an attempt, or cannot."""
        outcome = self.book.answered(group_id, attempt, number, reason)
        if outcome == "stale":
            # The group was removed, or placed elsewhere, meanwhile.
            if not reason:
                self._head.send(number, [control.RELEASE, group_id, attempt])
        elif outcome == "failed":
            # Nothing else may happen that leads to another try.
            self._head.call_later(_RETRY_SECONDS, self._head.try_pending)
            for node in self.book.take_back(group_id):
                self._head.send(node, [control.RELEASE, group_id, attempt])
        elif outcome == "created":
            self._save(group_id)
            self._head.introduce_nodes()  # whoever hears of the group may ask what nodes there are
            self._announce(group_id)
            self._tell(group_id, "CREATED")

    def is_at_quota(self, record: GroupRecord) -> bool:
        """Tell whether a group waits for its job's quota, and not for room."""
        return record.reason == self._head.jobs.spec(record.job).at_quota()

    def waiting(self) -> list[dict[str, Any]]:
        """Return the groups that wait for room, for people."""
        return [
            {
                "what": f"placement group {record.spec.name or bytes(record.spec.group_id).hex()}",
                "count": 1,
                "demand": f"{record.spec.strategy} of {[bundle.resources for bundle in record.spec.bundles]!r}",
                "reason": record.reason,
                "job": record.job,
                "node": 0,
            }
            for record in self.book.pending()
        ]

    def waiting_demands(self) -> list[tuple[bytes, Mapping[str, int]]]:
        """Return (job, units of a bundle) of what waits for room."""
        return [
            (record.job, record.spec.bundles[index].resources.units)
            for record in self.book.pending()
            if not record.infeasible
            for index in self.book.missing(record)
        ]

    def remove(self, group_id: bytes) -> None:
        """End a group."""
        before = self.book.remove(group_id)
        if before is None:
            return
        self._save(group_id)
        self._head.broadcast(
            [control.GROUP, group_id, "REMOVED", {}], soon=False
        )  # gives back what is held there
        self._tell(group_id, "REMOVED")
        self._head.actors.group_removed(group_id)
        self._head.try_pending()

    def node_lost(self, number: int) -> None:
        """Bundles that were on a node that is dead are reserved elsewhere."""
        node = self._head.membership.find(number)
        assert node is not None
        for group_id in self.book.node_lost(bytes(node.node_id), number):
            self._save(group_id)
            self._announce(group_id)
        for record in self.book.pending():
            group_id = bytes(record.spec.group_id)
            for other in self.book.take_back(group_id):
                self._head.send(other, [control.RELEASE, group_id, record.attempt])

    def _save(self, group_id: bytes) -> None:
        record = self.book.find(group_id)
        if record is not None:
            self._head.records.group(record)
            self._head.on_event("group", self.book.row(record))

    def restore(self) -> None:
        """Go on with the groups of the last head."""
        for record in self._head.records.load_groups():
            self.book.restore(record)

    def reconcile(self, number: int, held: dict[bytes, dict[int, list[int]]], clients: set[bytes]) -> None:
        """A node tells which bundles it holds, by group and attempt, and which processes live there."""
        node = self._head.membership.find(number)
        assert node is not None
        node_id = bytes(node.node_id)
        for group_id, attempts in held.items():
            record = self.book.find(group_id)
            for attempt, bundles in attempts.items():
                if record is not None and record.state == "RESERVING" and record.attempt == attempt:
                    continue  # see below
                ours = record is not None and record.state in ("CREATED", "PENDING", "RESERVING")
                if not ours or any(record.nodes[i : i + 1] != (node_id,) for i in bundles):  # type: ignore[union-attr]
                    self._head.send(number, [control.RELEASE, group_id, attempt])
        for record in self.book.living():
            group_id = bytes(record.spec.group_id)
            if record.state == "RESERVING" and number in record.unanswered:
                # It was asked on the connection that broke: either the question was lost, or the answer.
                reserved = record.attempt in held.get(group_id, {})
                self.answered(number, group_id, record.attempt, "" if reserved else "its connection broke")
            there = {index for bundles in held.get(group_id, {}).values() for index in bundles}
            missing = [i for i, where in enumerate(record.nodes) if where == node_id and i not in there]
            if missing and self.book.bundles_lost(group_id, node_id, missing):
                self._save(group_id)
                self._announce(group_id)
            creator = record.creator
            if number_of(creator) == number and creator not in clients and record.spec.lifetime != "detached":
                self.remove(group_id)
        self.try_pending()

    def client_gone(self, client: bytes) -> None:
        """A process is gone: its groups that are not detached end."""
        for group_id in self.book.of_creator(client):
            self.remove(group_id)
        for watchers in self._watchers.values():
            watchers.discard(client)

    def creators(self) -> set[bytes]:
        """Return the processes that created living groups."""
        return {record.creator for record in self.book.living()}

    def watch(self, group_id: bytes, client: bytes) -> None:
        """Tell a client when a group is there, or gone."""
        record = self.book.find(group_id)
        if record is None or record.state == "REMOVED":
            self._head.tell(client, [kinds.GROUP_STATE, group_id, "REMOVED"])
        elif record.state == "CREATED":
            self._head.tell(client, [kinds.GROUP_STATE, group_id, "CREATED"])
        else:
            self._watchers.setdefault(group_id, set()).add(client)

    def introduce(self, link: NodeLink) -> None:
        """Tell a node that has joined of the groups that there are."""
        for record in self.book.living():
            group_id = bytes(record.spec.group_id)
            link.send([control.GROUP, group_id, record.state, self._places(record)])
        link.send([control.GROUP, b"", "ALL", {}])

    def _announce(self, group_id: bytes) -> None:
        record = self.book.find(group_id)
        assert record is not None
        self._head.broadcast([control.GROUP, group_id, record.state, self._places(record)], soon=False)

    def _places(self, record: GroupRecord) -> dict[int, int]:
        places = {}
        for index, node_id in enumerate(record.nodes):
            node = self._head.membership.find_id(NodeID(node_id)) if node_id else None
            if node is not None:
                places[index] = node.number
        return places

    def node_of(self, group_id: bytes, index: int) -> list[int]:
        """Return the numbers of the nodes where a bundle, or (−1) any of a group's bundles, is."""
        record = self.book.find(group_id)
        if record is None or record.state != "CREATED":
            return []
        places = self._places(record)
        if index >= 0:
            return [places[index]] if index in places else []
        return list(dict.fromkeys(places.values()))

    def _tell(self, group_id: bytes, state: str) -> None:
        for client in self._watchers.pop(group_id, ()):
            self._head.tell(client, [kinds.GROUP_STATE, group_id, state])

    def is_living(self, group_id: bytes) -> bool:
        """Tell whether a group is there or waits for room."""
        record = self.book.find(group_id)
        return record is not None and record.state != "REMOVED"
