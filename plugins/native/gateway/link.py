"""One connection of the client's: the handshake in front, frames behind it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.errors import AuthenticationFailed
from shoal.native.wire.handshake import ServerHandshake

if TYPE_CHECKING:
    from shoal.native.gateway.gateway import Gateway

_MOST_FRAME = 64 << 20  # bytes; the client's own messages are far shorter
_PATIENCE_SECONDS = 10.0
_KEEPALIVE = (  # a peer whose machine is gone is noticed after about half a minute, without a word from its program
    (socket.TCP_KEEPIDLE, 5),
    (socket.TCP_KEEPINTVL, 5),
    (socket.TCP_KEEPCNT, 4),
    (socket.TCP_USER_TIMEOUT, 25_000),
)

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode


class Link(asyncio.Protocol):
    """Proves and demands the token, and then hands every message to the gateway. Nothing is decoded before."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._handshake: ServerHandshake | None = ServerHandshake(gateway.token, gateway.identity)
        self._buffer = bytearray()
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._gateway.beginning(self)
        sock = transport.get_extra_info("socket")
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        assert self._handshake is not None
        transport.write(self._handshake.begin())
        self._timer = asyncio.get_running_loop().call_later(_PATIENCE_SECONDS, self.drop)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        handshake = self._handshake
        if handshake is not None:
            if len(self._buffer) < handshake.wants:
                return
            first = bytes(self._buffer[: handshake.wants])
            del self._buffer[: handshake.wants]
            try:
                answer = handshake.feed(first)
            except AuthenticationFailed:
                self.drop()
                return
            if handshake.peer != self._gateway.driver:
                self.drop()
                return
            self._handshake = None
            assert self._transport is not None
            self._transport.write(answer)
        self._deliver()

    def _deliver(self) -> None:
        buffer = self._buffer
        position = 0
        while len(buffer) - position >= 4:
            size = int.from_bytes(buffer[position : position + 4], "little")
            if size > _MOST_FRAME:
                self.drop()
                return
            if len(buffer) - position - 4 < size:
                break
            body = bytes(buffer[position + 4 : position + 4 + size])
            position += 4 + size
            try:
                message = _decode(body)
                self._gateway.on_message(self, message)
            except (msgspec.DecodeError, ValueError, TypeError, IndexError, RecursionError) as error:
                self._gateway.note(f"the client sent what cannot be: {error!r}")
                self.drop()
                return
            if self._transport is None:
                return
        if position:
            del buffer[:position]

    def began(self) -> None:
        """The client has said where it goes on: it may be silent from now on."""
        self._gateway.begun(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def send(self, message: list[Any]) -> None:
        """Send a message; on a lost connection nothing happens."""
        if self._transport is not None:
            body = _encode(message)
            self._transport.write(len(body).to_bytes(4, "little") + body)

    def drop(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def finish(self) -> None:
        """Close when everything is written."""
        if self._transport is not None:
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.began()
        self._transport = None
        self._gateway.link_lost(self)
