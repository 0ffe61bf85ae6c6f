"""Running users' functions, of whichever kind they are."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
from typing import Any


def kind_of(function: Any) -> str:
    """Return "async", "generator" or "sync": how a method is to be run."""
    target = function
    while isinstance(target, functools.partial):
        target = target.func
    if not inspect.isroutine(target):
        target = type(target).__call__
    if inspect.isasyncgenfunction(target) or inspect.isgeneratorfunction(target):
        return "generator"
    return "async" if inspect.iscoroutinefunction(target) else "sync"


_END = object()


async def in_thread(generator: Any) -> Any:
    """Yield what a plain generator yields, which runs in threads."""
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    try:
        while True:
            value = await loop.run_in_executor(None, functools.partial(context.run, next, generator, _END))
            if value is _END:
                return
            yield value
    finally:
        generator.close()
