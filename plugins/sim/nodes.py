"""The virtual nodes that a program runs on: what each has, what is held of it, and which of them live."""

from __future__ import annotations

import os
from typing import Any

import attrs

from shoal.config import Config
from shoal.ids import NodeID
from shoal.inline.node import Group, GroupGone, Holding, VirtualNode
from shoal.interfaces.scheduler import Scheduler
from shoal.spec.live import LiveView
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import PlacementGroupStrategy
from shoal.spec.view import (
    ClusterView,
    Decision,
    Demand,
    GroupPlacement,
    Infeasible,
    NodeView,
    Placement,
    Wait,
)


@attrs.frozen
class NodeHolding(Holding):
    """What something holds, and on which node. `life` is the node's: what a dead node had is gone."""

    node_id: NodeID = attrs.field(kw_only=True)
    life: int = attrs.field(kw_only=True)


@attrs.define(eq=False)
class SpreadGroup(Group):
    """A placement group over several nodes. `nodes[i]` has bundle i; None while it waits to be placed again."""

    nodes: list[NodeID | None] = attrs.field(factory=list)


class VirtualCluster(VirtualNode):
    """Accounts for all nodes. The driver lives on the first, which no fault kills."""

    def __init__(
        self, config: Config, scheduler: Scheduler, seed: int, count: int, cpus: float | None
    ) -> None:
        super().__init__(attrs.evolve(config, num_cpus=cpus) if cpus is not None else config, scheduler)
        start = seed % 2**32
        self.ids: list[NodeID] = [
            NodeID(start.to_bytes(4, "big") + number.to_bytes(4, "big")) for number in range(count)
        ]
        self.id = self.ids[0]
        self.lives: dict[NodeID, int] = dict.fromkeys(self.ids, 1)
        self.live: LiveView = LiveView(map(self._fresh, self.ids), local=self.id)

    def _fresh(self, node_id: NodeID) -> NodeView:
        return NodeView(
            node_id=node_id,
            total=self.total,
            available=self.total,
            labels=self.labels,
            address=f"sim-{self.number(node_id)}",
        )

    def number(self, node_id: NodeID) -> int:
        """Return which node this is, from 0."""
        return int.from_bytes(node_id[4:], "big")

    def view(self) -> ClusterView:
        return self.live.snapshot()

    def is_alive(self, node_id: NodeID) -> bool:
        """Tell whether a node lives."""
        return self.live.nodes[node_id].alive

    def decide(self, demand: Demand) -> tuple[Decision, Holding]:
        strategy = demand.strategy
        if not isinstance(strategy, PlacementGroupStrategy):
            decision = self._scheduler.place(demand, self.live)
            if not isinstance(decision, Placement):
                return decision, Holding(demand.resources)
            return decision, self._holding(demand.resources, decision.node_id)
        group = self.groups.get(bytes(strategy.group_id))
        if group is None or group.state == "REMOVED":
            raise GroupGone
        assert isinstance(group, SpreadGroup)
        bundles = group.spec.bundles
        wanted = range(len(bundles)) if strategy.bundle_index == -1 else (strategy.bundle_index,)
        able = [
            index
            for index in wanted
            if index < len(bundles) and bundles[index].resources.covers(demand.resources)
        ]
        if not able:
            reason = f"no bundle of the placement group can hold {demand.resources}"
            return Infeasible(reason), Holding(demand.resources)
        if group.state == "PENDING":
            return Wait("its placement group is not reserved yet"), Holding(demand.resources)
        for index in able:
            node_id = group.nodes[index]
            if node_id is not None and group.free[index].covers(demand.resources):
                return Placement(node_id), self._holding(demand.resources, node_id, group, index)
        return Wait("what its bundle has is in use"), Holding(demand.resources)

    def _holding(
        self, resources: ResourceSet, node_id: NodeID, group: Group | None = None, bundle: int = -1
    ) -> NodeHolding:
        return NodeHolding(resources, group, bundle, node_id=node_id, life=self.lives[node_id])

    def _change(self, node_id: NodeID, available: ResourceSet) -> None:
        node = self.live.nodes[node_id]
        self.live.put(attrs.evolve(node, available=available))

    def take(self, holding: Holding) -> None:
        assert isinstance(holding, NodeHolding)
        if self.lives[holding.node_id] != holding.life:
            return
        if holding.group is None:
            self._change(holding.node_id, self.live.nodes[holding.node_id].available - holding.resources)
        else:
            super().take(holding)

    def give_back(self, holding: Holding) -> None:
        assert isinstance(holding, NodeHolding)
        if self.lives[holding.node_id] != holding.life:
            return  # the node began anew with all that it has
        if holding.group is None:
            self._change(holding.node_id, self.live.nodes[holding.node_id].available + holding.resources)
        else:
            super().give_back(holding)

    # Groups

    def add_group(self, spec: Any, ready: Any) -> Group:
        super().add_group(spec, ready)
        group = self.groups[bytes(spec.group_id)] = SpreadGroup(spec, ready)
        return group

    def try_reserve(self, group: Group) -> bool:
        assert isinstance(group, SpreadGroup)
        decision = self._scheduler.place_group(group.spec, self.live)
        if not isinstance(decision, GroupPlacement):
            group.reason = decision.reason
            return False
        group.free = [bundle.resources for bundle in group.spec.bundles]
        group.nodes = list(decision.nodes)
        for bundle, node_id in zip(group.spec.bundles, decision.nodes, strict=True):
            self._change(node_id, self.live.nodes[node_id].available - bundle.resources)
        group.state = "CREATED"
        return True

    def mend(self, group: SpreadGroup) -> bool:
        """Place the bundles again that died with their nodes; tell whether the group is whole."""
        for index, bundle in enumerate(group.spec.bundles):
            if group.nodes[index] is None:
                demand = Demand(resources=bundle.resources, label_selector=bundle.label_selector)
                decision = self._scheduler.place(demand, self.live)
                if isinstance(decision, Placement):
                    group.nodes[index], group.free[index] = decision.node_id, bundle.resources
                    self._change(
                        decision.node_id, self.live.nodes[decision.node_id].available - bundle.resources
                    )
        if all(node is not None for node in group.nodes):
            group.state = "CREATED"
        return group.state == "CREATED"

    def remove_group(self, group_id: bytes) -> Group | None:
        group = self.groups.get(bytes(group_id))
        if group is None or group.state == "REMOVED":
            return None
        assert isinstance(group, SpreadGroup)
        for bundle, node_id in zip(group.spec.bundles, group.nodes, strict=False):
            if node_id is not None:
                self._change(node_id, self.live.nodes[node_id].available + bundle.resources)
        group.state, group.nodes = "REMOVED", []
        return group

    def describe_groups(self) -> list[dict[str, Any]]:
        described = super().describe_groups()
        for row, group in zip(described, self.groups.values(), strict=True):
            assert isinstance(group, SpreadGroup)
            row["bundle_nodes"] = {
                index: node_id.hex() for index, node_id in enumerate(group.nodes) if node_id is not None
            }
        return described

    # Life and death

    def kill(self, node_id: NodeID) -> list[SpreadGroup]:
        """Let a node die; return the groups that lost a bundle."""
        self.lives[node_id] += 1
        self.live.put(attrs.evolve(self.live.nodes[node_id], alive=False, available=self.total))
        hurt = []
        for group in self.groups.values():
            if isinstance(group, SpreadGroup) and node_id in group.nodes:
                group.nodes = [None if each == node_id else each for each in group.nodes]
                group.state = "RESCHEDULING"
                hurt.append(group)
        return hurt

    def revive(self, node_id: NodeID) -> None:
        """Let a dead node begin anew, with nothing on it."""
        self.live.put(self._fresh(node_id))


def process_of(config: Config) -> str:
    """Return the name of this session."""
    return f"sim-{os.getpid()}-{config.engine_options.get('seed', 0)}"
