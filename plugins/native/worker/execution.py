"""What a worker knows of the call that runs, and of the lease that it runs under."""

from __future__ import annotations

import contextvars
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

    from shoal.native.client.peers import Peer


class Execution:
    """One running call. `handle` is the asyncio task of an async method."""

    __slots__ = ("attempt", "cancelled", "counter", "handle", "name", "peer", "printed", "taken", "thread")

    def __init__(self, counter: int, peer: Peer, name: str, attempt: int = 0) -> None:
        self.counter = counter
        self.peer = peer
        self.name = name
        self.attempt = attempt
        self.cancelled = False
        self.handle: asyncio.Task[Any] | None = None
        self.thread = 0  # the thread that runs it, if that can be interrupted
        self.printed = ""  # the last of what it has printed
        self.taken = 0  # items of a generator that its consumer has read


# Calls that run beside each other (async and threaded actors) each see their own; others use Worker.current.
running: contextvars.ContextVar[Execution | None] = contextvars.ContextVar("shoal_execution", default=None)
