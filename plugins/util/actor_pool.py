"""A fixed set of actors that share a stream of work."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

import shoal
from shoal import ActorHandle, ObjectRef
from shoal.errors import GetTimeout, describe

V = TypeVar("V")
Work = Callable[[ActorHandle[Any], Any], ObjectRef[Any]]


class ActorPool:
    """Gives each value to an actor that has nothing to do; what finds none free waits its turn.

    Parameters: `actors` are handles. A pool belongs to one thread.

    Example:
        pool = ActorPool([Worker.remote() for _ in range(4)])
        list(pool.map(lambda actor, value: actor.double.remote(value), [1, 2, 3]))  # [2, 4, 6]
    """

    def __init__(self, actors: Iterable[ActorHandle[Any]]) -> None:
        self._free: deque[ActorHandle[Any]] = deque()
        self._waiting: deque[tuple[int, Callable[[ActorHandle[Any], Any], Any], Any]] = deque()
        self._running: dict[ObjectRef[Any], tuple[int, ActorHandle[Any]]] = {}
        self._refs: dict[int, ObjectRef[Any]] = {}  # what was started and not fetched, by number
        self._submitted = 0
        self._next = 0
        for actor in actors:
            self._take(actor)

    def map(self, fn: Work, values: Iterable[V]) -> Iterator[Any]:
        """Return an iterator over the results, in the order of `values`. Work begins at once.

        `fn(actor, value)` returns the reference that the actor's method gave. Results of earlier calls that nobody
        fetched are dropped. The iterator raises what a call raised, when it comes to it.
        """
        self._drop()
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next)

    def map_unordered(self, fn: Work, values: Iterable[V]) -> Iterator[Any]:
        """Return an iterator over the results, each as soon as it is there."""
        self._drop()
        for value in values:
            self.submit(fn, value)
        return self._results(self.get_next_unordered)

    def submit(self, fn: Callable[[ActorHandle[Any], Any], Any], value: Any) -> None:
        """Start `fn(actor, value)` on a free actor, or as soon as one is free."""
        number = self._submitted
        self._submitted += 1
        self._waiting.append((number, fn, value))
        self._start()

    def has_next(self) -> bool:
        """Tell whether there are results to fetch, now or later."""
        return bool(self._refs or self._waiting)

    def get_next(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return the next result in the order of submission, waiting up to `timeout` seconds.

        With `ignore_if_timedout` a result that is late is given up, and the next call goes on with the one after it.
        Raises StopIteration if nothing is left, TimeoutError, and what the call raised.
        """
        self._need_next()
        while self._next not in self._refs and not any(
            number == self._next for number, _, _ in self._waiting
        ):
            self._next += 1  # it was fetched out of order
        deadline = _deadline(timeout)
        while self._next not in self._refs:  # it waits for an actor
            self._free_one(deadline)
        ref = self._refs[self._next]
        if not self._is_ready(ref, deadline) and not ignore_if_timedout:
            raise GetTimeout(f"the next result was not there after {timeout} seconds")
        return self._fetch(self._next, ref, deadline)

    def get_next_unordered(self, timeout: float | None = None, ignore_if_timedout: bool = False) -> Any:
        """Return whichever result is there first, waiting up to `timeout` seconds.

        Raises StopIteration if nothing is left, TimeoutError, and what the call raised. `ignore_if_timedout` changes
        nothing about that: there is no one result to give up.
        """
        self._need_next()
        ready, _ = shoal.wait(list(self._refs.values()), num_returns=1, timeout=timeout)
        if not ready:
            raise GetTimeout(f"no result was there after {timeout} seconds")
        number = next(number for number, ref in self._refs.items() if ref == ready[0])
        return self._fetch(number, ready[0], _deadline(0))

    def has_free(self) -> bool:
        """Tell whether an actor has nothing to do."""
        self._collect()
        return bool(self._free) and not self._waiting

    def pop_idle(self) -> ActorHandle[Any] | None:
        """Take an actor that has nothing to do out of the pool and return it; None if all are busy."""
        return self._free.popleft() if self.has_free() else None

    def push(self, actor: ActorHandle[Any]) -> None:
        """Add an actor. Raises ValueError for one that is in the pool already."""
        if actor in self._free or any(actor == busy for _, busy in self._running.values()):
            raise ValueError(f"{actor!r} is in this pool already")
        self._take(actor)
        self._start()

    def _take(self, actor: ActorHandle[Any]) -> None:
        if not isinstance(actor, ActorHandle):
            raise TypeError(f"an ActorPool holds actors' handles, not {describe(actor)}")
        self._free.append(actor)

    def _start(self) -> None:
        while self._waiting and self._free:
            number, fn, value = self._waiting.popleft()
            actor = self._free.popleft()
            try:
                ref = fn(actor, value)
            except BaseException:
                self._free.appendleft(actor)
                raise
            if not isinstance(ref, ObjectRef):
                self._free.appendleft(actor)
                raise TypeError(
                    f"the function must return the ObjectRef of an actor's call, not {describe(ref)}: "
                    "lambda actor, value: actor.method.remote(value)"
                )
            self._refs[number] = ref
            self._running[ref] = (number, actor)

    def _collect(self) -> None:
        """Free the actors whose calls are over."""
        if self._running:
            refs = list(self._running)
            ready, _ = shoal.wait(refs, num_returns=len(refs), timeout=0)
            for ref in ready:
                self._free.append(self._running.pop(ref)[1])
            self._start()

    def _free_one(self, deadline: float | None) -> None:
        self._collect()
        if self._free or not self._running:
            if not self._running:
                raise RuntimeError("work waits, but the pool has no actors: push() one")
            return
        ready, _ = shoal.wait(list(self._running), num_returns=1, timeout=_left(deadline))
        if not ready:
            raise GetTimeout("no actor became free in time")

    def _is_ready(self, ref: ObjectRef[Any], deadline: float | None) -> bool:
        ready, _ = shoal.wait([ref], num_returns=1, timeout=_left(deadline))
        return bool(ready)

    def _fetch(self, number: int, ref: ObjectRef[Any], deadline: float | None) -> Any:
        del self._refs[number]
        if number == self._next:
            self._next += 1
        entry = self._running.pop(ref, None)
        if entry is not None:
            self._free.append(entry[1])
            self._start()
        return shoal.get(ref, timeout=_left(deadline))

    def _need_next(self) -> None:
        self._collect()
        if not self.has_next():
            raise StopIteration("there are no more results to get")

    def _drop(self) -> None:
        """Forget results that nobody fetched; their actors become free as they finish."""
        self._waiting.clear()
        self._refs.clear()
        self._next = self._submitted

    def _results(self, fetch: Callable[[], Any]) -> Iterator[Any]:
        while self.has_next():
            yield fetch()


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _left(deadline: float | None) -> float | None:
    return None if deadline is None else max(0.0, deadline - time.monotonic())
