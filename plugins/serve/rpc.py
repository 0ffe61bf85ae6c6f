"""gRPC at a replica: calls of the user's methods with messages, and the messages that clients send in a row."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator
from typing import Any

from shoal.errors import describe
from shoal.serve.exceptions import gRPCStatusError
from shoal.serve.grpc_util import RayServegRPCContext, gRPCInputStream

_MOST_MESSAGES = 16  # of one client that wait to be read
_END: Any = object()


class Inboxes:
    """What clients that stream have sent to one replica, by the name that the proxy gave the call."""

    def __init__(self) -> None:
        self._open: dict[str, tuple[asyncio.Queue[Any], asyncio.Event]] = {}

    def open(self, name: str) -> gRPCInputStream:
        """Return what the user's method reads. Pushes to the name are taken from now on."""
        queue: asyncio.Queue[Any] = asyncio.Queue(_MOST_MESSAGES)
        gone = asyncio.Event()
        self._open[name] = queue, gone

        async def messages() -> AsyncIterator[Any]:
            while (message := await queue.get()) is not _END:
                yield message

        return gRPCInputStream(messages(), gone)

    async def push(self, name: str, message: Any, over: bool) -> bool:
        """Hand on a message, or the end; waits for room. False: nobody reads any more."""
        found = self._open.get(name)
        if found is None or found[1].is_set():
            return False
        queue, gone = found
        put = asyncio.ensure_future(queue.put(_END if over else message))
        closed = asyncio.ensure_future(gone.wait())
        try:
            await asyncio.wait({put, closed}, return_when=asyncio.FIRST_COMPLETED)
            return put.done()
        finally:
            put.cancel()
            closed.cancel()

    def close(self, name: str) -> None:
        """The call is over: whoever pushes stops."""
        found = self._open.pop(name, None)
        if found is not None:
            found[1].set()


def named(function: Any, context: RayServegRPCContext) -> dict[str, Any]:
    """Return the context as an argument, if the method has a parameter `grpc_context`."""
    try:
        takes = "grpc_context" in inspect.signature(function).parameters
    except (TypeError, ValueError):  # written in C
        return {}
    return {"grpc_context": context} if takes else {}


def as_bytes(value: Any, method: str) -> bytes:
    """Return a message as its bytes. Raises TypeError for what is none."""
    write = getattr(value, "SerializeToString", None)
    if write is None:
        raise TypeError(
            f"{method} answers gRPC: it must return the message that its proto says, not {describe(value)}"
        )
    return bytes(write())


def failure(error: Exception, context: RayServegRPCContext) -> Exception:
    """Return what goes to the proxy for what a method raised: with the status that it had set, if it had."""
    if isinstance(error, gRPCStatusError) or context.code() is None:
        return error
    return gRPCStatusError(error, context.code(), context.details(), tuple(context.trailing_metadata()))
