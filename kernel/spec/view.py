"""What a decision-maker may see of the cluster, and what it answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import attrs

from shoal.ids import NodeID, PlacementGroupID
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import DefaultStrategy, Strategy


@attrs.frozen(kw_only=True)
class NodeView:
    """One node as of the view's version."""

    node_id: NodeID
    total: ResourceSet
    available: ResourceSet
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    alive: bool = True
    draining: bool = False
    address: str = ""
    queued: int = 0  # leases waiting there


@attrs.frozen(kw_only=True)
class ClusterView:
    """All nodes at one moment. `local` is the node that asks; `version` grows with every change."""

    nodes: Mapping[NodeID, NodeView]
    local: NodeID | None = None
    version: int = 0

    def usable(self) -> list[NodeView]:
        """Return nodes that live and take new work, in the order of their identifiers."""
        nodes = [node for node in self.nodes.values() if node.alive and not node.draining]
        return sorted(nodes, key=lambda node: node.node_id)


@attrs.frozen(kw_only=True)
class Demand:
    """What one task, actor or bundle asks of the scheduler."""

    resources: ResourceSet
    strategy: Strategy = attrs.field(factory=DefaultStrategy)
    label_selector: Mapping[str, str] = attrs.field(
        factory=dict, hash=False
    )  # "in(a,b)", "!in(a)", "!a", "a"
    argument_bytes: Mapping[NodeID, int] = attrs.field(factory=dict, hash=False)  # where arguments lie
    turn: int = 0  # grows with every request; breaks ties evenly and repeatably


@attrs.frozen
class Placement:
    """Run it there, now."""

    node_id: NodeID


@attrs.frozen
class Wait:
    """Some node could run it, none can now. `reason` says what is short."""

    reason: str


@attrs.frozen
class Infeasible:
    """No node that there is could ever run it. `reason` says by how much."""

    reason: str


Decision = Placement | Wait | Infeasible


@attrs.frozen(kw_only=True)
class BundleSpec:
    """One bundle of a placement group."""

    index: int
    resources: ResourceSet
    label_selector: Mapping[str, str] = attrs.field(factory=dict, hash=False)


@attrs.frozen(kw_only=True)
class GroupSpec:
    """A placement group as asked for. `strategy` is PACK, SPREAD, STRICT_PACK or STRICT_SPREAD."""

    group_id: PlacementGroupID
    bundles: tuple[BundleSpec, ...]
    strategy: str = attrs.field(
        default="PACK", validator=attrs.validators.in_(("PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"))
    )
    name: str = ""
    namespace: str = ""
    lifetime: str | None = None  # "detached" outlives its driver
    soft_target_node: NodeID | None = None


def _in_order(nodes: Iterable[NodeID]) -> tuple[NodeID, ...]:
    return tuple(nodes)


@attrs.frozen
class GroupPlacement:
    """Bundle i goes to `nodes[i]`, now, all of them or none."""

    nodes: tuple[NodeID, ...] = attrs.field(converter=_in_order)


GroupDecision = GroupPlacement | Wait | Infeasible


def _texts(lines: Iterable[str]) -> tuple[str, ...]:
    return tuple(lines)


@attrs.frozen(kw_only=True)
class Explanation:
    """Why something has not happened yet, for a person. `reasons` go from the nearest to the root."""

    subject: str
    state: str
    reasons: Sequence[str] = attrs.field(default=(), converter=_texts)

    def __str__(self) -> str:
        lines = [f"{self.subject}: {self.state}"]
        lines.extend(f"  {'because ' if index else ''}{reason}" for index, reason in enumerate(self.reasons))
        return "\n".join(lines)
