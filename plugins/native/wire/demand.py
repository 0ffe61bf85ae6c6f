"""What a task or actor asks of the scheduler, from its plain form."""

from __future__ import annotations

from typing import Any

from shoal.ids import NodeID, PlacementGroupID
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import (
    DefaultStrategy,
    NodeAffinityStrategy,
    NodeLabelStrategy,
    PlacementGroupStrategy,
    SpreadStrategy,
    Strategy,
)
from shoal.spec.view import Demand


def demand_from_wire(wire: dict[str, Any], turn: int) -> Demand:
    """Return a scheduling class's demand. `turn` breaks ties: see Demand."""
    return Demand(
        resources=ResourceSet(wire["resources"]),
        strategy=strategy_from_wire(wire["strategy"]),
        label_selector=wire["labels"],
        turn=turn,
    )


def strategy_from_wire(wire: list[Any]) -> Strategy:
    """Return a strategy from its plain form."""
    kind = wire[0]
    if kind == "spread":
        return SpreadStrategy()
    if kind == "node":
        return NodeAffinityStrategy(node_id=NodeID(wire[1]), soft=wire[2])
    if kind == "labels":
        return NodeLabelStrategy(
            hard={k: tuple(v) for k, v in wire[1].items()}, soft={k: tuple(v) for k, v in wire[2].items()}
        )
    if kind == "group":
        return PlacementGroupStrategy(
            group_id=PlacementGroupID(wire[1]), bundle_index=wire[2], capture_child_tasks=wire[3]
        )
    return DefaultStrategy()
