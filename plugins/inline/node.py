"""The one virtual node: what it has, what actors and placement groups hold of it, and who fits."""

from __future__ import annotations

import os
from typing import Any

import attrs

from shoal.config import Config
from shoal.errors import ConfigError
from shoal.ids import NodeID, PlacementGroupID
from shoal.interfaces.scheduler import Scheduler
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import PlacementGroupStrategy
from shoal.spec.view import (
    ClusterView,
    Decision,
    Demand,
    GroupPlacement,
    GroupSpec,
    Infeasible,
    NodeView,
    Placement,
    Wait,
)


@attrs.define(eq=False)
class Group:
    """A placement group and what its bundles have left."""

    spec: GroupSpec
    ready: Any  # Result
    state: str = "PENDING"
    free: list[ResourceSet] = attrs.field(factory=list)
    reason: str = ""


@attrs.frozen
class Holding:
    """What something that lives holds: from a bundle, or (group None) from the node."""

    resources: ResourceSet
    group: Group | None = None
    bundle: int = -1


class GroupGone(Exception):
    """The demand names a group that was removed or never was."""


class VirtualNode:
    """Accounts for one node. Its methods are called under the engine's lock."""

    def __init__(self, config: Config, scheduler: Scheduler) -> None:
        self.id: NodeID = NodeID.from_random()
        self.total: ResourceSet = _resources_of(config)
        self.available: ResourceSet = self.total
        self.labels: dict[str, str] = dict(config.labels)
        self.groups: dict[bytes, Group] = {}
        self._scheduler = scheduler
        self._version = 0

    def view(self) -> ClusterView:
        """Return the cluster: this node."""
        node = NodeView(
            node_id=self.id,
            total=self.total,
            available=self.available,
            labels=self.labels,
            address="127.0.0.1",
        )
        return ClusterView(nodes={self.id: node}, local=self.id, version=self._version)

    def decide(self, demand: Demand) -> tuple[Decision, Holding]:
        """Answer whether the demand fits now, and what it would hold. Raises GroupGone."""
        strategy = demand.strategy
        if not isinstance(strategy, PlacementGroupStrategy):
            return self._scheduler.place(demand, self.view()), Holding(demand.resources)
        group = self.groups.get(bytes(strategy.group_id))
        if group is None or group.state == "REMOVED":
            raise GroupGone
        bundles = group.spec.bundles
        wanted = range(len(bundles)) if strategy.bundle_index == -1 else (strategy.bundle_index,)
        if not any(
            bundles[index].resources.covers(demand.resources) for index in wanted if index < len(bundles)
        ):
            return Infeasible(f"no bundle of the placement group can hold {demand.resources}"), Holding(
                demand.resources
            )
        if group.state == "PENDING":
            return Wait("its placement group is not reserved yet"), Holding(demand.resources)
        for index in wanted:
            if group.free[index].covers(demand.resources):
                return Placement(self.id), Holding(demand.resources, group, index)
        return Wait("what its bundle has is in use"), Holding(demand.resources)

    def take(self, holding: Holding) -> None:
        """Let something hold what `decide` said."""
        self._version += 1
        if holding.group is None:
            self.available = self.available - holding.resources
        else:
            holding.group.free[holding.bundle] = holding.group.free[holding.bundle] - holding.resources

    def give_back(self, holding: Holding) -> None:
        """Undo take()."""
        self._version += 1
        if holding.group is None:
            self.available = self.available + holding.resources
        elif holding.group.state != "REMOVED":
            holding.group.free[holding.bundle] = holding.group.free[holding.bundle] + holding.resources

    def add_group(self, spec: GroupSpec, ready: Any) -> Group:
        """Remember a group. Raises ConfigError for a name in use."""
        for other in self.groups.values():
            same = (other.spec.name, other.spec.namespace) == (spec.name, spec.namespace)
            if spec.name and same and other.state != "REMOVED":
                raise ConfigError(
                    f"a placement group is named {spec.name!r} in namespace {spec.namespace!r} already"
                )
        group = self.groups[bytes(spec.group_id)] = Group(spec, ready)
        return group

    def try_reserve(self, group: Group) -> bool:
        """Reserve all bundles of a pending group if they fit."""
        decision = self._scheduler.place_group(group.spec, self.view())
        if not isinstance(decision, GroupPlacement):
            group.reason = decision.reason
            return False
        group.free = [bundle.resources for bundle in group.spec.bundles]
        for bundle in group.free:
            self.available = self.available - bundle
        group.state = "CREATED"
        self._version += 1
        return True

    def remove_group(self, group_id: bytes) -> Group | None:
        """Give the bundles back; return the group, or None if there was nothing to remove."""
        group = self.groups.get(bytes(group_id))
        if group is None or group.state == "REMOVED":
            return None
        if group.state == "CREATED":
            for bundle in group.spec.bundles:
                self.available = self.available + bundle.resources
        group.state = "REMOVED"
        self._version += 1
        return group

    def describe_groups(self) -> list[dict[str, Any]]:
        """Return the groups as plain records."""
        return [
            {
                "group_id": PlacementGroupID(group_id),
                "name": group.spec.name,
                "namespace": group.spec.namespace,
                "strategy": group.spec.strategy,
                "state": group.state,
                "bundles": {bundle.index: bundle.resources.to_floats() for bundle in group.spec.bundles},
                "bundle_nodes": {
                    bundle.index: self.id.hex() for bundle in group.spec.bundles if group.state == "CREATED"
                },
            }
            for group_id, group in self.groups.items()
        ]


def _resources_of(config: Config) -> ResourceSet:
    cpus = float(len(os.sched_getaffinity(0))) if config.num_cpus is None else config.num_cpus
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    store = config.object_store_bytes or int(pages * 0.3)
    memory = config.memory_bytes or pages - min(store, pages)
    return ResourceSet.of(
        {
            **config.resources,
            "CPU": cpus,
            "GPU": config.num_gpus or 0,
            "memory": memory,
            "object_store_memory": store,
        }
    )
