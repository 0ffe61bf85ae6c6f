"""Which calls a durable actor has applied: what lets a call that is sent again be answered instead of applied again.

A caller numbers its calls to an actor from one up, in the order in which it made them, and says below which number it
has every answer. An answer is kept from the moment its call was applied until its caller has it. The record is saved
together with the actor's state, in one piece: what it knows is exactly what the state has seen.

No clock is in here: `now` is any clock that runs on, in seconds.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence
from typing import Any

import attrs

MOST_ANSWERS = 4096  # that one caller may leave without saying that it has them
MOST_CALLERS = 10_000
FORGET_S = 600.0  # a caller that has been away for longer is dead: nodes are given up much sooner

Answer = Sequence[Any]


class Verdict(enum.Enum):
    """What is to be done with a call."""

    APPLY = "apply"
    REPEAT = "repeat"  # it was applied: send the answer that was kept
    DROP = "drop"  # its caller has the answer already
    WAIT = "wait"  # too many answers of this caller are kept: first it must say that it has some
    REFUSE = "refuse"  # too many callers are remembered


@attrs.define(eq=False)
class _Caller:
    below: int = 1  # the caller has every answer below
    answers: dict[int, Answer] = attrs.field(factory=dict)
    away_since: float | None = None


class AppliedCalls:
    """The record of one actor. Answers are opaque here.

    Example: `applied.judge(caller, 1)` is (Verdict.APPLY, None) until `applied.note(caller, 1, answer)`.
    """

    def __init__(
        self,
        most_answers: int = MOST_ANSWERS,
        most_callers: int = MOST_CALLERS,
        forget_s: float = FORGET_S,
    ) -> None:
        self._callers: dict[bytes, _Caller] = {}
        self._most_answers = most_answers
        self._most_callers = most_callers
        self._forget_s = forget_s

    # Events

    def judge(self, caller: bytes, number: int) -> tuple[Verdict, Answer | None]:
        """A call has arrived. Returns what is to be done, and the answer to repeat."""
        known = self._callers.get(caller)
        if known is None:
            full = len(self._callers) >= self._most_callers
            return (Verdict.REFUSE if full else Verdict.APPLY), None
        if number < known.below:
            return Verdict.DROP, None
        answer = known.answers.get(number)
        if answer is not None:
            return Verdict.REPEAT, answer
        if len(known.answers) >= self._most_answers:
            return Verdict.WAIT, None
        return Verdict.APPLY, None

    def note(self, caller: bytes, number: int, answer: Answer) -> None:
        """A call was applied, and this is its answer."""
        known = self._callers.get(caller)
        if known is None:
            known = self._callers[caller] = _Caller()
        if number >= known.below:  # else its caller gave it up while it ran
            known.answers[number] = answer

    def acknowledged(self, caller: bytes, below: int) -> None:
        """A caller has every answer below a number, and will not ask for them again."""
        known = self._callers.get(caller)
        if known is None or below <= known.below:
            return
        known.below = below
        for number in [number for number in known.answers if number < below]:
            del known.answers[number]

    def tidy(self, now: float, is_there: Callable[[bytes], bool]) -> int:
        """Forget callers that have been away for long; return how many. To be called now and then."""
        gone = []
        for caller, known in self._callers.items():
            if is_there(caller):
                known.away_since = None
            elif known.away_since is None:
                known.away_since = now
            elif now - known.away_since >= self._forget_s:
                gone.append(caller)
        for caller in gone:
            del self._callers[caller]
        return len(gone)

    # To plain data and back

    def plain(self) -> list[Any]:
        """Return the record as plain data: [[caller, below, [[number, answer], ...]], ...]."""
        return [
            [caller, known.below, [[number, answer] for number, answer in known.answers.items()]]
            for caller, known in self._callers.items()
        ]

    def load(self, plain: Sequence[Any]) -> None:
        """Become the record that `plain` returned. How long callers have been away is counted from anew."""
        self._callers = {caller: _Caller(below, dict(answers)) for caller, below, answers in plain}

    # Views

    @property
    def callers(self) -> int:
        """How many callers are remembered."""
        return len(self._callers)

    @property
    def answers(self) -> int:
        """How many answers are kept."""
        return sum(len(known.answers) for known in self._callers.values())
