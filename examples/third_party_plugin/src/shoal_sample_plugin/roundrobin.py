"""A scheduler that takes one node after the other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError
from shoal.schedulers.policy import Policy
from shoal.spec.view import ClusterView, Demand, NodeView


class RoundRobinScheduler(Policy):
    """Places each piece of work on the next node that can take it, in the order of the nodes' identifiers.

    The base class does what the interface asks of every scheduler (affinity, labels, groups, the reasons for waiting);
    the choice is what is left. A scheduler keeps no count of its own: the same view and demand must give the same
    answer, so it takes `demand.turn`.
    """

    name: ClassVar[str] = "roundrobin"
    __slots__ = ("_spare_local",)

    @attrs.frozen
    class Options:
        """`spare_local=True` leaves the asking node out while another one can take the work."""

        spare_local: bool = attrs.field(default=False, validator=attrs.validators.instance_of(bool))

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        try:
            self._spare_local = self.Options(**(options or {})).spare_local
        except TypeError as error:
            raise ConfigError(f"scheduler {self.name!r}: {error}") from error

    def choose(self, demand: Demand, view: ClusterView, nodes: list[NodeView]) -> NodeView:
        candidates = nodes
        if self._spare_local:
            candidates = [node for node in nodes if node.node_id != view.local] or nodes
        candidates = sorted(candidates, key=lambda node: node.node_id)
        return candidates[demand.turn % len(candidates)]
