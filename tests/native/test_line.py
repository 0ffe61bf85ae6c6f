"""The line between a client and its gateway: whatever becomes of its connections, messages arrive once and in order."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shoal.native.wire import line as words
from shoal.native.wire.line import BrokenLine, Line, size_of


class _Side:
    def __init__(self) -> None:
        self.line = Line()
        self.sent: list[int] = []
        self.got: list[int] = []
        self.under_way: list[list[Any]] = []  # towards the other side, in order


class Conversation(RuleBasedStateMachine):
    """Two sides, and a connection that delivers in order until it breaks and takes what was under way along."""

    def __init__(self) -> None:
        super().__init__()
        self.sides = (_Side(), _Side())
        self.connected = True

    @rule(who=st.integers(0, 1), value=st.integers())
    def say(self, who: int, value: int) -> None:
        side = self.sides[who]
        number = side.line.send([value], 1)
        side.sent.append(value)
        if self.connected:
            side.under_way.append([words.NUMBERED, number, [value]])

    @rule(who=st.integers(0, 1), now=st.booleans())
    @precondition(lambda self: self.connected)
    def tell(self, who: int, now: bool) -> None:
        number = self.sides[who].line.to_tell(now)
        if number:
            self.sides[who].under_way.append([words.RECEIVED, number])

    @rule(who=st.integers(0, 1), count=st.integers(1, 5))
    def deliver(self, who: int, count: int) -> None:
        sender, receiver = self.sides[who], self.sides[1 - who]
        for _ in range(min(count, len(sender.under_way))):
            self._take(receiver, sender.under_way.pop(0))

    def _take(self, receiver: _Side, message: list[Any]) -> None:
        if message[0] == words.RECEIVED:
            receiver.line.arrived(message[1])
        elif receiver.line.receive(message[1], 1):
            receiver.got.append(message[2][0])

    @rule()
    def break_connection(self) -> None:
        self.connected = False
        for side in self.sides:
            side.under_way.clear()

    @rule()
    @precondition(lambda self: not self.connected)
    def connect(self) -> None:
        self.connected = True
        first, second = self.sides
        first.under_way = first.line.resume(second.line.received)
        second.under_way = second.line.resume(first.line.received)

    @invariant()
    def what_came_is_what_was_sent(self) -> None:
        for sender, receiver in (self.sides, self.sides[::-1]):
            assert sender.sent[: len(receiver.got)] == receiver.got

    def teardown(self) -> None:
        if not self.connected:
            self.connect()
        for who in (0, 1):
            self.deliver(who, 1_000_000)
            assert self.sides[who].sent == self.sides[1 - who].got
        for who in (0, 1):
            self.tell(who, True)
            self.deliver(who, 1_000_000)
        for side in self.sides:
            assert not side.line.waits
            assert side.line.kept_bytes == 0


TestConversation = Conversation.TestCase


def test_a_gap_and_numbers_of_the_future_are_refused() -> None:
    line = Line()
    assert line.receive(1)
    assert not line.receive(1)
    with pytest.raises(BrokenLine, match="3 came after 1"):
        line.receive(3)
    with pytest.raises(BrokenLine, match="7 messages were received"):
        line.arrived(7)


def test_a_side_that_has_forgotten_is_not_begun_again_with() -> None:
    line = Line()
    for value in range(3):
        line.send([value], 1)
    line.arrived(2)
    assert line.resume(2) == [[words.NUMBERED, 3, [2]]]
    with pytest.raises(BrokenLine, match="message 1 is to be sent again"):
        line.resume(0)
    line.arrived(3)
    with pytest.raises(BrokenLine, match="message 2"):
        line.resume(1)


@given(st.binary(max_size=1000))
def test_sizes_follow_what_is_in_a_message(data: bytes) -> None:
    for message in (
        [words.BYTES, 2, data],
        [words.ASK, 1, "write", [b"x", 0, data]],
        [words.ANSWER, 1, "", data],
    ):
        assert len(data) <= size_of(message) <= len(data) + 100
