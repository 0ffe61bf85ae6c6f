"""What all our policies share: the strategies, so that a policy only has to choose among nodes that can take it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.interfaces.scheduler import Scheduler
from shoal.schedulers.bundles import place_group
from shoal.schedulers.feasible import accepts, bound_to, check_no_options, fits, ready, refuse
from shoal.schedulers.score import best, utilisation
from shoal.spec.strategy import DefaultStrategy, NodeAffinityStrategy, PlacementGroupStrategy, SpreadStrategy
from shoal.spec.view import (
    ClusterView,
    Decision,
    Demand,
    GroupDecision,
    GroupSpec,
    NodeView,
    Placement,
)


class Policy(Scheduler):
    """A scheduler that is one choice: `choose` among nodes, all of which can take the demand now.

    A subclass may answer earlier, in `shortcut`, without looking at every node. One whose choice is "the node with the
    least of some number" does better as a `RankedPolicy`: it is as exact and as fast with thousands of nodes.
    """

    candidates: ClassVar[int] = 24  # how many ready nodes are compared
    __slots__ = ()

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        check_no_options(self.name, options)

    @abstractmethod
    def choose(self, demand: Demand, view: ClusterView, nodes: list[NodeView]) -> NodeView:
        """Return one of `nodes`, of which there is at least one."""

    def shortcut(self, demand: Demand, view: ClusterView) -> NodeView | None:
        """Return a node that is good enough to look no further, or None. Labels need not be looked at."""
        return None

    def place(self, demand: Demand, view: ClusterView) -> Decision:
        strategy = demand.strategy
        if isinstance(strategy, NodeAffinityStrategy):
            node = bound_to(demand, view)
            if node is not None and not node.draining and accepts(demand, node):
                fitting = fits(node.available.units, demand.resources.units)
                return Placement(node.node_id) if fitting else refuse(demand, view)
            if node is not None or not strategy.soft:
                return refuse(demand, view)
        elif not demand.label_selector and isinstance(strategy, (DefaultStrategy, PlacementGroupStrategy)):
            node = self.shortcut(demand, view)
            if node is not None:
                return Placement(node.node_id)
        return self.among(demand, view)

    def among(self, demand: Demand, view: ClusterView) -> Decision:
        """Answer for a demand that is bound to no node and took no shortcut."""
        nodes = ready(demand, view, self.candidates)
        if not nodes:
            return refuse(demand, view)
        if isinstance(demand.strategy, SpreadStrategy):
            return Placement(least_used(demand, nodes).node_id)
        return Placement(self.choose(demand, view, nodes).node_id)

    def place_group(self, spec: GroupSpec, view: ClusterView) -> GroupDecision:
        return place_group(spec, view)


def least_used(demand: Demand, nodes: list[NodeView]) -> NodeView:
    """Return the node that is used least once it has the demand; equal ones take turns."""
    asked = demand.resources.units
    return best(nodes, demand.turn, lambda node: (utilisation(node, asked), node.queued))
