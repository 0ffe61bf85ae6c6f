"""Membership: leases of nodes, their deaths, and numbers that are never used twice."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shoal.ids import NodeID
from shoal.machines import membership
from shoal.machines.membership import Membership, NodeChanged, NodeLost
from shoal.spec.resources import ResourceSet

TIMEOUT, GRACE = 5.0, 1.0
CPU = ResourceSet.of(CPU=4)


def identity(number: int) -> NodeID:
    return NodeID(number.to_bytes(8, "big"))


class Cluster(RuleBasedStateMachine):
    """The model: for each node when it was last heard of, and since when its connection is broken."""

    @initialize()
    def start(self) -> None:
        self.book = Membership(TIMEOUT, GRACE)
        self.now = 100.0
        self.heard: dict[int, float] = {}
        self.cut: dict[int, float | None] = {}
        self.dead: set[int] = set()

    def living(self) -> list[int]:
        return [number for number in self.heard if number not in self.dead]

    def pick(self, index: int) -> int | None:
        living = self.living()
        return living[index % len(living)] if living else None

    @rule()
    def join(self) -> None:
        number = self.book.reserve_number()
        assert number not in self.heard, "a number is used once"
        effects = self.book.join(number, identity(number), "host:1", CPU, {}, self.now)
        assert effects == [NodeChanged(number)]
        self.heard[number], self.cut[number] = self.now, None

    @rule(index=st.integers(0, 9))
    def come_back(self, index: int) -> None:
        number = self.pick(index)
        if number is not None:
            assert self.book.may_join(number, identity(number))
            self.book.join(number, identity(number), "host:2", CPU, {}, self.now)
            self.heard[number], self.cut[number] = self.now, None

    @rule(index=st.integers(0, 9))
    def renew(self, index: int) -> None:
        number = self.pick(index)
        if number is not None:
            assert self.book.renew(number, self.now)
            self.heard[number] = self.now

    @rule(index=st.integers(0, 9))
    def break_connection(self, index: int) -> None:
        number = self.pick(index)
        if number is not None:
            assert self.book.disconnected(number, self.now) == []
            self.cut[number] = self.now

    @rule(index=st.integers(0, 9))
    def leave(self, index: int) -> None:
        number = self.pick(index)
        if number is not None:
            assert self.book.left(number, "goodbye") == [NodeChanged(number), NodeLost(number, "goodbye")]
            self.dead.add(number)

    @rule(index=st.integers(0, 9))
    def drain(self, index: int) -> None:
        number = self.pick(index)
        if number is not None:
            self.book.drain(number)
            assert not [node for node in self.book.view().usable() if node.node_id == identity(number)]

    @rule(seconds=st.floats(0.1, 3.0))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds
        effects = self.book.tick(self.now)
        expected = set()
        for number in self.living():
            cut = self.cut[number]
            if self.now - self.heard[number] >= TIMEOUT or (cut is not None and self.now - cut >= GRACE):
                expected.add(number)
        assert {effect.number for effect in effects if isinstance(effect, NodeLost)} == expected
        self.dead |= expected

    @rule(index=st.integers(0, 9))
    def the_dead_stay_dead(self, index: int) -> None:
        dead = sorted(self.dead)
        if dead:
            number = dead[index % len(dead)]
            assert not self.book.may_join(number, identity(number))
            assert not self.book.renew(number, self.now)
            assert self.book.resources(number, CPU, 0) == []

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.book.validate()
        assert [record.number for record in self.book.living()] == sorted(self.living())
        assert set(self.book.view().nodes) == {identity(number) for number in self.living()}

    @invariant()
    def a_deadline_is_never_late(self) -> None:
        deadline = self.book.next_deadline()
        assert (deadline is None) == (not self.living())
        if deadline is not None:
            quiet = Membership.tick(self.book, deadline - 0.001) if deadline > self.now + 0.001 else []
            assert not quiet, "nothing may happen before the deadline"


TestCluster = Cluster.TestCase


def test_a_number_that_was_kept_over_a_restart_is_not_given_again() -> None:
    book = Membership(TIMEOUT, GRACE)
    assert book.reserve_number(minimum=41) == 41
    assert book.reserve_number() == 42
    assert book.next_number == 43


def test_a_stranger_with_a_living_nodes_number_is_refused() -> None:
    book = Membership(TIMEOUT, GRACE)
    number = book.reserve_number()
    book.join(number, identity(1), "host:1", CPU, {}, 0.0)
    assert not book.may_join(number, identity(2))


def test_the_dead_are_remembered_up_to_a_bound() -> None:
    book = Membership(TIMEOUT, GRACE)
    for _ in range(membership._DEAD_KEPT + 5):
        number = book.reserve_number()
        book.join(number, identity(number), "host:1", CPU, {}, 0.0)
        book.left(number, "gone")
    assert len(book.all()) == membership._DEAD_KEPT
    book.validate()
