"""Functions of users that are called for several batches at once: coroutine functions, and functions in threads."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

CALLS_AT_ONCE = 16  # of a coroutine function, unless the pool says otherwise


def is_async(fn: Any) -> bool:
    """Tell whether calling a function, an instance or an instance of a class gives something to be awaited.

    Example: `is_async(model)  # True where model.__call__ is an `async def``
    """
    known = getattr(fn, "is_async", None)
    if isinstance(known, bool):
        return known
    called = fn if inspect.isroutine(fn) else getattr(fn, "__call__", fn)  # noqa: B004  the method itself is wanted
    return inspect.iscoroutinefunction(called) or inspect.isasyncgenfunction(called)


def called_at_once(call: Callable[[Any], Any], at_once: int | None, in_threads: bool) -> Calls:
    """Return what calls a function for several values at once: in an event loop where it is async, or in threads.

    Example: `list(called_at_once(ask, 8, in_threads=False)(batches))`
    """
    if is_async(call):
        return _InLoop(call, at_once or CALLS_AT_ONCE)
    if in_threads and at_once is not None and at_once > 1:
        return _InThreads(call, at_once)
    return _OneByOne(call)


class Bound:
    """A function with what comes after its first argument, and what comes before: `prepare` makes the argument."""

    def __init__(
        self,
        fn: Callable[..., Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
        prepare: Callable[[Any], Any] | None = None,
    ) -> None:
        self.is_async = is_async(fn)
        self._fn = fn
        self._args = args
        self._kwargs = dict(kwargs or {})
        self._prepare = prepare

    def __call__(self, value: Any) -> Any:
        """Call it."""
        given = value if self._prepare is None else self._prepare(value)
        return self._fn(given, *self._args, **self._kwargs)


class Calls:
    """Calls a function for each value and yields what it returned, or raised, in the order of the values."""

    def __init__(self, call: Callable[[Any], Any], at_once: int = 1) -> None:
        self._call = call
        self._at_once = at_once

    def __call__(self, values: Iterable[Any]) -> Iterator[tuple[Any, Any, Exception | None]]:
        """Yield each value with its result, or with what was raised."""
        running: deque[tuple[Any, Future[Any]]] = deque()
        try:
            for value in values:
                running.append((value, self._begin(value)))
                if len(running) >= self._at_once:
                    yield _ended(*running.popleft())
            while running:
                yield _ended(*running.popleft())
        finally:
            for _, future in running:
                future.cancel()

    def _begin(self, value: Any) -> Future[Any]:
        raise NotImplementedError


class _OneByOne(Calls):
    """Calls in this thread, one after the other."""

    def __call__(self, values: Iterable[Any]) -> Iterator[tuple[Any, Any, Exception | None]]:
        for value in values:
            try:
                result = self._call(value)
            except Exception as error:
                yield value, None, error
            else:
                yield value, result, None


class _InThreads(Calls):
    """Calls in threads of its own, which end with it."""

    def __init__(self, call: Callable[[Any], Any], at_once: int) -> None:
        super().__init__(call, at_once)
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="shoal-data-call")

    def _begin(self, value: Any) -> Future[Any]:
        return self._threads.submit(self._call, value)

    def __del__(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class _InLoop(Calls):
    """Calls in an event loop with a thread of its own: the same one for all calls, so that clients stay usable."""

    def __init__(self, call: Callable[[Any], Any], at_once: int) -> None:
        super().__init__(call, at_once)
        self._loop: asyncio.AbstractEventLoop | None = None

    def _begin(self, value: Any) -> Future[Any]:
        if self._loop is None:
            self._loop = asyncio.new_event_loop()
            # The thread knows the loop only, so that nothing but this object's users keeps it alive.
            threading.Thread(target=_run, args=(self._loop,), name="shoal-data-async", daemon=True).start()
        return asyncio.run_coroutine_threadsafe(_awaited(self._call, value), self._loop)

    def __del__(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._loop.stop)


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


async def _awaited(call: Callable[[Any], Any], value: Any) -> Any:
    """What a coroutine function returns; all that an async generator yields."""
    made = call(value)
    if hasattr(made, "__aiter__"):
        return iter([each async for each in made])
    return await made


def _ended(value: Any, future: Future[Any]) -> tuple[Any, Any, Exception | None]:
    try:
        return value, future.result(), None
    except Exception as error:
        return value, None, error
