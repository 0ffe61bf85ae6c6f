"""BinpackScheduler: as few nodes as can be, so that an autoscaler can end the others."""

from __future__ import annotations

from typing import ClassVar

from shoal.schedulers.policy import Policy
from shoal.schedulers.score import best, leftover, spare_kinds
from shoal.spec.view import ClusterView, Demand, NodeView


class BinpackScheduler(Policy):
    """Best fit: the node on which least of what was asked for stays free. It has no options."""

    name: ClassVar[str] = "binpack"
    candidates: ClassVar[int] = 1 << 30  # the tightest fit of all, not of a few
    __slots__ = ()

    def choose(self, demand: Demand, view: ClusterView, nodes: list[NodeView]) -> NodeView:
        asked = demand.resources.units
        return best(nodes, 0, lambda node: (spare_kinds(node, asked), leftover(node, asked)))
