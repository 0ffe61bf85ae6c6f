"""What waits as an autoscaler is told of it, and what an autoscaler could bring: for the head and for each node."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs

from shoal.ids import NodeID
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import NodeAffinityStrategy, NodeLabelStrategy, PlacementGroupStrategy
from shoal.spec.view import (
    ClusterView,
    Decision,
    Demand,
    GroupDecision,
    GroupPlacement,
    GroupSpec,
    Infeasible,
    NodeView,
)

MOST_SHAPES = 1_000  # of needs that a node tells of


@attrs.frozen(kw_only=True)
class Shape:
    """What one need asks for, so that equal ones are counted together."""

    resources: ResourceSet
    selector: tuple[tuple[str, str], ...] = ()


def shape_of(demand: Demand) -> Shape | None:
    """Return what another machine would have to offer for a demand; None if none could help."""
    strategy = demand.strategy
    if isinstance(strategy, PlacementGroupStrategy):
        return None  # its bundles are what needs room
    if isinstance(strategy, NodeAffinityStrategy) and not strategy.soft:
        return None
    selector = dict(demand.label_selector)
    if isinstance(strategy, NodeLabelStrategy):
        selector |= {key: f"in({','.join(values)})" for key, values in strategy.hard.items()}
    return Shape(resources=demand.resources, selector=tuple(sorted(selector.items())))


class NeedTable:
    """Needs by shape: their count, and what one of them is called."""

    def __init__(self) -> None:
        self._counts: dict[Shape, int] = {}
        self._names: dict[Shape, str] = {}

    def add(self, shape: Shape | None, count: int, what: str) -> None:
        """Add so many of a shape; None adds nothing."""
        if shape is None or count < 1:
            return
        if shape not in self._counts and len(self._counts) >= MOST_SHAPES:
            return
        self._counts[shape] = self._counts.get(shape, 0) + count
        self._names.setdefault(shape, what)

    def rows(self) -> list[list[Any]]:
        """Return [units, labels, count, what] of each, in an order that does not depend on chance."""
        return [
            [dict(shape.resources.units), dict(shape.selector), count, self._names[shape]]
            for shape, count in sorted(self._counts.items(), key=lambda pair: repr(pair[0]))
        ]

    def add_rows(self, rows: Iterable[Sequence[Any]]) -> None:
        """Add what another table has told."""
        for units, labels, count, what in rows:
            shape = Shape(resources=ResourceSet(units), selector=tuple(sorted(labels.items())))
            self.add(shape, count, what)


@attrs.frozen(kw_only=True)
class Offer:
    """A node type that an autoscaler can launch."""

    name: str
    resources: ResourceSet
    labels: Mapping[str, str] = attrs.field(factory=dict, hash=False)
    most: int = 1


class Offers:
    """What an autoscaler can launch. Empty if there is no autoscaler."""

    def __init__(self, wire: Iterable[Mapping[str, Any]] = (), expected: bool = False) -> None:
        """`expected`: an autoscaler is meant to be there, and has not said anything yet."""
        self.expected = expected
        self.all = [
            Offer(
                name=one["name"], resources=ResourceSet(one["units"]), labels=one["labels"], most=one["most"]
            )
            for one in wire
        ]

    @property
    def any(self) -> bool:
        """Whether there is an autoscaler, or soon will be."""
        return bool(self.all) or self.expected

    def to_wire(self) -> dict[str, Any]:
        """Return it as plain data."""
        types = [
            {
                "name": one.name,
                "units": dict(one.resources.units),
                "labels": dict(one.labels),
                "most": one.most,
            }
            for one in self.all
        ]
        return {"types": types, "expected": self.expected}

    @classmethod
    def from_wire(cls, wire: Mapping[str, Any]) -> Offers:
        """Make it again from `to_wire`."""
        return cls(wire["types"], wire["expected"])

    def able(self, demand: Demand, place: Callable[[Demand, ClusterView], Decision]) -> list[str]:
        """Return the types of which a machine could hold a demand: the scheduler says so, of empty ones."""
        if shape_of(demand) is None:
            return []
        found = []
        for offer in self.all:
            view = _view([offer])
            if offer.most > 0 and not isinstance(place(demand, view), Infeasible):
                found.append(offer.name)
        return found

    def able_group(
        self, spec: GroupSpec, there: ClusterView, place: Callable[[GroupSpec, ClusterView], GroupDecision]
    ) -> bool:
        """Tell whether a placement group would fit if all that could be launched for it were there as well."""
        count = len(spec.bundles)
        empty = {node_id: attrs.evolve(node, available=node.total) for node_id, node in there.nodes.items()}
        more = [offer for offer in self.all for _ in range(min(offer.most, count))]
        view = ClusterView(nodes={**empty, **_view(more).nodes})
        return isinstance(place(spec, view), GroupPlacement)

    def why_not(self) -> str:
        """Say what the autoscaler could launch, for who asked for something else."""
        if not self.all:
            return ""
        listed = ", ".join(f"{one.name} {one.resources!r}" for one in self.all)
        return f"No node type of the autoscaler could ever hold it: {listed}"


def _view(offers: Sequence[Offer]) -> ClusterView:
    nodes = {}
    for index, offer in enumerate(offers):
        node_id = NodeID((0xFFFF_0000_0000_0000 + index).to_bytes(NodeID.SIZE, "big"))
        nodes[node_id] = NodeView(
            node_id=node_id, total=offer.resources, available=offer.resources, labels=dict(offer.labels)
        )
    return ClusterView(nodes=nodes)
