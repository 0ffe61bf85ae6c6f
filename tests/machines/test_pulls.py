"""Pulls: every object is copied once, within bounds, and every waiter is told how it ended."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from shoal.machines.pulls import EndPull, PullEffect, Pulls, StartPull

SLOTS, ROOM = 2, 100


class Copying(RuleBasedStateMachine):
    """The model: who waits for what, and which copies run."""

    @initialize()
    def start(self) -> None:
        self.book = Pulls(SLOTS, ROOM)
        self.running: dict[bytes, int] = {}  # object → source
        self.waiting: dict[bytes, set[tuple[bytes, int]]] = {}
        self.number = 0

    def carry_out(self, effects: list[PullEffect]) -> None:
        for effect in effects:
            if isinstance(effect, StartPull):
                assert effect.object_id not in self.running, "an object is copied twice at once"
                self.running[effect.object_id] = effect.source
            else:
                assert isinstance(effect, EndPull)
                assert effect.object_id not in self.running
                assert set(effect.waiters) == self.waiting.pop(effect.object_id, set())

    @rule(
        name=st.sampled_from([b"a", b"b", b"c", b"d"]),
        client=st.sampled_from([b"one", b"two"]),
        sources=st.lists(st.integers(1, 3), max_size=2, unique=True),
    )
    def want(self, name: bytes, client: bytes, sources: list[int]) -> None:
        self.number += 1
        waiter = (client, self.number)
        self.waiting.setdefault(name, set()).add(waiter)
        size = {b"a": 10, b"b": 60, b"c": 90, b"d": 500}[name]
        self.carry_out(self.book.want(name, size, sources, waiter))

    @rule(index=st.integers(0, 3), fails=st.booleans())
    def finish(self, index: int, fails: bool) -> None:
        if index < len(self.running):
            name = sorted(self.running)[index]
            del self.running[name]
            self.carry_out(self.book.finished(name, "broken" if fails else ""))

    @rule(client=st.sampled_from([b"one", b"two"]))
    def client_goes(self, client: bytes) -> None:
        self.book.forget_client(client)
        for name, waiters in list(self.waiting.items()):
            waiters -= {waiter for waiter in waiters if waiter[0] == client}
            if not waiters and name not in self.running:
                del self.waiting[name]

    @invariant()
    def agrees_with_the_model(self) -> None:
        self.book.validate()
        assert self.book.waiting == len([name for name in self.waiting if name not in self.running])


TestCopying = Copying.TestCase


def test_the_next_source_is_tried_and_the_reasons_are_told() -> None:
    book = Pulls(SLOTS, ROOM)
    assert book.want(b"x", 10, [1, 2], (b"me", 1)) == [StartPull(b"x", 10, 1)]
    assert book.finished(b"x", "it is dead") == [StartPull(b"x", 10, 2)]
    (end,) = book.finished(b"x", "not there")
    assert isinstance(end, EndPull)
    assert end.reason == "node 1: it is dead; node 2: not there"


def test_what_fits_goes_before_what_waits_for_room() -> None:
    book = Pulls(3, ROOM)
    assert book.want(b"large", 80, [1], (b"me", 1))
    assert book.want(b"larger", 90, [1], (b"me", 2)) == []
    assert book.want(b"small", 20, [1], (b"me", 3)) == [StartPull(b"small", 20, 1)]


def test_an_object_larger_than_the_room_is_copied_alone() -> None:
    book = Pulls(SLOTS, ROOM)
    assert book.want(b"huge", 1_000, [1], (b"me", 1)) == [StartPull(b"huge", 1_000, 1)]
    assert book.want(b"tiny", 1, [1], (b"me", 2)) == []
