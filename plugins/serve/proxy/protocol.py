"""uvicorn's protocol for a connection, with bounds on heads, one write for an answer, and a word when clients leave."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

from shoal.serve.proxy.app import CONNECTION

if TYPE_CHECKING:
    from shoal.serve.config import HTTPOptions

_MOST_HELD_BYTES = 1 << 16


class _Corked:
    """A transport that sends what is written in one go together: the head and the body of an answer.

    A system call is a third of what a small request costs.
    """

    __slots__ = (
        "_held",
        "_loop",
        "_size",
        "_transport",
        "get_extra_info",
        "is_closing",
        "pause_reading",
        "resume_reading",
    )

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []
        self._size = 0
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        """Send this, at the latest when the loop does its next thing."""
        if not self._held:
            self._loop.call_soon(self.flush)
        self._held.append(data)
        self._size += len(data)
        if self._size > _MOST_HELD_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send what was written."""
        held = self._held
        if held:
            self._held, self._size = [], 0
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))

    def close(self) -> None:
        """Close once all is sent."""
        self.flush()
        self._transport.close()

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Hand the connection over."""
        self.flush()
        self._transport.set_protocol(protocol)


def bounded_protocol(http: HTTPOptions) -> Any:
    """Return uvicorn's protocol with a bound on the size and the time of a request's head."""
    base: Any = AutoHTTPProtocol

    class Bounded(base):  # type: ignore[misc]
        """Counts what comes before a head is whole, and for how long."""

        transport: Any
        on_left: Callable[[], None] | None = None  # called when the client goes before its answer is whole

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(_Corked(transport, self.loop))
            self._raw = transport
            self._head_bytes = 0
            self._head_timer = self.loop.call_later(http.header_timeout_s, self._too_slow)

        def data_received(self, data: bytes) -> None:
            cycle = self.cycle
            waits = cycle is None or cycle.response_complete
            super().data_received(data)
            if self.cycle is not cycle:  # the head is whole
                self._head_bytes = 0
                if self._head_timer is not None:
                    self._head_timer.cancel()
                    self._head_timer = None
                self.cycle.scope[CONNECTION] = self
            elif waits:
                self._head_bytes += len(data)
                if self._head_timer is None:
                    self._head_timer = self.loop.call_later(http.header_timeout_s, self._too_slow)
                if self._head_bytes > http.max_header_bytes and not self.transport.is_closing():
                    self._refuse(431, b"Request Header Fields Too Large")

        def connection_lost(self, exc: Exception | None) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            super().connection_lost(exc)
            if self.on_left is not None:
                self.on_left()

        def handle_websocket_upgrade(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None
            self.transport.flush()
            self.transport = self._raw
            super().handle_websocket_upgrade()

        def _too_slow(self) -> None:
            self._head_timer = None
            if not self.transport.is_closing():
                self._refuse(408, b"Request Timeout")

        def _refuse(self, status: int, reason: bytes) -> None:
            self.transport.write(
                b"HTTP/1.1 %d %s\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\n"
                b"connection: close\r\n\r\n%s\n" % (status, reason, len(reason) + 1, reason)
            )
            self.transport.close()

    return Bounded
