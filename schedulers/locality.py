"""LocalityScheduler: work goes to its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.ids import NodeID
from shoal.schedulers.feasible import accepts, fits, prefers
from shoal.schedulers.hybrid import HybridScheduler
from shoal.spec.strategy import NodeLabelStrategy, SpreadStrategy
from shoal.spec.view import ClusterView, Decision, Demand, NodeView, Placement


class LocalityScheduler(HybridScheduler):
    """Chooses the node that has most bytes of the arguments; without large arguments it does as `hybrid`.

    Work does not wait for a busy node because its data is there: moving bytes is cheaper than idle processors.
    Options: `minimum`, the bytes below which an argument's place does not matter (1 MiB if not given), and those of
    `hybrid`.
    """

    name: ClassVar[str] = "locality"
    __slots__ = ("_minimum",)

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        minimum = given.pop("minimum", 1 << 20)
        if isinstance(minimum, bool) or not isinstance(minimum, int) or minimum < 0:
            raise ConfigError(
                f"minimum of the scheduler 'locality' must be a whole number of bytes ≥ 0, got {describe(minimum)}"
            )
        unknown = sorted(given.keys() - {"threshold"})
        if unknown:
            raise ConfigError(f"the scheduler 'locality' has no options {unknown}; it has minimum, threshold")
        super().__init__(given)
        self._minimum = minimum

    def shortcut(self, demand: Demand, view: ClusterView) -> NodeView | None:
        asked = demand.resources.units
        if demand.argument_bytes:
            for node_id, _ in self._places(demand):
                node = view.nodes.get(node_id)
                if (
                    node is not None
                    and node.alive
                    and not node.draining
                    and fits(node.available.units, asked)
                ):
                    return node
        return super().shortcut(demand, view)

    def among(self, demand: Demand, view: ClusterView) -> Decision:
        if demand.argument_bytes and not isinstance(demand.strategy, SpreadStrategy):
            # Here are those with wishes about labels; of the others only those whose data is on no free node.
            found = [view.nodes[node_id] for node_id, _ in self._places(demand) if node_id in view.nodes]
            here = [node for node in found if _can(node, demand)]
            liked = [node for node in here if prefers(demand, node)]
            if here and (liked or not self._any_preferred(demand, view)):
                return Placement((liked or here)[0].node_id)
        return super().among(demand, view)

    def _any_preferred(self, demand: Demand, view: ClusterView) -> bool:
        """Tell whether some node that can take the demand has the labels that it would like."""
        strategy = demand.strategy
        if not isinstance(strategy, NodeLabelStrategy) or not strategy.soft:
            return False
        return any(_can(node, demand) and prefers(demand, node) for node in view.nodes.values())

    def _places(self, demand: Demand) -> list[tuple[NodeID, int]]:
        large = [(node_id, size) for node_id, size in demand.argument_bytes.items() if size >= self._minimum]
        return sorted(large, key=lambda place: (-place[1], place[0]))


def _can(node: NodeView, demand: Demand) -> bool:
    return (
        node.alive
        and not node.draining
        and fits(node.available.units, demand.resources.units)
        and accepts(demand, node)
    )
