"""Whose turn it is: user code in threads of which one moves at a time, chosen by a seed at every call of the engine.

A strand is one execution of user code: the program itself, a task, a call of an actor. Whoever moves hands over when it
calls the engine, waits or ends; nothing else switches, so the same seed gives the same order.
"""

from __future__ import annotations

import contextvars
import random
import threading
import time
from collections.abc import Callable

Condition = Callable[[], bool]

_SLICE = (
    0.01  # seconds between two looks while only an event loop, which is not ours to order, can bring news
)
_SECONDS_TO_END = 10.0
_TRACE = 100_000  # turns that are remembered


class Strand:
    """One execution of user code."""

    __slots__ = ("answer", "deadline", "go", "label", "thread", "until", "what")

    def __init__(self, label: str, thread: threading.Thread | None) -> None:
        self.label = label
        self.thread = thread  # None: the program's own
        self.go = threading.Semaphore(0)
        self.until: Condition | None = None
        self.deadline: float | None = None  # None: it waits without end
        self.answer = True
        self.what = ""  # what it waits for, in words


class Turns:
    """Runs strands one at a time. `outside` tells whether something that is not ordered here still computes."""

    def __init__(self, seed: int, outside: Condition) -> None:
        self.trace: list[str] = []
        self.ending = False
        self._outside = outside
        self._chance = random.Random(seed)
        self._fresh: list[tuple[str, Callable[[], None], contextvars.Context]] = []
        self._waiting: list[Strand] = []
        self._here = threading.local()
        self._back = threading.Semaphore(0)
        self._here.strand = Strand("the program", None)

    def here(self) -> Strand | None:
        """Return the strand that the calling thread is, if it is one."""
        strand: Strand | None = getattr(self._here, "strand", None)
        return strand

    def pick(self, count: int) -> int:
        """Return one of `count` choices."""
        return self._chance.randrange(count)

    def start(self, label: str, function: Callable[[], None]) -> None:
        """Let a function have its turn some time."""
        if not self.ending:
            self._fresh.append((label, function, contextvars.copy_context()))

    def pause(self, until: Condition | None = None, seconds: float | None = None) -> bool:
        """Hand over; return when it is this strand's turn again and `until` holds.

        False: it does not, and time was up (`seconds`), or nothing can move any more that would make it so.
        """
        me = self.here()
        assert me is not None
        if self.ending:
            return until is None or until()
        me.until, me.deadline = until, None if seconds is None else time.monotonic() + seconds
        self._waiting.append(me)
        chosen = self._choose()
        if chosen is not me:
            chosen.go.release()
            me.go.acquire()
        me.until, me.what = None, ""
        return me.answer

    def waiting(self) -> list[Strand]:
        """Return the strands that wait for something."""
        return [strand for strand in self._waiting if strand.until is not None]

    def end(self) -> None:
        """Let every strand but the program's come to its end; what never began never will."""
        self.ending = True
        self._fresh.clear()
        for strand in [one for one in self._waiting if one.thread is not None]:
            self._waiting.remove(strand)
            strand.answer = False
            strand.go.release()
            self._back.acquire(timeout=_SECONDS_TO_END)
            assert strand.thread is not None
            strand.thread.join(_SECONDS_TO_END)

    def _choose(self) -> Strand:
        while True:
            ready = [strand for strand in self._waiting if strand.until is None or strand.until()]
            count = len(ready) + len(self._fresh)
            if count:
                index = self._chance.randrange(count) if count > 1 else 0
                strand = ready[index] if index < len(ready) else self._begin(index - len(ready))
                return self._resume(strand, True)
            now = time.monotonic()
            timed = [strand for strand in self._waiting if strand.deadline is not None]
            if not self._outside():
                # Nothing can come any more: time passes for who waits with a limit, else the last to wait is told.
                return self._resume(min(timed, key=_deadline) if timed else self._waiting[-1], False)
            late = [strand for strand in timed if _deadline(strand) <= now]
            if late:
                return self._resume(late[0], False)
            time.sleep(_SLICE)

    def _resume(self, strand: Strand, answer: bool) -> Strand:
        if strand in self._waiting:
            self._waiting.remove(strand)
        strand.answer = answer
        if len(self.trace) < _TRACE:
            self.trace.append(strand.label)
        return strand

    def _begin(self, index: int) -> Strand:
        label, function, scope = self._fresh.pop(index)
        strand = Strand(label, None)

        def body() -> None:
            strand.go.acquire()
            self._here.strand = strand
            try:
                scope.run(function)
            finally:
                if self.ending:
                    self._back.release()
                else:
                    self._choose().go.release()

        strand.thread = threading.Thread(target=body, name="shoal-inline-strand", daemon=True)
        strand.thread.start()
        return strand


def _deadline(strand: Strand) -> float:
    assert strand.deadline is not None
    return strand.deadline
