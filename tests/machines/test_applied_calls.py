"""AppliedCalls: however processes die and calls are sent again, each is applied once, in order, and answered alike."""

from __future__ import annotations

import applied_world
import msgspec
import pytest
from applied_world import CALLERS, World
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shoal.machines.applied import AppliedCalls, Verdict

NAMES = st.sampled_from(CALLERS)


class Histories(RuleBasedStateMachine):
    """Hypothesis looks for a history that breaks the world's rules."""

    def __init__(self) -> None:
        super().__init__()
        self.world = World()

    @rule(name=NAMES)
    def call(self, name: bytes) -> None:
        self.world.call(name)

    @rule(name=NAMES)
    def deliver(self, name: bytes) -> None:
        self.world.deliver(name)

    @rule(name=NAMES)
    def answer(self, name: bytes) -> None:
        self.world.answer(name)

    @rule(name=NAMES)
    def acknowledge(self, name: bytes) -> None:
        self.world.acknowledge(name)

    @rule()
    def begin_save(self) -> None:
        self.world.begin_save()

    @rule()
    def end_save(self) -> None:
        self.world.end_save()

    @rule()
    def crash(self) -> None:
        self.world.crash()

    @rule()
    def late_save_of_the_last_process(self) -> None:
        self.world.late_save_of_the_last_process()

    @invariant()
    def check(self) -> None:
        self.world.check()

    def teardown(self) -> None:
        self.world.settle()


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)


@pytest.mark.parametrize("block", range(8))
def test_thousands_of_random_histories(block: int) -> None:
    crashes = 0
    for seed in range(block * 500, (block + 1) * 500):
        try:
            crashes += applied_world.run(seed).incarnation - 1
        except AssertionError as error:
            raise AssertionError(f"seed {seed}: {error}") from error
    assert crashes > 500, "the histories are too quiet to mean anything"


def test_without_fencing_the_histories_break() -> None:
    """The number of the incarnation keeps old processes out: a world without it does not get through."""
    broken = 0
    for seed in range(100):
        try:
            applied_world.run(seed, is_fenced=False)
        except AssertionError:
            broken += 1
    assert broken > 5


def test_an_answer_is_kept_until_its_caller_has_it() -> None:
    applied = AppliedCalls()
    assert applied.judge(b"a", 1) == (Verdict.APPLY, None)
    applied.note(b"a", 1, [0, b"first"])
    assert applied.judge(b"a", 1) == (Verdict.REPEAT, [0, b"first"])
    applied.acknowledged(b"a", 2)
    assert applied.judge(b"a", 1) == (Verdict.DROP, None)
    assert applied.judge(b"a", 2) == (Verdict.APPLY, None)
    assert applied.answers == 0


def test_a_caller_that_does_not_say_what_it_has_waits() -> None:
    applied = AppliedCalls(most_answers=2)
    for number in (1, 2):
        applied.note(b"a", number, [0, b""])
    assert applied.judge(b"a", 3)[0] is Verdict.WAIT
    assert applied.judge(b"b", 1)[0] is Verdict.APPLY
    applied.acknowledged(b"a", 2)
    assert applied.judge(b"a", 3)[0] is Verdict.APPLY


def test_callers_that_are_away_for_long_are_forgotten_and_no_others() -> None:
    applied = AppliedCalls(most_callers=2, forget_s=10)
    for caller in (b"a", b"b"):
        applied.note(caller, 1, [0, b""])
    assert applied.judge(b"c", 1)[0] is Verdict.REFUSE
    assert applied.tidy(0, lambda caller: caller == b"a") == 0
    assert applied.tidy(9.9, lambda caller: caller == b"a") == 0
    assert applied.judge(b"b", 1)[0] is Verdict.REPEAT
    assert applied.tidy(10, lambda caller: caller == b"a") == 1
    assert applied.judge(b"a", 1)[0] is Verdict.REPEAT
    assert applied.judge(b"c", 1)[0] is Verdict.APPLY


def test_one_that_comes_back_is_counted_from_anew() -> None:
    applied = AppliedCalls(forget_s=10)
    applied.note(b"a", 1, [0, b""])
    applied.tidy(0, lambda caller: False)
    applied.tidy(9, lambda caller: True)
    assert applied.tidy(15, lambda caller: False) == 0
    assert applied.tidy(25, lambda caller: False) == 1


def test_it_survives_being_plain() -> None:
    applied = AppliedCalls()
    applied.note(b"a", 3, [0, b"third"])
    applied.acknowledged(b"a", 2)
    again = AppliedCalls()
    again.load(msgspec.msgpack.decode(msgspec.msgpack.encode(applied.plain())))
    assert again.judge(b"a", 1)[0] is Verdict.DROP
    assert again.judge(b"a", 2)[0] is Verdict.APPLY
    assert again.judge(b"a", 3) == (Verdict.REPEAT, [0, b"third"])
    assert again.callers == 1


def test_an_answer_that_was_given_up_is_not_kept() -> None:
    applied = AppliedCalls()
    applied.note(b"a", 1, [0, b""])
    applied.acknowledged(b"a", 5)
    applied.note(b"a", 4, [0, b"too late"])
    assert applied.answers == 0
