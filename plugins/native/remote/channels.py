"""Connections to the cluster's processes inside the one connection that a client has."""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, cast

from shoal.native.transport.connection import Connection, Handshake, Message
from shoal.native.wire import line as words

if TYPE_CHECKING:
    from shoal.native.remote.tunnel import Tunnel


class _Mouth:
    """What a `Connection` writes to in the place of a socket. It takes what the other side has given credit for."""

    __slots__ = ("_number", "_tunnel", "credit")

    family = socket.AF_UNIX

    def __init__(self, tunnel: Tunnel, number: int) -> None:
        self._tunnel = tunnel
        self._number = number
        self.credit = words.CHANNEL_WINDOW

    def setblocking(self, flag: bool) -> None:
        """It never blocks."""

    def setsockopt(self, *options: int) -> None:
        """It has no options."""

    def fileno(self) -> int:
        """Return a number that no descriptor has."""
        return -2 - self._number

    def send(self, data: bytes) -> int:
        """Take some bytes and return how many. Raises BlockingIOError if none can be taken now."""
        size = min(len(data), self.credit)
        if size <= 0:
            raise BlockingIOError
        self.credit -= size
        view = memoryview(data)
        for start in range(0, size, words.PIECE):
            piece = view[start : min(size, start + words.PIECE)]
            self._tunnel.send([words.BYTES, self._number, piece])
        return size

    def close(self) -> None:
        """Tell the other side."""
        self._tunnel.shut(self._number)


class ChannelConnection(Connection):
    """A connection to a process of the cluster: handshake and frames as over a socket, through the tunnel."""

    watched = False  # there is no descriptor; the tunnel feeds it

    def __init__(
        self,
        tunnel: Tunnel,
        number: int,
        handshake: Handshake,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
        on_open: Callable[[Connection], None] | None = None,
    ) -> None:
        """`number` is the channel's."""
        self._mouth = _Mouth(tunnel, number)
        self._unpaid = 0  # bytes that came and that no credit was given back for
        self._tunnel = tunnel
        self.number = number
        super().__init__(cast(socket.socket, self._mouth), handshake, on_message, on_close, on_open)

    def feed(self, data: bytes) -> None:
        """Take bytes that came from the process."""
        self._unpaid += len(data)
        if self._unpaid >= words.CREDIT_STEP:
            paid, self._unpaid = self._unpaid, 0
            self._tunnel.send([words.CREDIT, self.number, paid])
        if not self.closed:
            self._take(data)

    def add_credit(self, count: int) -> None:
        """The process has read some bytes: more may be sent."""
        self._mouth.credit += count
        if self.blocked and not self.closed:
            self.blocked = False
            self.attend()
