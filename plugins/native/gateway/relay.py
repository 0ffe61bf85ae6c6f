"""One channel: bytes between the client and a process of the cluster, which nobody looks at here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from shoal.native.wire import line as words

if TYPE_CHECKING:
    from shoal.native.gateway.gateway import Gateway

_READ_AHEAD = 1 << 20  # bytes for the process that may wait here for it


class Relay(asyncio.Protocol):
    """The process's side of a channel. Each side sends only as much as the other has given credit for."""

    def __init__(self, gateway: Gateway, channel: int) -> None:
        self._gateway = gateway
        self.channel = channel
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []  # came before the process was reached
        self._credit = words.CHANNEL_WINDOW
        self._unpaid = 0
        self._writing = True  # the process takes what it is sent
        self._reading = True
        self._over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        if self._over:
            transport.abort()
            return
        transport.set_write_buffer_limits(_READ_AHEAD)
        self._transport = transport
        early, self._early = self._early, []
        for data in early:
            self.write(data)

    # From the process

    def data_received(self, data: bytes) -> None:
        view = memoryview(data)
        for start in range(0, len(data), words.PIECE):
            self._gateway.send([words.BYTES, self.channel, bytes(view[start : start + words.PIECE])])
        self._credit -= len(data)
        if self._credit <= 0 and self._reading and self._transport is not None:
            self._reading = False
            self._transport.pause_reading()

    def add_credit(self, count: int) -> None:
        """The client has read some bytes."""
        self._credit += count
        if self._credit > 0 and not self._reading and self._transport is not None:
            self._reading = True
            self._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._end()

    def failed(self) -> None:
        """The process cannot be reached."""
        self._end()

    def _end(self) -> None:
        if not self._over:
            self._over = True
            self._gateway.relay_over(self)

    # From the client

    def write(self, data: bytes) -> None:
        """Send bytes to the process, or keep them until it is reached."""
        if self._transport is None:
            self._early.append(data)
            return
        self._transport.write(data)
        self._unpaid += len(data)
        if self._writing:
            self._pay()

    def pause_writing(self) -> None:
        self._writing = False

    def resume_writing(self) -> None:
        self._writing = True
        self._pay()

    def _pay(self) -> None:
        if self._unpaid >= words.CREDIT_STEP:
            paid, self._unpaid = self._unpaid, 0
            self._gateway.send([words.CREDIT, self.channel, paid])

    def close(self) -> None:
        """The client has closed the channel: the process gets what was sent before."""
        self._over = True
        self._early.clear()
        if self._transport is not None:
            self._transport.close()

    @property
    def closed(self) -> bool:
        """Whether the process has got everything and the connection is gone."""
        return self._transport is None
