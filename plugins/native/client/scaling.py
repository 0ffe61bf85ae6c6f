"""NativeScalingLink: what an autoscaler asks a cluster's head, through the node that runs here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.interfaces.nodes import MACHINE_LABEL, TYPE_LABEL, NodeType
from shoal.interfaces.scaling import Need, ScalingLink, ScalingNode, ScalingView
from shoal.spec.resources import ResourceSet

if TYPE_CHECKING:
    from shoal.native.client.client import Client

_SECONDS = 30.0  # that an answer may take


class NativeScalingLink(ScalingLink):
    """Requests to the head, one for each method."""

    __slots__ = ("_client", "_closed", "_owns")

    def __init__(self, client: Client, owns: bool) -> None:
        """`owns`: closing it closes the client."""
        self._client = client
        self._owns = owns
        self._closed = False

    def _ask(self, name: str, *arguments: Any) -> Any:
        return self._client.request(name, *arguments, timeout=_SECONDS)

    def view(self) -> ScalingView:
        found = self._ask("scaling_view")
        return ScalingView(
            nodes=[_node(wire) for wire in found["nodes"]],
            needs=[_need(row) for row in found["needs"]],
            requests=[_need(row) for row in found["requests"]],
        )

    def lead(self, owner: bytes, seconds: float, types: Sequence[NodeType]) -> bool:
        offered = [
            {
                "name": one.name,
                "units": dict(one.resources.units),
                "labels": {**one.labels, TYPE_LABEL: one.name},
                "most": one.most,
            }
            for one in types
        ]
        return bool(self._ask("scaling_lead", owner, seconds, offered))

    def step_down(self, owner: bytes) -> None:
        self._ask("scaling_step_down", owner)

    def tell(self, owner: bytes, report: Mapping[str, Any]) -> None:
        self._ask("scaling_tell", owner, dict(report))

    def told(self) -> Mapping[str, Any] | None:
        found: dict[str, Any] | None = self._ask("scaling_told")
        return found

    def drain(self, node_id: str) -> bool:
        return bool(self._ask("drain_node", bytes.fromhex(node_id)))

    def request(self, needs: Sequence[Need]) -> None:
        self._ask("scaling_request", [_row(need) for need in needs])

    def close(self) -> None:
        if not self._closed and self._owns:
            self._client.close()
        self._closed = True


def _node(wire: Mapping[str, Any]) -> ScalingNode:
    labels: dict[str, str] = wire["labels"]
    return ScalingNode(
        node_id=wire["id"].hex(),
        machine_id=labels.get(MACHINE_LABEL, ""),
        node_type=labels.get(TYPE_LABEL, ""),
        total=ResourceSet(wire["total"]),
        available=ResourceSet(wire["available"]),
        labels=labels,
        draining=wire["draining"],
        in_use=wire["in_use"],
        version=wire["version"],
    )


def _need(row: Sequence[Any]) -> Need:
    units, labels, count, what, group, apart = row
    return Need(
        resources=ResourceSet(units), selector=labels, count=count, what=what, group=group, apart=apart
    )


def _row(need: Need) -> list[Any]:
    return [dict(need.resources.units), dict(need.selector), need.count, need.what, need.group, need.apart]
