"""SpreadScheduler: all nodes alike."""

from __future__ import annotations

from typing import ClassVar

from shoal.schedulers.policy import Policy, least_used
from shoal.spec.view import ClusterView, Demand, NodeView


class SpreadScheduler(Policy):
    """The node that is used least; equal ones take turns, so that work without resources goes round. No options."""

    name: ClassVar[str] = "spread"
    __slots__ = ()

    def choose(self, demand: Demand, view: ClusterView, nodes: list[NodeView]) -> NodeView:
        return least_used(demand, nodes)
