"""Who runs now: user code on a stage where only one thread moves at a time, in an order that a seed repeats.

Each execution of user code has a thread of its own, so that it can wait in the middle; but whoever lets it run waits
until it ends or waits itself. Virtual time stands still while user code computes.
"""

from __future__ import annotations

import contextvars
import threading
from collections.abc import Callable
from typing import Any

from shoal.sim.world import World

Condition = Callable[[], bool]


class Interrupted(BaseException):
    """Raised in user code that waits while its node dies. No `except Exception` catches it."""


class Actor:
    """One execution on the stage."""

    __slots__ = ("answer", "done", "go", "place", "thread", "until", "wake")

    def __init__(self, place: object) -> None:
        self.place = place  # what it runs for: the stage's user knows it by this
        self.thread: threading.Thread | None = None
        self.go = threading.Semaphore(0)
        self.until: Condition | None = None  # set while it waits
        self.wake: float | None = None  # when it gives up waiting
        self.answer: bool | None = None  # None: it is interrupted
        self.done = False


class Stage:
    """Runs user code, one at a time, and lets the world go on while all of it waits."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._waiting: list[Actor] = []  # in the order in which they began to wait
        self._by_thread: dict[int, Actor] = {}
        self._back = threading.Semaphore(0)

    def here(self) -> Actor | None:
        """Return the execution that the calling thread is, if it is one."""
        return self._by_thread.get(threading.get_ident())

    def enter(self, function: Callable[[], None], place: object) -> None:
        """Run a function on the stage; return when it has ended or waits."""
        actor = Actor(place)
        scope = contextvars.copy_context()

        def body() -> None:
            actor.go.acquire()
            self._by_thread[threading.get_ident()] = actor
            try:
                scope.run(function)
            finally:
                del self._by_thread[threading.get_ident()]
                actor.done = True
                self._back.release()

        actor.thread = threading.Thread(target=body, name="shoal-sim", daemon=True)
        actor.thread.start()
        self._let(actor)

    def _let(self, actor: Actor) -> None:
        """Let one move until it ends or waits. Called from the pump, or from the stage: then that one waits here."""
        before, self._back = self._back, threading.Semaphore(0)
        actor.go.release()
        self._back.acquire()
        self._back = before
        if actor.done and actor.thread is not None:
            actor.thread.join()

    def wait(self, until: Condition, seconds: float | None) -> bool:
        """Wait on the stage until something holds, or virtual time is up. False also if it never can.

        Raises Interrupted.
        """
        actor = self.here()
        assert actor is not None
        actor.until = until
        if seconds is not None:
            actor.wake = self.world.now + seconds
            self.world.after(seconds, _nothing)
        self._waiting.append(actor)
        self._back.release()
        actor.go.acquire()
        answer, actor.until, actor.wake, actor.answer = actor.answer, None, None, None
        if answer is None:
            raise Interrupted
        return answer

    def sleep(self, seconds: float) -> None:
        """Let virtual time pass on the stage."""
        if seconds > 0 and self.here() is not None:
            self.wait(_never, seconds)

    def move(self) -> bool:
        """Let one that waits go on, if one can; the first that began to."""
        for actor in self._waiting:
            assert actor.until is not None
            if actor.until():
                self._resume(actor, True)
                return True
            if actor.wake is not None and actor.wake <= self.world.now:
                self._resume(actor, False)
                return True
        return False

    def give_up(self) -> bool:
        """Nothing can happen any more: tell one that waits without end, the last that began to, if there is one."""
        for actor in reversed(self._waiting):
            if actor.wake is None:
                self._resume(actor, False)
                return True
        return False

    def interrupt(self, which: Callable[[Any], bool]) -> None:
        """End the waits of those whose `place` is meant, and let each come to its end."""
        for actor in [actor for actor in self._waiting if which(actor.place)]:
            if actor in self._waiting:
                self._resume(actor, None)

    def _resume(self, actor: Actor, answer: bool | None) -> None:
        self._waiting.remove(actor)
        actor.answer = answer
        self._let(actor)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)


def _never() -> bool:
    return False


def _nothing() -> None:
    """Stand for an event that only makes time pass."""
