"""News for browsers, by server-sent events: one thread looks at the session for all of them, while there are any."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.dashboard.api.overview import overview
from shoal.errors import ShoalError

if TYPE_CHECKING:
    from shoal.dashboard.context import SessionContext

_log = logging.getLogger("shoal.dashboard")
_PERIOD_SECONDS = 1.0
_ALIVE_SECONDS = 15.0  # without news a comment is sent, so that nobody on the way hangs up
MOST_BROWSERS = 64


class News:
    """What browsers are told. `follow` is for the loop's thread."""

    def __init__(self, context: SessionContext) -> None:
        self._context = context
        self._followers: dict[object, tuple[asyncio.AbstractEventLoop, asyncio.Queue[bytes]]] = {}
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._last = b""

    @property
    def is_full(self) -> bool:
        """Whether one more browser would be too many."""
        return len(self._followers) >= MOST_BROWSERS

    async def follow(self) -> AsyncIterator[bytes]:
        """Yield what is told, from now on, until the server ends. A browser that is slow misses what is old."""
        queue: asyncio.Queue[bytes] = asyncio.Queue(maxsize=1)
        me = object()
        with self._lock:
            self._followers[me] = (asyncio.get_running_loop(), queue)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="shoal-news", daemon=True)
                self._thread.start()
        try:
            if self._last:
                yield self._last
            while not self._context.ended.is_set():
                try:
                    yield await asyncio.wait_for(queue.get(), _ALIVE_SECONDS)
                except (TimeoutError, asyncio.TimeoutError):
                    yield b": nothing new\n\n"
        finally:
            with self._lock:
                del self._followers[me]

    def _look(self) -> None:
        while True:
            try:
                said = _event("tick", overview(self._context))
            except ShoalError as error:
                said = _event("trouble", {"message": str(error)})
            except Exception:  # the page says that it is not up to date, and goes on
                _log.exception("the session could not be looked at")
                said = _event("trouble", {"message": "the server could not look at the session; see its log"})
            self._last = said
            with self._lock:
                if not self._followers:
                    self._thread = None
                    return
                followers = list(self._followers.values())
            for loop, queue in followers:
                try:
                    loop.call_soon_threadsafe(_replace, queue, said)
                except RuntimeError:  # the loop is closed: the server ends
                    return
            if self._context.ended.wait(_PERIOD_SECONDS):
                return


def _replace(queue: asyncio.Queue[bytes], said: bytes) -> None:
    while not queue.empty():
        queue.get_nowait()
    queue.put_nowait(said)


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + msgspec.json.encode(data) + b"\n\n"
