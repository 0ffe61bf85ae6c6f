"""Placement groups: Ray's, under identifiers of ours that every process can look up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shoal.errors import ConfigError, PlacementGroupRemoved
from shoal.interfaces.refs import ObjectRef
from shoal.onray.parcels import Held, identify, short
from shoal.onray.real import part
from shoal.spec.view import GroupSpec

if TYPE_CHECKING:
    from shoal.onray.engine import RayEngine

_KEYS = "shoal.groups"


class Groups:
    """Makes, finds and removes groups."""

    def __init__(self, engine: RayEngine) -> None:
        self._engine = engine
        self._known: dict[bytes, Any] = {}  # Ray's group by our identifier

    def create(self, spec: GroupSpec) -> None:
        """Ask Ray for the group."""
        if spec.name and any(
            row["name"] == spec.name and row["namespace"] == spec.namespace and row["state"] != "REMOVED"
            for row in self.all()
        ):
            raise ConfigError(
                f"a placement group is named {spec.name!r} already; remove it first, or take another name"
            )
        selectors = [dict(bundle.label_selector) for bundle in spec.bundles]
        options: dict[str, Any] = {"bundle_label_selector": selectors} if any(selectors) else {}
        if spec.soft_target_node is not None:
            options["_soft_target_node_id"] = self._engine.looking.ray_node(spec.soft_target_node)
        group = part("util.placement_group").placement_group(
            [bundle.resources.to_floats() for bundle in spec.bundles],
            strategy=spec.strategy,
            name=spec.name,
            lifetime=spec.lifetime,
            **options,
        )
        self._known[bytes(spec.group_id)] = group
        row = {
            "ray": group.id.hex(),
            "name": spec.name,
            "namespace": spec.namespace,
            "bundles": [bundle.resources.to_floats() for bundle in spec.bundles],
        }
        self._engine.keys.put(bytes(spec.group_id), json.dumps(row).encode(), True, _KEYS)

    def ray_group(self, group_id: bytes) -> Any:
        """Return Ray's group. Raises ValueError for one that is not known."""
        group = self._known.get(bytes(group_id))
        if group is None:
            row = self._engine.keys.get(bytes(group_id), _KEYS)
            if row is None:
                raise ValueError(f"no placement group {bytes(group_id).hex()} is known")
            identifier = self._engine.ray.PlacementGroupID.from_hex(json.loads(row)["ray"])
            group = part("util.placement_group").PlacementGroup(identifier)
            self._known[bytes(group_id)] = group
        return group

    def our_id(self, ray_hex: str) -> bytes:
        """Return our identifier of Ray's group; empty if it was not made through this engine."""
        for group_id, group in self._known.items():
            if group.id.hex() == ray_hex:
                return group_id
        for group_id in self._engine.keys.all(b"", _KEYS):
            if json.loads(self._engine.keys.get(group_id, _KEYS) or b"{}").get("ray") == ray_hex:
                self.ray_group(group_id)
                return group_id
        return b""

    def ready(self, group_id: bytes) -> ObjectRef[Any]:
        """Return a reference to what Ray makes once the group is there."""
        ref = self.ray_group(group_id).ready()
        return ObjectRef(identify(ref), self._engine, Held(ref, "placement_group"), _nothing)

    def state(self, group_id: bytes) -> str:
        """Return the group's state."""
        group = self.ray_group(group_id)
        row = part("util.placement_group").placement_group_table(group)
        return _state(row)

    def check_lives(self, group_id: bytes) -> None:
        """Raise PlacementGroupRemoved for one that was removed."""
        if self.state(group_id) == "REMOVED":
            raise PlacementGroupRemoved(f"placement group {bytes(group_id).hex()} was removed")

    def remove(self, group_id: bytes) -> None:
        """Remove it; twice does nothing."""
        try:
            group = self.ray_group(group_id)
        except ValueError:
            return
        part("util.placement_group").remove_placement_group(group)

    def all(self) -> list[Mapping[str, Any]]:
        """Return what Ray's table says, of groups that were made through this engine."""
        table = part("util.placement_group").placement_group_table()
        nodes = {
            row["NodeID"]: short(bytes.fromhex(row["NodeID"]), 8).hex() for row in self._engine.ray.nodes()
        }
        found: list[Mapping[str, Any]] = []
        for group_id in self._engine.keys.all(b"", _KEYS):
            known = json.loads(self._engine.keys.get(group_id, _KEYS) or b"{}")
            row = table.get(known.get("ray", ""))
            if row is None:
                continue
            found.append(
                {
                    "group_id": group_id,
                    "name": known["name"],
                    "namespace": known["namespace"],
                    "strategy": row["strategy"],
                    "state": _state(row),
                    "bundles": dict(enumerate(known["bundles"])),
                    "bundle_nodes": {
                        index: nodes.get(node, "") for index, node in row["bundles_to_node_id"].items()
                    },
                }
            )
        return found


def _state(row: Mapping[str, Any]) -> str:
    state: str = row.get("state", "REMOVED")
    return "PENDING" if state == "PREPARED" else state


def _nothing(record: Any) -> None:
    """Ray counts its own references."""
