"""LocalityScheduler: work goes to its data."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.ids import NodeID
from shoal.schedulers.feasible import fits
from shoal.schedulers.hybrid import HybridScheduler
from shoal.schedulers.policy import Policy
from shoal.spec.view import ClusterView, Demand, NodeView


class LocalityScheduler(Policy):
    """Chooses the node that has most bytes of the arguments; without large arguments it does as `hybrid`.

    Work does not wait for a busy node because its data is there: moving bytes is cheaper than idle processors.
    Options: `minimum`, the bytes below which an argument's place does not matter (1 MiB if not given), and those of
    `hybrid`.
    """

    name: ClassVar[str] = "locality"
    __slots__ = ("_hybrid", "_minimum")

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
        self._hybrid = HybridScheduler(given)
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
        return self._hybrid.shortcut(demand, view)

    def choose(self, demand: Demand, view: ClusterView, nodes: list[NodeView]) -> NodeView:
        here = {node.node_id: node for node in nodes}
        for node_id, _ in self._places(demand):
            if node_id in here:
                return here[node_id]
        return self._hybrid.choose(demand, view, nodes)

    def _places(self, demand: Demand) -> list[tuple[NodeID, int]]:
        large = [(node_id, size) for node_id, size in demand.argument_bytes.items() if size >= self._minimum]
        return sorted(large, key=lambda place: (-place[1], place[0]))
