"""`@batch`: calls that come at about the same time run as one, with a list."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import attrs

from shoal.errors import ConfigError, describe


@attrs.define
class _Settings:
    """How a batch is gathered; shared by all objects of a class, and changeable while it runs."""

    most: int
    wait_s: float
    concurrent: int
    size_of: Callable[[list[Any]], int] | None


@attrs.define(eq=False)
class _Item:
    """One call that waits: its arguments and who wants the result."""

    args: tuple[Any, ...]
    future: asyncio.Future[Any]


class _Queue:
    """The calls of one object (or function) that wait, and the batches that run."""

    def __init__(self, function: Callable[..., Any], settings: _Settings) -> None:
        self._function = function
        self._settings = settings
        self._streams = inspect.isasyncgenfunction(function)
        self._items: deque[_Item] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def put(self, owner: tuple[Any, ...], args: tuple[Any, ...]) -> asyncio.Future[Any]:
        """Have a call join the next batch."""
        loop = asyncio.get_running_loop()
        item = _Item(args, loop.create_future())
        self._items.append(item)
        self._look(owner)
        return item.future

    def _look(self, owner: tuple[Any, ...], overdue: bool = False) -> None:
        self._items = deque(each for each in self._items if not each.future.done())
        while self._items and len(self._running) < self._settings.concurrent:
            batch = self._take(overdue)
            if not batch:
                break
            overdue = False
            # A batch belongs to no one request: it runs in a context of its own.
            task = contextvars.Context().run(asyncio.get_running_loop().create_task, self._run(owner, batch))
            self._running.add(task)
            task.add_done_callback(functools.partial(self._ended, owner))
        if self._items and self._timer is None and len(self._running) < self._settings.concurrent:
            self._timer = asyncio.get_running_loop().call_later(self._settings.wait_s, self._overdue, owner)

    def _take(self, overdue: bool) -> list[_Item]:
        settings = self._settings
        if settings.size_of is None:
            count = min(len(self._items), settings.most)
            full = count >= settings.most
        else:
            count, full = 0, False
            taken: list[Any] = []
            for each in self._items:
                taken.append(each.args[0])
                if settings.size_of(taken) > settings.most and count:
                    full = True
                    break
                count += 1
        if not full and not overdue and settings.wait_s > 0:
            return []
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return [self._items.popleft() for _ in range(count)]

    def _overdue(self, owner: tuple[Any, ...]) -> None:
        self._timer = None
        self._look(owner, overdue=True)

    def _ended(self, owner: tuple[Any, ...], task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._look(owner)

    async def _run(self, owner: tuple[Any, ...], batch: list[_Item]) -> None:
        columns = [list(column) for column in zip(*(each.args for each in batch), strict=True)]
        try:
            if self._streams:
                await self._stream(self._function(*owner, *columns), batch)
                return
            results = await self._function(*owner, *columns)
            _check(self._function, results, batch)
            for each, result in zip(batch, results, strict=True):
                if not each.future.done():
                    if isinstance(result, Exception):
                        each.future.set_exception(result)
                    else:
                        each.future.set_result(result)
        except BaseException as error:  # of the user's function: it is every call's
            for each in batch:
                if not each.future.done():
                    each.future.set_exception(
                        asyncio.CancelledError() if isinstance(error, asyncio.CancelledError) else error
                    )
            if not isinstance(error, Exception):
                raise

    async def _stream(self, generator: Any, batch: list[_Item]) -> None:
        queues = [asyncio.Queue[Any](64) for _ in batch]
        for each, queue in zip(batch, queues, strict=True):
            if not each.future.done():
                each.future.set_result(queue)
        try:
            async for results in generator:
                _check(self._function, results, batch)
                for queue, result in zip(queues, results, strict=True):
                    await queue.put((result, None))
        except Exception as error:  # of the user's function: it is every call's
            for queue in queues:
                await queue.put((None, error))
        for queue in queues:
            await queue.put((None, StopAsyncIteration()))


def _check(function: Any, results: Any, batch: list[_Item]) -> None:
    if not isinstance(results, (list, tuple)) or len(results) != len(batch):
        got = f"{len(results)} results" if isinstance(results, (list, tuple)) else describe(results)
        raise TypeError(
            f"{function.__qualname__} got a batch of {len(batch)} and gave back {got}: @serve.batch needs a list with "
            "one result for each"
        )


async def _pieces(future: asyncio.Future[Any]) -> AsyncIterator[Any]:
    queue = await future
    while True:
        value, error = await queue.get()
        if isinstance(error, StopAsyncIteration):
            return
        if error is not None:
            raise error
        yield value


def batch(
    _func: Callable[..., Any] | None = None,
    *,
    max_batch_size: int = 10,
    batch_wait_timeout_s: float = 0.01,
    max_concurrent_batches: int = 1,
    batch_size_fn: Callable[[list[Any]], int] | None = None,
) -> Any:
    """Gather calls of an async method (or function) into batches: it gets lists and returns a list, callers one each.

    Parameters: a batch begins when it has `max_batch_size` items, or `batch_wait_timeout_s` seconds after its
    first one. `max_concurrent_batches` run at once. With `batch_size_fn`, which takes the list of first
    arguments, the size is what it says. An async generator yields a list each time, and callers iterate. An
    exception among the results is raised in the call that it stands for; one that is raised, in all. Raises
    ConfigError for wrong values, TypeError for a function that is not async.

    The method's `set_max_batch_size(…)` and `set_batch_wait_timeout_s(…)` change these later, from `reconfigure` say.

    Example: `@serve.batch(max_batch_size=32)` above `async def predict(self, inputs: list) -> list`.
    """
    _check_count("max_batch_size", max_batch_size)
    _check_count("max_concurrent_batches", max_concurrent_batches)
    _check_wait(batch_wait_timeout_s)
    settings = _Settings(max_batch_size, batch_wait_timeout_s, max_concurrent_batches, batch_size_fn)

    def decorate(function: Callable[..., Any]) -> Any:
        if not inspect.iscoroutinefunction(function) and not inspect.isasyncgenfunction(function):
            raise TypeError(f"@serve.batch is for async functions and methods, not {describe(function)}")
        return _wrap(function, settings)

    return decorate if _func is None else decorate(_func)


def _wrap(function: Any, settings: _Settings) -> Any:
    signature = inspect.signature(function)
    is_method = next(iter(signature.parameters), "") == "self"

    def put(args: tuple[Any, ...], kwargs: dict[str, Any]) -> asyncio.Future[Any]:
        if kwargs:
            bound = signature.bind(*args, **kwargs)
            bound.apply_defaults()
            args = tuple(bound.arguments.values())
        owner, items = (args[:1], args[1:]) if is_method else ((), args)
        if not items:
            raise TypeError(f"{function.__qualname__} is batched and needs an argument")
        # A loop of its own has a queue of its own: local testing mode and tests have several.
        queues = kept_by(owner[0] if owner else call, "__serve_batches__")
        key = (function.__qualname__, id(asyncio.get_running_loop()))
        queue = queues.get(key)
        if queue is None:
            queue = queues[key] = _Queue(function, settings)
        return queue.put(owner, items)

    @functools.wraps(function)
    async def call_once(*args: Any, **kwargs: Any) -> Any:
        return await put(args, kwargs)

    @functools.wraps(function)
    async def iterate(*args: Any, **kwargs: Any) -> Any:
        async for each in _pieces(put(args, kwargs)):
            yield each

    def set_max_batch_size(size: int) -> None:
        _check_count("max_batch_size", size)
        settings.most = size

    def set_batch_wait_timeout_s(seconds: float) -> None:
        _check_wait(seconds)
        settings.wait_s = seconds

    call: Any = iterate if inspect.isasyncgenfunction(function) else call_once
    call.set_max_batch_size = set_max_batch_size
    call.set_batch_wait_timeout_s = set_batch_wait_timeout_s
    return call


def kept_by(owner: Any, name: str) -> dict[Any, Any]:
    """Return a mapping that lives as long as an object (or function) does."""
    kept: dict[Any, Any] = vars(owner).setdefault(name, {})
    return kept


def _check_count(name: str, value: Any) -> None:
    if type(value) is not int or value < 1:
        raise ConfigError(f"{name} must be a whole number ≥ 1, not {describe(value)}")


def _check_wait(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < float("inf"):
        raise ConfigError(f"batch_wait_timeout_s must be a number of seconds ≥ 0, not {describe(value)}")
