"""A world around AppliedCalls: callers, processes of one actor that die, a store that keeps its state.

Connections keep their order and break with the process. A caller sends all that it has no answer of again to the next
process, in order. A process answers only what is saved. What an earlier process still tries to save is refused.
"""

from __future__ import annotations

import copy
import random
from collections import deque
from typing import Any

import attrs

from shoal.machines.applied import AppliedCalls, Verdict

CALLERS = [b"one", b"two", b"three"]
MOST_ANSWERS = 4


@attrs.define(eq=False)
class Caller:
    name: bytes
    number: int = 0
    unanswered: dict[int, None] = attrs.field(factory=dict)
    answers: dict[int, int] = attrs.field(factory=dict)

    @property
    def below(self) -> int:
        return next(iter(self.unanswered), self.number + 1)


@attrs.define(eq=False)
class Process:
    """One process of the actor. Its state is the list of what was applied."""

    incarnation: int
    state: list[tuple[bytes, int]]
    applied: AppliedCalls
    inbox: dict[bytes, deque[tuple[int, int]]] = attrs.field(
        factory=dict
    )  # (number, below); number 0: only below
    outbox: dict[bytes, deque[tuple[int, int]]] = attrs.field(factory=dict)
    held: list[tuple[bytes, int, int]] = attrs.field(factory=list)
    saving: list[tuple[bytes, int, int]] | None = None
    captured: Any = None


class World:
    """Each method is one thing that may happen at any moment; one that cannot happen now does nothing."""

    def __init__(self, is_fenced: bool = True) -> None:
        self.is_fenced = is_fenced
        self.callers = {name: Caller(name) for name in CALLERS}
        self.saved: Any = ([], AppliedCalls(MOST_ANSWERS).plain())
        self.incarnation = 0
        self.old: Process | None = None
        self.crash()

    def call(self, name: bytes) -> None:
        caller = self.callers[name]
        caller.number += 1
        caller.unanswered[caller.number] = None
        self.process.inbox[name].append((caller.number, caller.below))

    def acknowledge(self, name: bytes) -> None:
        self.process.inbox[name].append((0, self.callers[name].below))

    def deliver(self, name: bytes) -> None:
        process = self.process
        inbox = process.inbox[name]
        if not inbox:
            return
        number, below = inbox[0]
        process.applied.acknowledged(name, below)
        if not number:
            inbox.popleft()
            return
        verdict, answer = process.applied.judge(name, number)
        if verdict is Verdict.WAIT:
            # Its turn comes when the caller has said that it has some: those words are behind it in this inbox.
            process.applied.acknowledged(name, max(below for _, below in inbox))
            return
        inbox.popleft()
        if verdict is Verdict.APPLY:
            process.state.append((name, number))
            process.applied.note(name, number, [len(process.state)])
            process.held.append((name, number, len(process.state)))
        elif verdict is Verdict.REPEAT:
            assert answer is not None
            process.held.append((name, number, answer[0]))

    def begin_save(self) -> None:
        process = self.process
        if process.saving is None:
            process.saving, process.held = process.held, []
            process.captured = copy.deepcopy((process.state, process.applied.plain()))

    def end_save(self) -> None:
        process = self.process
        if process.saving is not None:
            self.saved = process.captured
            for name, number, answer in process.saving:
                process.outbox[name].append((number, answer))
            process.saving = None

    def late_save_of_the_last_process(self) -> None:
        """It was cut off and tries to save: the directory knows a newer incarnation, and nothing is written."""
        old = self.old
        may = old is not None and (not self.is_fenced or old.incarnation == self.incarnation)
        if may and old is not None and old.captured is not None:
            self.saved = old.captured

    def answer(self, name: bytes) -> None:
        outbox = self.process.outbox[name]
        caller = self.callers[name]
        if outbox:
            number, value = outbox.popleft()
            if number in caller.unanswered:
                del caller.unanswered[number]
                caller.answers[number] = value
            else:
                assert caller.answers[number] == value, "another answer than the first"

    def crash(self) -> None:
        self.old = getattr(self, "process", None)
        self.incarnation += 1
        state, plain = copy.deepcopy(self.saved)
        applied = AppliedCalls(MOST_ANSWERS)
        applied.load(plain)
        self.process = Process(self.incarnation, state, applied)
        for name, caller in self.callers.items():
            self.process.inbox[name] = deque((number, caller.below) for number in caller.unanswered)
            self.process.outbox[name] = deque()

    def check(self) -> None:
        """What holds at every moment."""
        state, plain = self.saved
        assert len(set(state)) == len(state), f"applied twice: {state}"
        for name, caller in self.callers.items():
            mine = [number for one, number in state if one == name]
            assert mine == sorted(mine), f"out of order: {mine}"
            for number, value in caller.answers.items():
                effect = state[value - 1 : value]
                assert effect == [(name, number)], "an answer whose effect is not saved"
        for _, _, answers in plain:
            assert len(answers) <= MOST_ANSWERS

    def settle(self) -> None:
        """No more faults: everything comes to an end, and every call was applied once."""
        for _ in range(10_000):
            if not any(caller.unanswered for caller in self.callers.values()):
                break
            for name in CALLERS:
                self.acknowledge(name)
                self.deliver(name)
            self.begin_save()
            self.end_save()
            for name in CALLERS:
                self.answer(name)
        self.check()
        state, _ = self.saved
        wanted = {(name, number) for name in CALLERS for number in range(1, self.callers[name].number + 1)}
        assert set(state) == wanted
        assert len(state) == len(wanted)


KINDS = {
    "call": 6,
    "deliver": 8,
    "answer": 8,
    "acknowledge": 2,
    "begin_save": 4,
    "end_save": 4,
    "crash": 1,
    "late_save_of_the_last_process": 1,
}


def run(seed: int, steps: int = 80, is_fenced: bool = True) -> World:
    """Let a random history happen, then settle."""
    chance = random.Random(seed)
    world = World(is_fenced)
    for _ in range(steps):
        name = chance.choice(CALLERS)
        kind = chance.choices(list(KINDS), list(KINDS.values()))[0]
        if kind in ("call", "deliver", "answer", "acknowledge"):
            getattr(world, kind)(name)
        else:
            getattr(world, kind)()
        world.check()
    world.settle()
    return world
