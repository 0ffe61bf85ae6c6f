"""QuotaLedger: whatever is under way, lost or restarted, the nodes never have more together than the quota."""

from __future__ import annotations

from collections import deque
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shoal.machines.quotas import HEAD, Give, QuotaLedger, Tell
from shoal.machines.shares import Shares
from shoal.spec.jobs import JobSpec
from shoal.spec.resources import ResourceSet

JOB = b"job1"
QUOTA = {"CPU": 5, "GPU": 2}
SPEC = JobSpec(job_id=JOB, quota=QUOTA)
NODES = st.integers(1, 3)
UNITS = st.sampled_from([{"CPU": 1}, {"CPU": 2}, {"CPU": 1, "GPU": 1}, {"CPU": 5}])


class Node:
    """A node's real accounts, and what is under way to and from it, in order."""

    def __init__(self) -> None:
        self.shares = Shares()
        self.shares.know(SPEC)
        self.used: list[dict[str, int]] = []
        self.down: deque[Any] = deque()
        self.up: deque[Any] = deque()
        self.connected = True


class Ledger(RuleBasedStateMachine):
    """Three nodes, with queues between them and the head; connections break, nodes die, the head is replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.nodes = {number: Node() for number in (1, 2, 3)}
        self.head()
        for number in self.nodes:
            self.ledger.joined(number, True)

    def head(self) -> None:
        self.ledger = QuotaLedger()
        self.ledger.job(JOB, QUOTA)

    def spread(self) -> None:
        """Send what the ledger decides; to a node that is not connected it is lost."""
        for effect in self.ledger.take_effects():
            if self.nodes[effect.node].connected:
                self.nodes[effect.node].down.append(effect)

    def say(self, number: int) -> None:
        """Send what a node has to say of itself."""
        node = self.nodes[number]
        returns, shortages = node.shares.take_returns(), node.shares.take_shortages()
        if node.connected:
            node.up.extend(("return", units) for units in returns.values())
            node.up.extend(("ask", dict(one.unit), one.count) for one in shortages)

    @rule(number=NODES, units=UNITS)
    def use(self, number: int, units: dict[str, int]) -> None:
        node = self.nodes[number]
        if not node.shares.lacks(JOB, ResourceSet(units)):
            node.shares.take(JOB, ResourceSet(units))
            node.used.append(units)
        self.say(number)

    @rule(number=NODES)
    def give_back(self, number: int) -> None:
        node = self.nodes[number]
        if node.used:
            node.shares.give_back(JOB, ResourceSet(node.used.pop()))
            self.say(number)

    @rule(number=NODES)
    def hear(self, number: int) -> None:
        node = self.nodes[number]
        if node.down:
            effect = node.down.popleft()
            if isinstance(effect, Give):
                node.shares.allowed(JOB, effect.units)
                node.shares.settle(JOB)
            else:
                assert isinstance(effect, Tell)
                node.shares.tight(JOB, effect.tight)
            self.say(number)

    @rule(number=NODES)
    def arrive(self, number: int) -> None:
        node = self.nodes[number]
        if node.up:
            kind, *rest = node.up.popleft()
            if kind == "return":
                self.ledger.returned(number, JOB, *rest)
            elif kind == "ask":
                self.ledger.ask(number, JOB, *rest)
            else:
                self.ledger.settled(number, *rest)
            self.spread()

    @rule(units=UNITS, number=NODES)
    def place(self, units: dict[str, int], number: int) -> None:
        other = number % 3 + 1
        self.ledger.take(JOB, {number: units, other: {"CPU": 1}})
        self.spread()

    @rule()
    def try_anew(self) -> None:
        self.ledger.forget_head()
        self.ledger.tell_all()
        self.spread()

    @rule(number=NODES)
    def break_connection(self, number: int) -> None:
        node = self.nodes[number]
        node.connected = False
        node.up.clear()
        node.down.clear()

    @rule(number=NODES)
    def connect_again(self, number: int) -> None:
        node = self.nodes[number]
        if not node.connected:
            node.connected = True
            self.ledger.joined(number, False)
            node.shares.new_head()
            node.up.append(("state", node.shares.portions()))
            self.spread()

    @rule(number=NODES)
    def die_and_come_as_new(self, number: int) -> None:
        self.ledger.node_gone(number)
        self.nodes[number] = Node()
        self.ledger.joined(number, True)
        self.spread()

    @rule()
    def replace_head(self) -> None:
        for number in self.nodes:
            self.break_connection(number)
        self.head()
        self.ledger.restore(self.nodes)

    @invariant()
    def never_more_than_the_quota(self) -> None:
        self.ledger.validate()
        for name, most in QUOTA.items():
            believed = 0
            for node in self.nodes.values():
                believed += node.shares.portions().get(JOB, {}).get(name, 0)
                believed += sum(one.units.get(name, 0) for one in node.down if isinstance(one, Give))
                assert node.shares.used(JOB).get(name, 0) <= node.shares.portions().get(JOB, {}).get(name, 0)
            assert believed <= most


TestLedger = Ledger.TestCase
TestLedger.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


def given(ledger: QuotaLedger) -> dict[int, dict[str, int]]:
    return {node: dict(units) for node, units in ledger.given(JOB).items() if units}


def one_ledger() -> QuotaLedger:
    ledger = QuotaLedger()
    ledger.job(JOB, QUOTA)
    for number in (1, 2):
        ledger.joined(number, True)
    return ledger


def test_a_node_gets_as_many_as_fit_and_the_other_makes_it_tight() -> None:
    ledger = one_ledger()
    ledger.ask(1, JOB, {"CPU": 2}, 9)
    assert ledger.take_effects() == [Give(1, JOB, {"CPU": 4})]
    ledger.ask(2, JOB, {"CPU": 2}, 1)
    assert ledger.take_effects() == [Tell(1, JOB, True)]
    ledger.returned(1, JOB, {"CPU": 2})
    assert ledger.take_effects() == [Give(2, JOB, {"CPU": 2}), Tell(1, JOB, False)]
    assert given(ledger) == {1: {"CPU": 2}, 2: {"CPU": 2}}


def test_what_the_quota_does_not_name_is_not_bounded() -> None:
    ledger = one_ledger()
    assert ledger.take(JOB, {1: {"memory": 10**12}, 2: {"disk": 1}})
    assert ledger.take(b"another", {1: {"CPU": 1_000}})
    assert given(ledger) == {}


def test_a_group_is_taken_whole_or_not_at_all() -> None:
    ledger = one_ledger()
    assert ledger.take(JOB, {1: {"CPU": 2}, 2: {"CPU": 2}})
    ledger.take_effects()
    assert not ledger.take(JOB, {1: {"CPU": 1}, 2: {"CPU": 1}})
    assert ledger.head_waits
    assert set(ledger.take_effects()) == {Tell(1, JOB, True), Tell(2, JOB, True)}
    ledger.returned(2, JOB, {"CPU": 2})
    assert ledger.head_may_try()
    assert ledger.take(JOB, {1: {"CPU": 1}, 2: {"CPU": 1}})
    assert not ledger.head_waits


def test_after_the_head_was_lost_nothing_is_given_until_all_have_told() -> None:
    ledger = QuotaLedger()
    ledger.job(JOB, QUOTA)
    ledger.restore([1, 2])
    for number in (1, 2):
        ledger.joined(number, False)
    ledger.settled(1, {JOB: {"CPU": 4}})
    ledger.ask(1, JOB, {"CPU": 1}, 2)
    assert ledger.take_effects() == [Tell(2, JOB, True)]
    ledger.node_gone(2)
    assert ledger.take_effects() == [Give(1, JOB, {"CPU": 1})]
    assert HEAD not in given(ledger)
