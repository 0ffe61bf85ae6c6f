"""Calls of a provider in a thread of their own, one after the other, with a bound on each: a provider may hang."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

import attrs

from shoal.errors import NodeProviderError
from shoal.interfaces.nodes import NodeProvider

_log = logging.getLogger("shoal.autoscaler")

_MOST_HANGING = 8  # threads that never came back, before no more are begun

Work = Callable[[NodeProvider], Any]
Answer = Callable[[Any, "Exception | None"], None]


@attrs.define(eq=False)
class _Call:
    what: str
    work: Work
    answer: Answer
    begun: float = 0.0
    value: Any = None
    error: Exception | None = None
    done: bool = False
    given_up: bool = False


class ProviderCalls:
    """Hands work to the provider's thread, and answers back to who calls `collect`.

    A call that takes longer than `seconds` is answered with an error; its thread and its provider are left behind, and
    the next call gets new ones.
    """

    def __init__(self, make: Callable[[], NodeProvider], seconds: float) -> None:
        self._make = make
        self._seconds = seconds
        self._generation = 0  # of providers
        self._waiting: queue.Queue[_Call | None] = queue.Queue()
        self._calls: list[_Call] = []  # in the order they were asked for, until they are answered
        self._done = threading.Event()
        self._lock = threading.Lock()  # over `done` and `given_up`, of which only one comes first
        self._hanging: list[threading.Thread] = []
        self._thread: threading.Thread | None = None

    def ask(self, what: str, work: Work, answer: Answer) -> None:
        """Have work done; `answer` gets its value, or its error, in `collect`."""
        call = _Call(what, work, answer)
        self._calls.append(call)
        if self._thread is None:
            self._begin()
        self._waiting.put(call)

    def renew(self, seconds: float) -> None:
        """Let what is asked from now on go to a new provider, with another bound: its settings have changed."""
        self._seconds = seconds
        self._generation += 1

    @property
    def busy(self) -> bool:
        """Whether something is not answered yet."""
        return bool(self._calls)

    def _begin(self) -> None:
        self._hanging = [thread for thread in self._hanging if thread.is_alive()]
        if len(self._hanging) >= _MOST_HANGING:
            return  # the calls run out of time; when a thread comes back there is room for another
        self._waiting = queue.Queue()
        self._thread = threading.Thread(
            target=self._run, args=(self._waiting,), name="shoal-provider", daemon=True
        )
        self._thread.start()

    def _run(self, waiting: queue.Queue[_Call | None]) -> None:
        provider: NodeProvider | None = None
        generation = 0
        while (call := waiting.get()) is not None:
            call.begun = time.monotonic()
            try:
                if provider is not None and generation != self._generation:
                    provider.close()
                    provider = None
                if provider is None:
                    generation = self._generation
                    provider = self._make()
                call.value = call.work(provider)
            except Exception as error:  # a stranger's provider may raise anything
                call.error = error
            with self._lock:
                call.done = True
            self._done.set()
            if call.given_up:
                break  # another thread has the work by now
        if provider is not None:
            provider.close()

    def collect(self, seconds: float) -> None:
        """Wait up to `seconds` for something to be done, and answer what is, or has taken too long."""
        self._done.wait(seconds)
        self._done.clear()
        now = time.monotonic()
        while self._calls:
            call = self._calls[0]
            with self._lock:
                late = self._thread is None or (call.begun > 0 and now - call.begun > self._seconds)
                call.given_up = late and not call.done
            if call.done and not call.given_up:
                self._calls.pop(0)
                call.answer(call.value, call.error)
            elif call.given_up:
                self._calls.pop(0)
                self._leave_behind(call)
                text = f"no answer within {self._seconds:g} s"
                call.answer(None, NodeProviderError("", call.what, text))
            else:
                return

    def _leave_behind(self, call: _Call) -> None:
        """A call hangs: what waits behind it goes to another thread."""
        if self._thread is not None:
            _log.error("the provider does not come back from: %s", call.what)
            self._hanging.append(self._thread)
            self._waiting.put(None)
            self._thread = None
        if self._calls:
            self._begin()
            for other in self._calls:
                self._waiting.put(other)

    def close(self, seconds: float) -> None:
        """End the thread once it has done what it was asked for, or when the time is over."""
        if self._thread is not None:
            self._waiting.put(None)
            self._thread.join(seconds)
            self._thread = None
