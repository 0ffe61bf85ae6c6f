"""The lease book of one node: who may use which resources, who waits, and in what order.

A *want* is a standing wish of one holder (a client for a scheduling class, or an actor) for a number of leases; it is
a level and not an event, so saying it twice changes nothing. Deeper wants go first: a task that waits for its child
must not be starved by more of its own kind. Among equals the first to ask is served first. That is the order inside one
job; which job is next, and what its quota allows, `shares` says. Where the scheduler chooses another node the book
yields a `Forward`: that node is asked, and `answered` tells what it said.

A *claim* stands for a want that is kept elsewhere (at another node, or at the head) and could be met here. It is no
wish of the book's, but what it could take now is not given to a job that is served after its own.

Resources live in pools: the node's own, and one per reserved bundle of a placement group. A lease of a worker that
blocks gives its CPUs back until it goes on; the pool may then go below zero for a while.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import TypeGuard

import attrs

from shoal.ids import NodeID
from shoal.machines.devices import DevicePool
from shoal.machines.pools import Pool
from shoal.machines.shares import Rank, Shares
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
    job: bytes = b""
    outstanding: int = 0  # leases that other nodes were asked for
    reason: str = ""  # why it was not met at the last try
    infeasible: bool = False
    waiting_since: float = 0.0  # a shell's clock, when it first saw it wait; 0.0: not yet


@attrs.frozen
class Forward:
    """Another node is to grant a lease."""

    node_id: NodeID


@attrs.frozen
class Claim:
    """A want that is kept elsewhere, as far as this node matters to it."""

    job: bytes
    resources: ResourceSet


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
    job: bytes = b""
    blocked: bool = False

    @property
    def held(self) -> ResourceSet:
        """What it takes from its pool now: no CPUs while its worker waits."""
        return _without_cpu(self.resources) if self.blocked else self.resources


class LeaseBook:
    """Grants leases on one node. `place` asks the scheduler plugin about the node's own pool."""

    def __init__(
        self,
        total: ResourceSet,
        devices: Mapping[str, list[str]],
        place: Callable[[Demand, ResourceSet, bytes], Decision],
        node_id: NodeID | None = None,
        first_lease: int = 1,
        shares: Shares | None = None,
    ) -> None:
        """`place` decides; what it places on `node_id` (None: anywhere) is granted here. Leases count from one.

        `shares` are the accounts of jobs; None: new ones, which know priorities and the order of arrival.
        """
        self.shares = Shares() if shares is None else shares
        self._place = place
        self._node_id = node_id
        self._pools: dict[PoolKey, Pool] = {None: Pool(total, devices)}
        self._group_devices: dict[tuple[bytes, int], dict[str, dict[str, int]]] = {}
        self._group_jobs: dict[bytes, bytes] = {}  # group → job
        self._claims: dict[object, Claim] = {}
        self._wants: dict[tuple[Holder, bytes], Want] = {}
        self._leases: dict[int, Lease] = {}
        self._numbers = itertools.count(1)
        self._lease_ids = itertools.count(first_lease)

    # Events

    def want(
        self, holder: Holder, class_key: bytes, demand: Demand, count: int, depth: int, job: bytes = b""
    ) -> None:
        """Say how many more leases a holder wants; 0 withdraws. `job` pays for them."""
        key = (holder, class_key)
        if count <= 0:
            self._drop(key)
            return
        known = self._wants.get(key)
        if known is None:
            self._wants[key] = Want(holder, class_key, demand, count, depth, next(self._numbers), job)
            self.shares.standing(job, 1)
        else:
            self.shares.borrowed(job, known.demand.resources, -known.outstanding)
            self.shares.borrowed(job, demand.resources, known.outstanding)
            known.demand = demand
            known.count = max(0, count - known.outstanding)
            known.depth = depth

    def answered(self, holder: Holder, class_key: bytes, granted: bool, reason: str = "") -> None:
        """Another node that was asked for a lease has granted or refused it."""
        want = self._wants.get((holder, class_key))
        if want is None or not want.outstanding:
            return
        want.outstanding -= 1
        self.shares.borrowed(want.job, want.demand.resources, -1)
        if not granted:
            want.count += 1
            want.reason = reason
        self._drop_met(want)

    def _drop_met(self, want: Want) -> None:
        if not want.count and not want.outstanding:
            self._drop((want.holder, want.class_key))

    def _drop(self, key: tuple[Holder, bytes]) -> None:
        want = self._wants.pop(key, None)
        if want is not None:
            self.shares.borrowed(want.job, want.demand.resources, -want.outstanding)
            self.shares.standing(want.job, -1)

    def claim(self, name: object, job: bytes, resources: ResourceSet) -> None:
        """Say that `resources` are wanted here by a job whose want is kept elsewhere; again replaces what was said."""
        self.unclaim(name)
        self._claims[name] = Claim(job, resources)
        self.shares.standing(job, 1)

    def unclaim(self, name: object) -> None:
        """Withdraw a claim; unknown ones are ignored."""
        claim = self._claims.pop(name, None)
        if claim is not None:
            self.shares.standing(claim.job, -1)

    def give_back(self, lease_id: int) -> Lease | None:
        """End a lease; unknown ones are ignored (they ended already)."""
        lease = self._leases.pop(lease_id, None)
        if lease is not None:
            pool = self._pools.get(lease.pool)
            if pool is not None:
                pool.give_back(lease.held, lease.devices)
            if lease.pool is None:
                self.shares.give_back(lease.job, lease.held)
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
        if lease.pool is None:
            self.shares.take(lease.job, lease.held)
            self.shares.give_back(lease.job, before)

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
        if lease.pool is None:
            (self.shares.give_back if blocked else self.shares.take)(lease.job, cpus)

    def forget_holder(self, holder: Holder) -> list[Lease]:
        """Withdraw a holder's wants and end its leases; return those."""
        for key in [key for key in self._wants if key[0] == holder]:
            self._drop(key)
        mine = [lease for lease in self._leases.values() if lease.holder == holder]
        for lease in mine:
            self.give_back(lease.lease_id)
        return mine

    # Placement groups

    def reserve(self, group: bytes, bundles: Mapping[int, ResourceSet], job: bytes = b"") -> bool:
        """Reserve all bundles of a group from the node's own pool, or none; `job` has them while they are reserved.

        A bundle that is reserved here already, by an attempt that is to be released still, is refused.
        """
        if any((group, index) in self._pools for index in bundles):
            return False
        node = self._pools[None]
        needed = ResourceSet()
        for resources in bundles.values():
            needed = needed + resources
        if not node.available.covers(needed) or self.shares.lacks(job, needed):
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
        self._group_jobs[group] = job
        self.shares.take(job, needed)
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
            self.shares.give_back(self._group_jobs[group], pool.total)
        if not any(key is not None and key[0] == group for key in self._pools):
            self._group_jobs.pop(group, None)
        return over

    # Effects

    def grant(self) -> Iterator[tuple[Want, Lease | Forward]]:
        """Grant what can be granted now, yielding each grant; afterwards every unmet want has its `reason`.

        The job that is to be served first gets one lease, then it is looked again who that is. What it cannot have
        goes to the next: nothing that somebody can use stays free, claims aside.
        """
        if not self._wants:
            return
        failed: dict[bytes, Want] = {}
        lines: dict[bytes, deque[Want]] = {}
        for want in self.wants:
            lines.setdefault(want.job, deque()).append(want)
        shares = self.shares
        if len(lines) == 1:  # which needs no rank
            order: list[tuple[Rank, float, int, bytes]] = [((), 0.0, 0, next(iter(lines)))]
        else:
            order = [(shares.rank(job), shares.turn(job), line[0].number, job) for job, line in lines.items()]
            heapq.heapify(order)
        while order:
            job = order[0][-1]
            line = lines[job]
            while line:
                want = line[0]
                found = self._next_of(want, failed)
                if found is not None:
                    shares.served(job)
                    yield want, found
                    break
                line.popleft()
            if not line:
                heapq.heappop(order)
            elif len(order) > 1:
                heapq.heapreplace(order, (shares.rank(job), shares.turn(job), line[0].number, job))

    def _next_of(self, want: Want, failed: dict[bytes, Want]) -> Lease | Forward | None:
        """Grant one of a want's leases; None: no more of it can be met now."""
        if want.count <= 0 or self._wants.get((want.holder, want.class_key)) is not want:
            return None
        same = failed.get(want.class_key)
        if same is not None:
            want.reason, want.infeasible = same.reason, same.infeasible
            return None
        found = self._try(want)
        if found is None:
            failed[want.class_key] = want
            return None
        want.waiting_since = 0.0
        if isinstance(found, Forward):
            self.forward(want)
        else:
            want.count -= 1
            self._drop_met(want)
        return found

    def forward(self, want: Want) -> None:
        """Another node is asked for one of the leases; see `answered`."""
        want.count -= 1
        want.outstanding += 1
        self.shares.borrowed(want.job, want.demand.resources, 1)

    def grant_here(
        self, holder: Holder, class_key: bytes, demand: Demand, depth: int, job: bytes = b""
    ) -> Lease | str:
        """Grant one lease to a holder of another node from what is free here, or say why not. Nothing waits."""
        want = Want(holder, class_key, demand, 1, depth, 0, job)
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
        job = want.job
        if keys == [None] and not self._may_take(want):
            return None
        for key in keys:
            devices = self._pools[key].take(resources)
            if devices is not None:
                lease = Lease(
                    next(self._lease_ids),
                    want.holder,
                    want.class_key,
                    key,
                    resources,
                    devices,
                    want.depth,
                    job,
                )
                self._leases[lease.lease_id] = lease
                if key is None:
                    self.shares.take(job, resources)
                return lease
        if keys:
            self._blame_devices(want, keys[0])
        return None

    def _may_take(self, want: Want) -> bool:
        """Tell whether the quota, and who is served first, allow a lease of the node's own; else say why not."""
        resources, job = want.demand.resources, want.job
        free = self._pools[None].available
        mine: Rank | None = None
        for claim in self._claims.values():
            wanted = claim.resources
            if claim.job == job or not free.covers(wanted) or (free - resources).covers(wanted):
                continue
            mine = self.shares.rank(job) if mine is None else mine
            if self.shares.rank(claim.job) < mine:
                want.reason = (
                    f"job {self.shares.spec(claim.job).shown}, which waits elsewhere, is served first"
                )
                return False
        if self.shares.lacks(job, resources, self._times(want)):
            want.reason = self.shares.spec(job).at_quota()
            return False
        return True

    def _times(self, want: Want) -> int:
        """Return how often a want's demand fits into what is free, as far as it is wanted."""
        free = self._pools[None].available.units
        asked = want.demand.resources.units
        return max(1, min([want.count, *(free.get(name, 0) // units for name, units in asked.items())]))

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

    @property
    def claims(self) -> Mapping[object, Claim]:
        """Claims by name."""
        return self._claims

    def to_give_back(
        self, is_task: Callable[[Holder], bool], borrowed: Iterable[tuple[Holder, bytes, bytes]] = ()
    ) -> set[Holder]:
        """Return the holders of leases that others should have: they are to give them back when their call is done.

        `is_task` tells holders that can do so from those that cannot (actors); `borrowed` are (holder, class, job) of
        leases of other nodes that are in use here. A lease should go to another want of
        its own job, which all take turns, or to a job that is served first even when it has it. While another node
        lacks some of a job's quota, all of that job's leases should be given back.
        """
        waiting: dict[bytes, set[tuple[Holder, bytes]]] = {}
        asked: dict[bytes, dict[ResourceSet, None]] = {}
        for want in self._wants.values():
            if want.count and not want.infeasible:
                waiting.setdefault(want.job, set()).add((want.holder, want.class_key))
                asked.setdefault(want.job, {})[want.demand.resources] = None
        for claim in self._claims.values():
            asked.setdefault(claim.job, {})[claim.resources] = None
        found: set[Holder] = set()
        yields: dict[bytes, bool] = {}  # job → whether some other job should have what it has
        if not asked and not any(self.shares.is_tight(job) for job in self.shares.jobs):
            return found
        here = ((lease.holder, lease.class_key, lease.job) for lease in self._leases.values())
        for holder, class_key, job in itertools.chain(here, borrowed):
            if holder in found or not is_task(holder):
                continue
            mine = waiting.get(job, ())
            if len(mine) > 1 or (mine and (holder, class_key) not in mine):
                found.add(holder)
                continue
            if job not in yields:
                yields[job] = self.shares.is_tight(job) or any(
                    self.shares.goes_before(other, demand, job)
                    for other, demands in asked.items()
                    if other != job
                    for demand in demands
                )
            if yields[job]:
                found.add(holder)
        return found

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
        of_jobs: dict[bytes, ResourceSet] = {}
        for lease in self._leases.values():
            if lease.pool is None:
                of_jobs[lease.job] = of_jobs.get(lease.job, ResourceSet()) + lease.held
        for key, pool in self._pools.items():
            if key is not None:
                job = self._group_jobs[key[0]]
                of_jobs[job] = of_jobs.get(job, ResourceSet()) + pool.total
        for job in {*of_jobs, *self.shares.jobs}:
            assert of_jobs.get(job, ResourceSet()).units == self.shares.used(job), job


def _without_cpu(resources: ResourceSet) -> ResourceSet:
    return ResourceSet({name: units for name, units in resources.units.items() if name != "CPU"})
