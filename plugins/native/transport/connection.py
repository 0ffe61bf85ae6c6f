"""One authenticated connection: frames in, frames out, never blocking.

A frame is a 4-byte little-endian length and a MessagePack array. Frames that are sent while the socket is full, or
before the handshake is over, wait in order.
"""

from __future__ import annotations

import contextlib
import errno
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec

from shoal.errors import AuthenticationFailed
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake

if TYPE_CHECKING:
    from shoal.native.transport.reactor import Reactor

Handshake = ClientHandshake | ServerHandshake
Message = list[Any]

MAX_FRAME = 1 << 30  # bytes; a longer frame is a broken or hostile peer
READ_SIZE = 1 << 18
_GONE = frozenset(
    {
        errno.EBADF,
        errno.ECONNABORTED,
        errno.ECONNREFUSED,
        errno.ECONNRESET,
        errno.EHOSTUNREACH,
        errno.ENETUNREACH,
        errno.ENOTCONN,
        errno.EPIPE,
        errno.ETIMEDOUT,
    }
)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list).decode


def connect_unix(path: str) -> socket.socket:
    """Begin to connect to a Unix socket, without waiting. Raises OSError when nobody listens there."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        try:
            sock.connect(path)
        except BlockingIOError:
            # The listener's backlog is full: wait for a place rather than fail, within a bound.
            sock.settimeout(10)
            sock.connect(path)
            sock.setblocking(False)
    except BaseException:
        sock.close()
        raise
    return sock


def connect_tcp(address: str) -> socket.socket:
    """Begin to connect to host:port ([host]:port), without waiting. Raises OSError, ValueError for a bad address."""
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with contextlib.suppress(BlockingIOError):
            sock.connect((host, int(port)))
    except BaseException:
        sock.close()
        raise
    return sock


class Connection:
    """A socket with a handshake in front and frames behind it.

    All methods are called with the reactor's lock held. `peer` is the other process's identifier once established.
    `data` is for the owner of the connection to keep what belongs to it.
    """

    watched = True  # whether the reactor watches its descriptor; else somebody else feeds it

    __slots__ = (
        "_buffer",
        "_handshake",
        "_needed",
        "_out",
        "_reactor",
        "_waiting",
        "blocked",
        "closed",
        "data",
        "on_close",
        "on_message",
        "on_open",
        "peer",
        "sock",
    )

    def __init__(
        self,
        sock: socket.socket,
        handshake: Handshake,
        on_message: Callable[[Connection, Message], None],
        on_close: Callable[[Connection], None],
        on_open: Callable[[Connection], None] | None = None,
        preamble: bytes = b"",
    ) -> None:
        """`preamble` goes out first, before the handshake."""
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for option in (socket.SO_SNDBUF, socket.SO_RCVBUF):
            sock.setsockopt(socket.SOL_SOCKET, option, 1 << 20)
        self.sock = sock
        self._handshake: Handshake | None = handshake
        self.on_message = on_message
        self.on_close = on_close
        self.on_open = on_open
        self.peer = b""
        self.data: Any = None
        self._buffer = bytearray()
        self._needed = 0  # bytes until the frame at the front of the buffer is whole
        self._out: list[bytes | memoryview] = []  # may go out as soon as the socket takes it
        self._waiting: list[bytes] = []  # until the handshake is over
        self.blocked = False  # the socket is full: the reactor watches for room
        self.closed = False
        self._reactor: Reactor | None = None
        first = preamble + handshake.begin()
        if first:
            self._out.append(first)

    @property
    def established(self) -> bool:
        """Whether both sides have proved themselves."""
        return self._handshake is None

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def served_by(self, reactor: Reactor) -> None:
        """Remember who flushes and closes when this connection itself may not."""
        self._reactor = reactor

    def attend(self) -> None:
        """Have what waits written soon."""
        if self._reactor is not None:
            self._reactor.mark(self)
        else:
            self.flush()

    def close_soon(self) -> None:
        """Close after the current events."""
        if self._reactor is not None:
            self._reactor.call_later(0, self.close)
        else:
            self.close()

    def detach(self) -> tuple[socket.socket, bytes]:
        """Give the socket away, with what is still to be written to it. `on_close` is not told."""
        self.closed = True
        unsent = b"".join(self._out)
        self._out.clear()
        return self.sock, unsent

    def inherit(self, other: Connection) -> None:
        """Say what another connection to the same process could not say yet, since its handshake is not over."""
        frames, other._waiting = other._waiting, []
        if frames:
            self._out.extend(frames)
            self.attend()

    def send(self, message: Message) -> None:
        """Queue a message. It goes out at the next `flush`. On a closed connection nothing happens."""
        if self.closed:
            return
        body = _encode(message)
        frame = len(body).to_bytes(4, "little") + body
        if self._handshake is None:
            self._out.append(frame)
        else:
            self._waiting.append(frame)

    def flush(self) -> bool:
        """Write what the socket takes. Return whether something is left (`blocked` then says so too)."""
        if not self._out or self.closed:
            return False
        data = self._out[0] if len(self._out) == 1 else b"".join(self._out)
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The peer is gone; reading will find out and tell, with everything it still sent.
            self._out.clear()
            return False
        if sent == len(data):
            self._out.clear()
            self.blocked = False
            return False
        # A view: a slow peer takes a long message in many pieces, and the rest is not to be copied for each.
        self._out = [memoryview(data)[sent:]] if sent < len(data) else []
        self.blocked = True
        return True

    @property
    def has_output(self) -> bool:
        """Whether something waits to go out."""
        return bool(self._out)

    def on_readable(self) -> None:
        """Read once and deliver every whole frame. Closes on end of file, error or a broken peer."""
        try:
            data = self.sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            if error.errno not in _GONE:
                raise
            data = b""
        if not data:
            self.close()
            return
        self._take(data)

    def _take(self, data: bytes) -> None:
        """Deliver every frame that these bytes complete."""
        if self._buffer:
            self._buffer += data
            if len(self._buffer) < self._needed:
                return  # a long frame: do not copy it before it is whole
            data = bytes(self._buffer)
            self._buffer.clear()
        if self._handshake is not None:
            data = self._shake_hands(data)
            if not data:
                return
        self._deliver(data)

    def _shake_hands(self, data: bytes) -> bytes:
        while (handshake := self._handshake) is not None:
            if len(data) < handshake.wants:
                self._buffer += data
                self._needed = 0
                return b""
            taken, data = data[: handshake.wants], data[handshake.wants :]
            try:
                answer = handshake.feed(taken)
            except AuthenticationFailed:
                self.close()
                return b""
            if answer:
                self._out.append(answer)
            if handshake.done:
                self.peer = handshake.peer
                self._handshake = None
                self._out.extend(self._waiting)
                self._waiting = []
                if self.on_open is not None:
                    self.on_open(self)
            if self._out:
                self.attend()  # not by itself: when the socket is full, the reactor must watch it for room
        return data

    def _deliver(self, data: bytes) -> None:
        position = 0
        end = len(data)
        on_message = self.on_message
        view = memoryview(data)
        while end - position >= 4:
            size = int.from_bytes(data[position : position + 4], "little")
            if size > MAX_FRAME:
                self.close()
                return
            stop = position + 4 + size
            if stop > end:
                self._needed = stop - position
                break
            try:
                message = _decode(view[position + 4 : stop])
            except (msgspec.DecodeError, ValueError, TypeError, RecursionError):
                message = []
            if not message:
                self.close()  # a broken peer must not break this process
                return
            position = stop
            on_message(self, message)
            if self.closed:
                return
        if end - position < 4:
            self._needed = 4
        if position < end:
            self._buffer += view[position:]

    def close(self) -> None:
        """Close at once and tell `on_close`, once."""
        if self.closed:
            return
        self.closed = True
        self.sock.close()
        self._out.clear()
        self._waiting.clear()
        self.on_close(self)
