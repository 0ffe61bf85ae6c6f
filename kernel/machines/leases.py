"""The lease book of one node: who may use which resources, who waits, and in what order.

A *want* is a standing wish of one holder (a client for a scheduling class, or an actor) for a number of leases; it is
a level and not an event, so saying it twice changes nothing. Deeper wants go first: a task that waits for its child
must not be starved by more of its own kind. Among equals the first to ask is served first. Where the scheduler chooses
another node the book yields a `Forward`: that node is asked, and `answered` tells what it said.

Resources live in pools: the node's own, and one per reserved bundle of a placement group. A lease of a worker that
blocks gives its CPUs back until it goes on; the pool may then go below zero for a while.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TypeGuard

import attrs

from shoal.ids import NodeID
from shoal.machines.devices import DevicePool
from shoal.spec.resources import UNIT, ResourceSet
from shoal.spec.strategy import PlacementGroupStrategy
from shoal.spec.view import Decision, Demand, Infeasible, Placement

Holder = bytes
PoolKey = None | tuple[bytes, int]  # None: the node's own; else (group, bundle)


@attrs.define(eq=False)
class Want:
    """A standing wish. `count` leases more are wanted."""

    holder: Holder
    class_key: bytes
    demand: Demand
    count: int
    depth: int
    number: int
    outstanding: int = 0  # leases that other nodes were asked for
    reason: str = ""  # why it was not met at the last try
    infeasible: bool = False


@attrs.frozen
class Forward:
    """Another node is to grant a lease."""

    node_id: NodeID


@attrs.define(eq=False)
class Lease:
    """Resources in use. `devices` maps a resource to {device: units}."""

    lease_id: int
    holder: Holder
    class_key: bytes
    pool: PoolKey
    resources: ResourceSet
    devices: dict[str, dict[str, int]]
    depth: int
    blocked: bool = False

    @property
    def held(self) -> ResourceSet:
        """What it takes from its pool now: no CPUs while its worker waits."""
        return _without_cpu(self.resources) if self.blocked else self.resources


class Pool:
    """A bag of resources with its devices."""

    __slots__ = ("available", "devices", "total")

    def __init__(self, total: ResourceSet, devices: Mapping[str, list[str]]) -> None:
        self.total = total
        self.available = total
        self.devices = {resource: DevicePool(ids) for resource, ids in devices.items()}

    def take(self, resources: ResourceSet) -> dict[str, dict[str, int]] | None:
        """Take resources and devices; None, with nothing taken, if the devices cannot be had."""
        taken: dict[str, dict[str, int]] = {}
        for resource, pool in self.devices.items():
            units = resources.units.get(resource, 0)
            if not units:
                continue
            some = pool.take(units)
            if some is None:
                for earlier, ids in taken.items():
                    self.devices[earlier].give_back(ids)
                return None
            taken[resource] = some
        self.available = self.available - resources
        return taken

    def give_back(self, resources: ResourceSet, devices: Mapping[str, Mapping[str, int]]) -> None:
        """Undo `take`."""
        self.available = self.available + resources
        for resource, ids in devices.items():
            self.devices[resource].give_back(ids)


class LeaseBook:
    """Grants leases on one node. `place` asks the scheduler plugin about the node's own pool."""

    def __init__(
        self,
        total: ResourceSet,
        devices: Mapping[str, list[str]],
        place: Callable[[Demand, ResourceSet, bytes], Decision],
        node_id: NodeID | None = None,
        first_lease: int = 1,
    ) -> None:
        """`place` decides; what it places on `node_id` (None: anywhere) is granted here. Leases count from one."""
        self._place = place
        self._node_id = node_id
        self._pools: dict[PoolKey, Pool] = {None: Pool(total, devices)}
        self._group_devices: dict[tuple[bytes, int], dict[str, dict[str, int]]] = {}
        self._wants: dict[tuple[Holder, bytes], Want] = {}
        self._leases: dict[int, Lease] = {}
        self._numbers = itertools.count(1)
        self._lease_ids = itertools.count(first_lease)

    # Events

    def want(self, holder: Holder, class_key: bytes, demand: Demand, count: int, depth: int) -> None:
        """Say how many more leases a holder wants; 0 withdraws."""
        key = (holder, class_key)
        if count <= 0:
            self._wants.pop(key, None)
            return
        known = self._wants.get(key)
        if known is None:
            self._wants[key] = Want(holder, class_key, demand, count, depth, next(self._numbers))
        else:
            known.demand = demand
            known.count = max(0, count - known.outstanding)
            known.depth = depth

    def answered(self, holder: Holder, class_key: bytes, granted: bool, reason: str = "") -> None:
        """Another node that was asked for a lease has granted or refused it."""
        want = self._wants.get((holder, class_key))
        if want is None or not want.outstanding:
            return
        want.outstanding -= 1
        if not granted:
            want.count += 1
            want.reason = reason
        self._drop_met(want)

    def _drop_met(self, want: Want) -> None:
        if not want.count and not want.outstanding:
            self._wants.pop((want.holder, want.class_key), None)

    def give_back(self, lease_id: int) -> Lease | None:
        """End a lease; unknown ones are ignored (they ended already)."""
        lease = self._leases.pop(lease_id, None)
        if lease is not None:
            pool = self._pools.get(lease.pool)
            if pool is not None:
                pool.give_back(lease.held, lease.devices)
        return lease

    def resize(self, lease_id: int, resources: ResourceSet) -> None:
        """Change what a lease holds, devices aside (an actor lives on less than it took to place it)."""
        lease = self._leases.get(lease_id)
        if lease is None:
            return
        pool = self._pools.get(lease.pool)
        before = lease.held
        lease.resources = resources
        if pool is not None:
            pool.available = pool.available + before - lease.held

    def block(self, lease_id: int, blocked: bool) -> None:
        """A leased worker begins to wait (its CPUs are free meanwhile) or goes on."""
        lease = self._leases.get(lease_id)
        if lease is None or lease.blocked == blocked:
            return
        lease.blocked = blocked
        pool = self._pools.get(lease.pool)
        cpus = ResourceSet({"CPU": lease.resources.units.get("CPU", 0)})
        if pool is not None:
            pool.available = pool.available + cpus if blocked else pool.available - cpus

    def forget_holder(self, holder: Holder) -> list[Lease]:
        """Withdraw a holder's wants and end its leases; return those."""
        for key in [key for key in self._wants if key[0] == holder]:
            del self._wants[key]
        mine = [lease for lease in self._leases.values() if lease.holder == holder]
        for lease in mine:
            self.give_back(lease.lease_id)
        return mine

    # Placement groups

    def reserve(self, group: bytes, bundles: Mapping[int, ResourceSet]) -> bool:
        """Reserve all bundles of a group from the node's own pool, or none.

        A bundle that is reserved here already, by an attempt that is to be released still, is refused.
        """
        if any((group, index) in self._pools for index in bundles):
            return False
        node = self._pools[None]
        needed = ResourceSet()
        for resources in bundles.values():
            needed = needed + resources
        if not node.available.covers(needed):
            return False
        done: list[tuple[int, dict[str, dict[str, int]]]] = []
        for index, resources in bundles.items():
            taken = node.take(resources)
            if taken is None:
                for other, devices in done:
                    node.give_back(bundles[other], devices)
                return False
            done.append((index, taken))
        for index, taken in done:
            pool = Pool(bundles[index], {})
            for resource, ids in taken.items():
                pool.devices[resource] = DevicePool.of_parts(ids)
            self._pools[group, index] = pool
            self._group_devices[group, index] = taken
        return True

    def release_group(self, group: bytes, bundles: Collection[int] | None = None) -> list[Lease]:
        """Give a group's bundles (None: all) back to the node; return the leases that were in them, which are over."""
        keys = [
            key
            for key in self._pools
            if key is not None and key[0] == group and (bundles is None or key[1] in bundles)
        ]
        over = [lease for lease in self._leases.values() if lease.pool in keys]
        for lease in over:
            self.give_back(lease.lease_id)
        node = self._pools[None]
        for key in keys:
            pool = self._pools.pop(key)
            assert key is not None
            node.give_back(pool.total, self._group_devices.pop(key))
        return over

    # Effects

    def grant(self) -> Iterator[tuple[Want, Lease | Forward]]:
        """Grant what can be granted now, yielding each grant; afterwards every unmet want has its `reason`."""
        if not self._wants:
            return
        failed: dict[bytes, Want] = {}
        for want in self.wants:
            key = (want.holder, want.class_key)
            while want.count > 0 and self._wants.get(key) is want:
                same = failed.get(want.class_key)
                if same is not None:
                    want.reason, want.infeasible = same.reason, same.infeasible
                    break
                found = self._try(want)
                if found is None:
                    failed[want.class_key] = want
                    break
                want.count -= 1
                if isinstance(found, Forward):
                    want.outstanding += 1
                self._drop_met(want)
                yield want, found

    def grant_here(self, holder: Holder, class_key: bytes, demand: Demand, depth: int) -> Lease | str:
        """Grant one lease to a holder of another node from what is free here, or say why not. Nothing waits."""
        want = Want(holder, class_key, demand, 1, depth, 0)
        if isinstance(demand.strategy, PlacementGroupStrategy):
            lease = self._take(want, self._bundles_for(demand.strategy, want))
        elif self._pools[None].available.covers(demand.resources):
            lease = self._take(want, [None])
        else:
            return f"needs {demand.resources!r}; that is not free there any more"
        return want.reason if lease is None else lease

    def _try(self, want: Want) -> Lease | Forward | None:
        strategy = want.demand.strategy
        want.infeasible = False
        if isinstance(strategy, PlacementGroupStrategy):
            keys = self._bundles_for(strategy, want)
            if keys:
                return self._take(want, keys)
            elsewhere = self._place(want.demand, self._pools[None].available, want.class_key)
            return Forward(elsewhere.node_id) if self._is_elsewhere(elsewhere) else None
        decision = self._place(want.demand, self._pools[None].available, want.class_key)
        if not isinstance(decision, Placement):
            want.reason = decision.reason
            want.infeasible = isinstance(decision, Infeasible)
            return None
        if self._is_elsewhere(decision):
            return Forward(decision.node_id)
        return self._take(want, [None])

    def _is_elsewhere(self, decision: Decision) -> TypeGuard[Placement]:
        return (
            isinstance(decision, Placement)
            and self._node_id is not None
            and decision.node_id != self._node_id
        )

    def _take(self, want: Want, keys: list[PoolKey]) -> Lease | None:
        resources = want.demand.resources
        for key in keys:
            devices = self._pools[key].take(resources)
            if devices is not None:
                lease = Lease(
                    next(self._lease_ids), want.holder, want.class_key, key, resources, devices, want.depth
                )
                self._leases[lease.lease_id] = lease
                return lease
        if keys:
            self._blame_devices(want, keys[0])
        return None

    def _blame_devices(self, want: Want, key: PoolKey) -> None:
        """The quantities are there, but on no choice of devices."""
        resources = want.demand.resources
        for name in self._pools[key].devices:
            units = resources.units.get(name, 0)
            if units > UNIT and units % UNIT:
                want.infeasible = True
                want.reason = f"needs {units / UNIT:g} of {name}: above 1, only whole devices can be had"
                return
        want.reason = f"needs whole devices or fractions that are not free together: {resources!r}"

    def _bundles_for(self, strategy: PlacementGroupStrategy, want: Want) -> list[PoolKey]:
        """Return the bundles with room; if there is none, the want's `reason` is why."""
        resources = want.demand.resources
        index = strategy.bundle_index
        keys = [
            key
            for key in self._pools
            if key is not None and key[0] == strategy.group_id and index in (-1, key[1])
        ]
        fitting: list[PoolKey] = [key for key in keys if self._pools[key].available.covers(resources)]
        if fitting:
            return fitting
        if not keys:
            want.reason = f"placement group {strategy.group_id.hex()} is not reserved yet"
        elif any(self._pools[key].total.covers(resources) for key in keys):
            want.reason = f"needs {resources!r}; its placement group's bundles are in use"
        else:
            want.infeasible = True
            want.reason = (
                f"needs {resources!r}; the bundles of its placement group hold "
                f"{[self._pools[key].total for key in keys]!r}"
            )
        return []

    # Views

    @property
    def total(self) -> ResourceSet:
        """What the node has."""
        return self._pools[None].total

    @property
    def available(self) -> ResourceSet:
        """What is free on the node, reserved bundles excluded. May be below zero for a while."""
        return self._pools[None].available

    def available_in_groups(self) -> ResourceSet:
        """What is free, free parts of reserved bundles included."""
        total = ResourceSet()
        for pool in self._pools.values():
            total = total + pool.available
        return total

    @property
    def wants(self) -> list[Want]:
        """Unmet wants, in the order they will be served."""
        return sorted(
            (want for want in self._wants.values() if want.count), key=lambda want: (-want.depth, want.number)
        )

    @property
    def leases(self) -> Mapping[int, Lease]:
        """Leases by number."""
        return self._leases

    def validate(self) -> None:
        """Raise AssertionError if the books do not balance."""
        for key, pool in self._pools.items():
            used = ResourceSet()
            for lease in self._leases.values():
                if lease.pool == key:
                    used = used + lease.held
            if key is None:
                for other, reserved in self._pools.items():
                    if other is not None:
                        used = used + reserved.total
            assert pool.available + used == pool.total, (key, pool.available, used, pool.total)
            for devices in pool.devices.values():
                assert all(0 <= units <= UNIT for units in devices.free_units().values())


def _without_cpu(resources: ResourceSet) -> ResourceSet:
    return ResourceSet({name: units for name, units in resources.units.items() if name != "CPU"})
