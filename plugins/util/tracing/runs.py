"""What runs in place of the user's functions when they are followed: the same, inside a span."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from typing import Any

import shoal
from shoal.errors import ConfigError, describe
from shoal.interfaces.current import current
from shoal.interfaces.following import Follower

CALL = "__shoal_call__"  # the method by which engines run any function on an actor's instance

Carrier = dict[str, str]  # what OpenTelemetry's propagators write: whose child a span is

_lock = threading.Lock()
_done: set[str] = set()  # hooks that ran in this process


def set_up(hook: str) -> None:
    """Run a hook, "module:function", unless it has run in this process. Raises ConfigError."""
    if hook in _done:
        return
    with _lock:
        if hook in _done:
            return
        module, _, name = hook.partition(":")
        try:
            importlib.import_module("opentelemetry.trace")
            function = getattr(importlib.import_module(module), name)
        except ImportError as error:
            raise ConfigError(
                f"tracing needs the extra `tracing` (pip install 'shoal[tracing]') and a hook that can be imported; "
                f"{hook!r} cannot: {error}"
            ) from error
        except (AttributeError, ValueError):
            raise ConfigError(
                f"a tracing hook is 'module:function', and that function must be there: not {describe(hook)}"
            ) from None
        function()
        _done.add(hook)


@contextlib.contextmanager
def span(name: str, kind: str, facts: Mapping[str, str], parent: Carrier | None = None) -> Iterator[Carrier]:
    """Open a span and give what makes others its children. An error that leaves the block is noted in it."""
    from opentelemetry import propagate, trace

    context = propagate.extract(parent) if parent is not None else None
    tracer = trace.get_tracer("shoal")
    with tracer.start_as_current_span(
        name, context=context, kind=getattr(trace.SpanKind, kind), attributes=facts
    ):
        carrier: Carrier = {}
        propagate.inject(carrier)
        yield carrier


class TracedFunction:
    """A function whose first argument says where its span belongs."""

    def __init__(self, function: Callable[..., Any], name: str, hook: str, follower: Follower) -> None:
        # The engine looks at these, and shows them.
        functools.update_wrapper(self, function, updated=())
        self._function = function
        self._name = name
        self._hook = hook
        self._follower = follower

    def __call__(self, carrier: Carrier, *args: Any, **kwargs: Any) -> Any:
        call = functools.partial(self._function, *args, **kwargs)
        return _run(call, f"{self._name} task.execute", self._hook, self._follower, carrier)

    def __reduce__(self) -> tuple[Any, ...]:
        return TracedFunction, (self._function, self._name, self._hook, self._follower)


class TracedMethod:
    """A method by name, called as `function(instance, carrier, …)`."""

    def __init__(self, name: str, method: str, hook: str, follower: Follower) -> None:
        self._name = name
        self._method = method
        self._hook = hook
        self._follower = follower

    def __call__(self, instance: Any, carrier: Carrier, *args: Any, **kwargs: Any) -> Any:
        call = functools.partial(getattr(instance, self._method), *args, **kwargs)
        return _run(call, f"{self._name} actor.execute", self._hook, self._follower, carrier)

    def __reduce__(self) -> tuple[Any, ...]:
        return TracedMethod, (self._name, self._method, self._hook, self._follower)


def _run(call: functools.partial[Any], name: str, hook: str, follower: Follower, carrier: Carrier) -> Any:
    set_up(hook)
    if current.follower is None:
        current.follower = follower  # what this call submits is followed too
    function = call.func
    # A coroutine or generator runs later, and its span is open as long as that.
    if inspect.iscoroutinefunction(function):
        return _awaited(call, name, carrier)
    if inspect.isasyncgenfunction(function):
        return _async_items(call, name, carrier)
    if inspect.isgeneratorfunction(function):
        return _items(call, name, carrier)
    with span(name, "CONSUMER", _facts(), carrier):
        return call()


async def _awaited(call: functools.partial[Any], name: str, carrier: Carrier) -> Any:
    with span(name, "CONSUMER", _facts(), carrier):
        return await call()


async def _async_items(call: functools.partial[Any], name: str, carrier: Carrier) -> AsyncIterator[Any]:
    with span(name, "CONSUMER", _facts(), carrier):
        async for item in call():
            yield item


def _items(call: functools.partial[Any], name: str, carrier: Carrier) -> Iterator[Any]:
    with span(name, "CONSUMER", _facts(), carrier):
        yield from call()


def _facts() -> dict[str, str]:
    where = shoal.get_runtime_context()
    facts = {
        "shoal.job": where.get_job_id(),
        "shoal.node": where.get_node_id(),
        "shoal.worker": where.get_worker_id(),
        "shoal.task": where.get_task_id(),
        "shoal.actor": where.get_actor_id(),
    }
    return {name: value for name, value in facts.items() if value}
