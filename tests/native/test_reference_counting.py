"""Reference counting between processes: whatever order messages arrive in, nothing leaks and nothing goes too early."""

from __future__ import annotations

import gc

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reference_world import Process, World

from shoal.errors import ObjectLost
from shoal.native.client.values import decode

WHICH = st.integers(0, 7)
COUNT = st.integers(0, 2)


class References(RuleBasedStateMachine):
    """References are put into values, passed, nested, returned, kept, fetched and dropped by three processes."""

    @initialize()
    def start(self) -> None:
        gc.freeze()  # collecting is for this example's world: what other tests have left takes much longer
        self.world = World(3)

    def process(self, number: int) -> Process:
        living = list(self.world.processes.values())
        return living[number % len(living)]

    @rule(who=WHICH, first=WHICH, count=COUNT, large=st.booleans())
    def put(self, who: int, first: int, count: int, large: bool) -> None:
        process = self.process(who)
        process.put(process.held[first : first + count], large)

    @rule(who=WHICH, whom=WHICH, first=WHICH, direct=COUNT, nested=COUNT, large=st.booleans())
    def call(self, who: int, whom: int, first: int, direct: int, nested: int, large: bool) -> None:
        process, callee = self.process(who), self.process(whom)
        if callee is not process:
            held = process.held[first:]
            process.call(callee.worker_id, held[:direct], held[direct : direct + nested], large)

    @rule(who=WHICH, keep=COUNT, give=COUNT, hand_over=COUNT, own=st.booleans(), large=st.booleans())
    def run(self, who: int, keep: int, give: int, hand_over: int, own: bool, large: bool) -> None:
        process = self.process(who)
        if process.todo:
            process.run(keep, give, hand_over, own, large)

    @rule(who=WHICH, which=WHICH)
    def get(self, who: int, which: int) -> None:
        process = self.process(who)
        if which < len(process.held):
            process.get(process.held[which])

    @rule(who=WHICH, which=WHICH)
    def drop(self, who: int, which: int) -> None:
        process = self.process(who)
        if which < len(process.held):
            del process.held[which]

    @rule(who=WHICH)
    def flush(self, who: int) -> None:
        self.process(who).reactor.flush()

    @rule(which=st.lists(WHICH, min_size=1, max_size=8))
    def deliver(self, which: list[int]) -> None:
        for number in which:
            links = self.world.waiting()
            if links:
                self.world.deliver(links[number % len(links)])

    @invariant()
    def nothing_goes_too_early(self) -> None:
        if not self.world.killed:
            self.world.assert_nothing_freed_too_early()

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.settle()
        self.nothing_goes_too_early()
        for process in world.processes.values():
            process.held.clear()
        gc.collect()
        gc.unfreeze()
        world.settle()
        if world.killed:
            # What a dead process had promised to another is kept until that one ends as well.
            for worker_id in list(world.processes)[1:]:
                world.kill(worker_id)
                world.settle()
        for process in world.processes.values():
            left = {key.hex(): record.borrowers for key, record in process.objects._table.items()}
            assert left == {}, f"process {process.worker_id.hex()} keeps objects"
            assert not process.objects._subscribers
        if not world.killed:
            assert not world.store.objects, "bytes are left in the store"


class ReferencesAndDeaths(References):
    """The same with processes that are killed at any moment."""

    @precondition(lambda self: len(self.world.processes) > 2)
    @rule(who=WHICH)
    def kill(self, who: int) -> None:
        self.world.kill(self.process(who).worker_id)


_settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestReferences = References.TestCase
TestReferences.settings = _settings
TestReferencesAndDeaths = ReferencesAndDeaths.TestCase
TestReferencesAndDeaths.settings = _settings
_many = settings(_settings, max_examples=3_000, stateful_step_count=50)


@pytest.mark.slow
@pytest.mark.parametrize("machine", [References, ReferencesAndDeaths])
def test_thousands_of_longer_histories(machine: type[References]) -> None:
    run_state_machine_as_test(machine, settings=_many)


def kept_by_another() -> tuple[World, Process, Process, Process]:
    """The first process owns an object that the second alone holds; the third knows the second only."""
    world = World(3)
    owner, keeper, third = world.processes.values()
    owner.put([], large=True)
    owner.call(keeper.worker_id, [], [owner.held[0]], large=False)
    while not keeper.todo:
        world.deliver(world.waiting()[0])
    keeper.run(keep=1, give=0, hand_over=0, own=False, large=False)
    world.settle()
    owner.held.clear()
    world.settle()
    [kept] = [ref.binary() for ref in keeper.held]
    assert owner.objects.find(kept) is not None
    return world, owner, keeper, third


def assert_all_gone(world: World) -> None:
    for process in world.processes.values():
        process.held.clear()
    world.settle()
    assert [process.objects.size for process in world.processes.values()] == [0, 0, 0]
    assert not world.store.objects


def test_a_kept_reference_handed_back_to_its_owner_is_alive() -> None:
    """The keeper lets go with its answer: what it gives back must not overtake what it hands over."""
    world, owner, keeper, _ = kept_by_another()
    owner.call(keeper.worker_id, [], [], large=False)
    while not keeper.todo:
        world.deliver(world.waiting()[0])
    keeper.run(keep=0, give=0, hand_over=1, own=False, large=False)
    world.settle()
    owner.get(owner.held[0])
    world.assert_nothing_freed_too_early()
    assert len(owner.held) == 2
    assert_all_gone(world)


def test_a_reference_dropped_before_its_owner_has_heard_of_the_borrower() -> None:
    """The third process gets it and drops it at once, while the keeper's word to the owner is still on its way."""
    world, _, keeper, third = kept_by_another()
    third.call(keeper.worker_id, [], [], large=False)
    while not keeper.todo:
        world.deliver(world.waiting()[0])
    keeper.run(keep=0, give=0, hand_over=1, own=False, large=False)
    keeper.reactor.flush()
    while world.queue(keeper.worker_id, third.worker_id):
        world.deliver((keeper.worker_id, third.worker_id))
    third.held.clear()
    third.reactor.flush()
    assert_all_gone(world)


def test_an_object_of_ours_that_is_gone_is_an_error_and_nothing_worse() -> None:
    world = World(1)
    [process] = world.processes.values()
    ref = process.objects.adopt(process.object_id(99, 0), 0)
    with pytest.raises(ObjectLost, match="freed"):
        decode(process, ref.record)  # type: ignore[arg-type]
    del ref
    process.reactor.flush()
    assert process.objects.size == 0
