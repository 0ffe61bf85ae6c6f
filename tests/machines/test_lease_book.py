"""LeaseBook: whatever comes in whatever order, the books balance and nothing is promised twice."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shoal.ids import NodeID, PlacementGroupID
from shoal.machines.leases import Lease, LeaseBook, Want
from shoal.spec.resources import UNIT, ResourceSet
from shoal.spec.strategy import DefaultStrategy, PlacementGroupStrategy
from shoal.spec.view import Decision, Demand, Infeasible, Placement, Wait

NODE = NodeID(b"thisnode")
TOTAL = ResourceSet.of(CPU=4, GPU=2, memory=100)
DEVICES = {"GPU": ["0", "1"]}
HOLDERS = [b"client-a", b"client-b", b"an actor's id...."]
GROUPS = [PlacementGroupID(bytes([number]) * 16) for number in (1, 2)]
DEMANDS = {
    b"one": ResourceSet.of(CPU=1),
    b"half": ResourceSet.of(CPU=0.5, memory=10),
    b"all": ResourceSet.of(CPU=4),
    b"gpu": ResourceSet.of(CPU=1, GPU=1),
    b"third": ResourceSet.of(GPU=0.3),
    b"pair": ResourceSet.of(GPU=2),
    b"nothing": ResourceSet(),
    b"never": ResourceSet.of(CPU=5),
}


def first_fit(demand: Demand, available: ResourceSet, class_key: bytes = b"") -> Decision:
    """The simplest scheduler of one node."""
    if available.covers(demand.resources):
        return Placement(NODE)
    if TOTAL.covers(demand.resources):
        return Wait(f"short of {available.shortfall(demand.resources)!r}")
    return Infeasible(f"short of {TOTAL.shortfall(demand.resources)!r} for ever")


def book(total: ResourceSet = TOTAL) -> LeaseBook:
    return LeaseBook(total, DEVICES, first_fit)


def demand(name: bytes, group: PlacementGroupID | None = None, index: int = -1) -> Demand:
    strategy = (
        DefaultStrategy() if group is None else PlacementGroupStrategy(group_id=group, bundle_index=index)
    )
    return Demand(resources=DEMANDS[name], strategy=strategy)


def grant(leases: LeaseBook) -> list[tuple[Want, Lease]]:
    granted = []
    for want, found in leases.grant():
        assert isinstance(found, Lease), "this book knows one node"
        granted.append((want, found))
    return granted


class Leases(RuleBasedStateMachine):
    """The model: what each lease uses and holds, written down where it is granted, changed and given back."""

    @initialize()
    def start(self) -> None:
        self.book = book()
        self.groups: dict[bytes, dict[int, ResourceSet]] = {}
        self.wanted: dict[tuple[bytes, bytes], int] = {}
        self.asked: dict[tuple[bytes, bytes], int] = {}  # when, for the order
        self.depths: dict[tuple[bytes, bytes], int] = {}
        self.clock = 0
        self.leases: dict[int, Lease] = {}
        self.overcommitted = False  # only a worker that goes on after a wait may do that

    def key_of(self, name: bytes, group: int | None, index: int) -> bytes:
        return name + b"" if group is None else name + bytes([group, index + 1])

    @rule(
        holder=st.sampled_from(HOLDERS),
        name=st.sampled_from(sorted(DEMANDS)),
        group=st.sampled_from([None, None, 0, 1]),
        index=st.integers(-1, 1),
        count=st.integers(0, 3),
        depth=st.integers(0, 2),
    )
    def want(self, holder: bytes, name: bytes, group: int | None, index: int, count: int, depth: int) -> None:
        key = self.key_of(name, group, index)
        asked = demand(name, None if group is None else GROUPS[group], index)
        self.book.want(holder, key, asked, count, depth)
        pair = (holder, key)
        if count:
            if pair not in self.wanted:
                self.clock += 1
                self.asked[pair] = self.clock
            self.wanted[pair] = count
            self.depths[pair] = depth
        else:
            self.wanted.pop(pair, None)

    @rule()
    def grant(self) -> None:
        order: list[tuple[int, int, bytes]] = []
        for want, lease in self.book.grant():
            pair = (want.holder, want.class_key)
            assert self.wanted[pair] > 0, "granted more than was wanted"
            self.wanted[pair] -= 1
            if not self.wanted[pair]:
                del self.wanted[pair]
            order.append((-self.depths[pair], self.asked[pair], want.class_key))
            for resource, parts in lease.devices.items():
                assert sum(parts.values()) == lease.resources.units[resource], "devices fit the quantity"
            assert lease.resources == want.demand.resources
            self.leases[lease.lease_id] = lease
            if not self.overcommitted:
                assert all(units >= 0 for units in self.book.available.units.values()), "overcommitted"
        assert order == sorted(order, key=lambda one: one[:2]), "deeper first, then who asked first"
        assert {(w.holder, w.class_key): w.count for w in self.book.wants} == self.wanted
        for want in self.book.wants:
            assert want.reason, "an unmet want says why"
            if want.class_key == b"never":
                assert want.infeasible
        assert grant(self.book) == [], "all that could be granted was"

    def some(self, number: int) -> int | None:
        living = sorted(self.leases)
        return living[number % len(living)] if living else None

    @rule(number=st.integers(0, 20))
    def give_back(self, number: int) -> None:
        lease_id = self.some(number)
        if lease_id is not None:
            assert self.book.give_back(lease_id) is self.leases.pop(lease_id)
            assert self.book.give_back(lease_id) is None, "a second time changes nothing"

    @rule(number=st.integers(0, 20), blocked=st.booleans())
    def block(self, number: int, blocked: bool) -> None:
        lease_id = self.some(number)
        if lease_id is not None:
            self.overcommitted = True
            self.book.block(lease_id, blocked)
            assert self.leases[lease_id].blocked is blocked

    @rule(number=st.integers(0, 20))
    def live_on_less(self, number: int) -> None:
        lease_id = self.some(number)
        if lease_id is not None:
            less = {n: u for n, u in self.leases[lease_id].resources.units.items() if n != "CPU"}
            self.book.resize(lease_id, ResourceSet(less))

    @rule(holder=st.sampled_from(HOLDERS))
    def forget_holder(self, holder: bytes) -> None:
        over = self.book.forget_holder(holder)
        assert {lease.lease_id for lease in over} == {
            i for i, one in self.leases.items() if one.holder == holder
        }
        for lease in over:
            del self.leases[lease.lease_id]
        self.wanted = {pair: count for pair, count in self.wanted.items() if pair[0] != holder}

    @rule(
        group=st.integers(0, 1),
        names=st.lists(st.sampled_from([b"one", b"half", b"gpu", b"third", b"pair"]), min_size=1, max_size=2),
    )
    def reserve(self, group: int, names: list[bytes]) -> None:
        group_id = GROUPS[group]
        if group_id in self.groups:
            return
        bundles = {index: DEMANDS[name] for index, name in enumerate(names)}
        before = (self.book.available, self.book.available_in_groups())
        needed = ResourceSet()
        for resources in bundles.values():
            needed = needed + resources
        if self.book.reserve(group_id, bundles):
            assert before[0].covers(needed)
            self.groups[group_id] = bundles
            assert self.book.available_in_groups() == before[1], "reserving uses nothing"
        else:
            assert (self.book.available, self.book.available_in_groups()) == before, "all bundles or none"

    @rule(group=st.integers(0, 1))
    def release_group(self, group: int) -> None:
        group_id = GROUPS[group]
        over = self.book.release_group(group_id)
        inside = {i for i, one in self.leases.items() if one.pool is not None and one.pool[0] == group_id}
        assert {lease.lease_id for lease in over} == inside
        for lease_id in inside:
            del self.leases[lease_id]
        self.groups.pop(group_id, None)

    @invariant()
    def the_books_balance(self) -> None:
        self.book.validate()
        assert dict(self.book.leases) == self.leases
        used = ResourceSet()
        for lease in self.leases.values():
            held = {n: u for n, u in lease.resources.units.items() if n != "CPU" or not lease.blocked}
            used = used + ResourceSet(held)
        assert self.book.available_in_groups() + used == TOTAL
        held_devices: dict[str, int] = {}
        for lease in self.leases.values():
            for device, units in lease.devices.get("GPU", {}).items():
                held_devices[device] = held_devices.get(device, 0) + units
        assert all(units <= UNIT for units in held_devices.values()), "a device was given twice"

    def teardown(self) -> None:
        if not hasattr(self, "book"):
            return
        for holder in HOLDERS:
            self.book.forget_holder(holder)
        for group in GROUPS:
            self.book.release_group(group)
        assert self.book.available == self.book.total == TOTAL, "all idle at the end"
        assert grant(self.book) == []


TestLeases = Leases.TestCase
TestLeases.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


def test_a_want_is_a_level_and_not_an_event() -> None:
    leases = book()
    for _ in range(3):
        leases.want(HOLDERS[0], b"one", demand(b"one"), 1, 0)
    assert len(grant(leases)) == 1
    assert leases.wants == []


def test_deeper_wants_go_first_and_equals_in_the_order_they_came() -> None:
    leases = book(ResourceSet.of(CPU=4))
    for number, depth in enumerate([0, 2, 1, 2]):
        leases.want(bytes([number]) * 8, b"one", demand(b"one"), 1, depth)
    assert [want.holder[0] for want, _ in grant(leases)] == [1, 3, 2, 0]


def test_saying_a_want_again_keeps_its_place() -> None:
    leases = book(ResourceSet.of(CPU=1))
    leases.want(HOLDERS[0], b"one", demand(b"one"), 1, 0)
    leases.want(HOLDERS[1], b"one", demand(b"one"), 1, 0)
    leases.want(HOLDERS[0], b"one", demand(b"one"), 1, 0)
    assert [want.holder for want, _ in grant(leases)] == [HOLDERS[0]]


def test_a_class_that_does_not_fit_does_not_hold_up_another() -> None:
    leases = book()
    leases.want(HOLDERS[0], b"never", demand(b"never"), 1, 1)
    leases.want(HOLDERS[0], b"one", demand(b"one"), 1, 0)
    assert [want.class_key for want, _ in grant(leases)] == [b"one"]


def test_every_holder_of_an_impossible_want_is_told_that_it_is() -> None:
    leases = book()
    for holder in HOLDERS[:2]:
        leases.want(holder, b"never", demand(b"never"), 1, 0)
    assert grant(leases) == []
    assert [(want.infeasible, "CPU: 1" in want.reason) for want in leases.wants] == [(True, True)] * 2


def test_a_wait_that_ends_may_overcommit_and_heals() -> None:
    leases = book(ResourceSet.of(CPU=1))
    leases.want(HOLDERS[0], b"one", demand(b"one"), 2, 0)
    [(_, waiting)] = grant(leases)
    leases.block(waiting.lease_id, True)
    [(_, child)] = grant(leases)
    leases.block(waiting.lease_id, False)
    assert leases.available.units == {"CPU": -UNIT}
    leases.want(HOLDERS[1], b"one", demand(b"one"), 1, 5)
    assert grant(leases) == [], "nothing is granted below zero"
    leases.give_back(child.lease_id)
    assert grant(leases) == []
    leases.give_back(waiting.lease_id)
    assert len(grant(leases)) == 1


def test_a_change_of_size_while_blocked_is_counted_once() -> None:
    leases = book(ResourceSet.of(CPU=1))
    leases.want(HOLDERS[0], b"one", demand(b"one"), 1, 0)
    [(_, lease)] = grant(leases)
    leases.block(lease.lease_id, True)
    leases.resize(lease.lease_id, ResourceSet())
    leases.validate()
    leases.block(lease.lease_id, False)
    leases.give_back(lease.lease_id)
    assert leases.available == leases.total


def test_a_part_above_one_device_can_never_be_had_and_says_so() -> None:
    leases = book()
    asked = Demand(resources=ResourceSet.of(GPU=1.5))
    leases.want(HOLDERS[0], b"odd", asked, 1, 0)
    assert grant(leases) == []
    [want] = leases.wants
    assert want.infeasible
    assert "whole" in want.reason


def test_fragments_wait_and_are_not_infeasible() -> None:
    leases = book()
    leases.want(HOLDERS[0], b"third", demand(b"third"), 1, 0)
    leases.want(HOLDERS[1], b"pair", demand(b"pair"), 1, 0)
    assert [want.class_key for want, _ in grant(leases)] == [b"third"]
    [want] = leases.wants
    assert not want.infeasible
    assert want.reason


def test_a_bundle_without_a_fitting_device_does_not_hide_the_next() -> None:
    leases = book()
    group = GROUPS[0]
    assert leases.reserve(group, {0: ResourceSet.of(GPU=0.5), 1: ResourceSet.of(GPU=1)})
    leases.want(HOLDERS[0], b"part", Demand(
        resources=ResourceSet.of(GPU=0.4), strategy=PlacementGroupStrategy(group_id=group)), 2, 0)  # fmt: skip
    assert [lease.pool for _, lease in grant(leases)] == [(group, 0), (group, 1)]
    wide = book(ResourceSet.of(GPU=2))
    assert wide.reserve(group, {0: ResourceSet.of(GPU=1)})
    small = Demand(resources=ResourceSet.of(GPU=0.6), strategy=PlacementGroupStrategy(group_id=group))
    wide.want(HOLDERS[0], b"small", small, 2, 0)
    assert len(grant(wide)) == 1, "0.4 of the bundle's device is left"


def test_fragments_inside_one_bundle_leave_the_others_open() -> None:
    leases = LeaseBook(ResourceSet.of(GPU=3), {"GPU": ["0", "1", "2"]}, first_fit)
    group = GROUPS[0]
    assert leases.reserve(group, {0: ResourceSet.of(GPU=2), 1: ResourceSet.of(GPU=1)})
    here = PlacementGroupStrategy(group_id=group, bundle_index=0)
    leases.want(HOLDERS[0], b"part", Demand(resources=ResourceSet.of(GPU=0.6), strategy=here), 2, 0)
    assert len(grant(leases)) == 2, "each device of bundle 0 has 0.4 left now, together 0.8"
    anywhere = PlacementGroupStrategy(group_id=group)
    leases.want(HOLDERS[1], b"big", Demand(resources=ResourceSet.of(GPU=0.8), strategy=anywhere), 1, 0)
    assert [lease.pool for _, lease in grant(leases)] == [(group, 1)]


def test_a_group_is_reserved_whole_or_not_at_all() -> None:
    leases = book()
    too_much = {0: ResourceSet.of(CPU=3), 1: ResourceSet.of(CPU=2)}
    assert not leases.reserve(GROUPS[0], too_much)
    assert leases.available == leases.total
    fragments = {0: ResourceSet.of(GPU=0.6), 1: ResourceSet.of(GPU=0.6), 2: ResourceSet.of(GPU=0.6)}
    assert not leases.reserve(GROUPS[0], fragments), "covered in sum, but on no choice of devices"
    assert leases.available == leases.total
    leases.validate()


def test_a_bundle_is_not_reserved_twice() -> None:
    leases = book()
    assert leases.reserve(GROUPS[0], {0: ResourceSet.of(CPU=1)})
    assert not leases.reserve(GROUPS[0], {0: ResourceSet.of(CPU=1), 1: ResourceSet.of(CPU=1)})
    leases.validate()
    leases.release_group(GROUPS[0])
    assert leases.available == leases.total


def test_work_in_a_group_that_is_not_there_says_so() -> None:
    leases = book()
    leases.want(HOLDERS[0], b"one", demand(b"one", GROUPS[0]), 1, 0)
    assert grant(leases) == []
    assert "not reserved yet" in leases.wants[0].reason
    leases.reserve(GROUPS[0], {0: ResourceSet.of(CPU=0.5)})
    assert grant(leases) == []
    assert leases.wants[0].infeasible
    assert "0.5" in leases.wants[0].reason


def test_a_group_that_goes_ends_its_leases_even_blocked_ones() -> None:
    leases = book()
    leases.reserve(GROUPS[0], {0: ResourceSet.of(CPU=2, GPU=1)})
    leases.want(HOLDERS[0], b"gpu", demand(b"gpu", GROUPS[0]), 1, 0)
    [(_, lease)] = grant(leases)
    leases.block(lease.lease_id, True)
    assert leases.release_group(GROUPS[0]) == [lease]
    assert leases.available == leases.total
    leases.block(lease.lease_id, False)
    leases.resize(lease.lease_id, ResourceSet())
    assert leases.give_back(lease.lease_id) is None
    assert leases.available == leases.total


def test_a_want_that_is_withdrawn_between_two_grants_gets_no_more() -> None:
    leases = book()
    leases.want(HOLDERS[0], b"one", demand(b"one"), 4, 0)
    granting = leases.grant()
    next(granting)
    leases.want(HOLDERS[0], b"one", demand(b"one"), 0, 0)
    assert list(granting) == []
    assert leases.available.units["CPU"] == 3 * UNIT
