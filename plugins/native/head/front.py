"""The cluster's one port: nodes' gRPC goes on to the service behind it, and whoever names a process is at the door.

So a driver outside the cluster needs to reach no other port than the one that everybody knows. The first byte tells:
gRPC begins with TLS or with HTTP/2's own preface, the others with our preamble. It is looked at and left in the socket.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections import OrderedDict
from collections.abc import Callable

from shoal.native.wire import preamble

_log = logging.getLogger("shoal.head")

_PATIENCE_SECONDS = 10.0
_MOST_SILENT = 512
_READ_AHEAD = 1 << 20  # bytes that one side may be behind the other


class Front:
    """Listens, in an asyncio loop, for as long as the head serves."""

    def __init__(self, behind: str, admit: Callable[[socket.socket], None]) -> None:
        """`behind` is the path of the Unix socket of the gRPC service, `admit` takes those for the door."""
        self._behind = behind
        self._admit = admit
        self._listening: socket.socket | None = None
        self._silent: OrderedDict[socket.socket, asyncio.TimerHandle] = OrderedDict()
        self._halves: set[_Half] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, host: str, port: int) -> int:
        """Listen on `host`:`port` (0: any free one); return the port. Called in the loop. Raises OSError."""
        listening = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.setblocking(False)
            listening.bind((host, port))
            listening.listen(1024)
        except BaseException:
            listening.close()
            raise
        self._listening = listening
        asyncio.get_running_loop().add_reader(listening.fileno(), self._accept, listening)
        return int(listening.getsockname()[1])

    def _accept(self, listening: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(64):
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except OSError as error:  # no descriptors, say: those that are silent may give some back
                _log.warning("a connection could not be accepted: %s", error)
                if self._silent:
                    self._shut(next(iter(self._silent)))
                return
            sock.setblocking(False)
            if len(self._silent) >= _MOST_SILENT:
                self._shut(next(iter(self._silent)))
            self._silent[sock] = loop.call_later(_PATIENCE_SECONDS, self._shut, sock)
            loop.add_reader(sock.fileno(), self._decide, sock)

    def _forget(self, sock: socket.socket) -> None:
        asyncio.get_running_loop().remove_reader(sock.fileno())
        self._silent.pop(sock).cancel()

    def _shut(self, sock: socket.socket) -> None:
        self._forget(sock)
        sock.close()

    def _decide(self, sock: socket.socket) -> None:
        try:
            first = sock.recv(1, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            first = b""
        if not first:
            self._shut(sock)
            return
        self._forget(sock)
        if first == preamble.FIRST:
            self._admit(sock)
            return
        task = asyncio.ensure_future(self._join(sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _join(self, sock: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        outer, inner = _Half(self._halves), _Half(self._halves)
        outer.other, inner.other = inner, outer
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.create_unix_connection(lambda: inner, self._behind)
            await loop.connect_accepted_socket(lambda: outer, sock)
        except OSError as error:  # the service is ending, or the caller is gone
            _log.info("a connection could not be passed on: %s", error)
            inner.close()
            sock.close()

    def close(self) -> None:
        """Stop listening and end what is passed on. Called in the loop."""
        if self._listening is not None:
            asyncio.get_running_loop().remove_reader(self._listening.fileno())
            self._listening.close()
        for sock in list(self._silent):
            self._shut(sock)
        for half in list(self._halves):
            half.close()


class _Half(asyncio.Protocol):
    """One side of a connection that is passed on; `other` is the other side."""

    def __init__(self, halves: set[_Half]) -> None:
        self.other: _Half | None = None
        self._halves = halves
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._closed = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(_READ_AHEAD)
        self._transport = transport
        if self._closed:
            transport.abort()
            return
        self._halves.add(self)
        for data in self._early:
            transport.write(data)
        self._early.clear()

    def data_received(self, data: bytes) -> None:
        assert self.other is not None
        self.other.write(data)

    def write(self, data: bytes) -> None:
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    def pause_writing(self) -> None:
        if self.other is not None and self.other._transport is not None:
            self.other._transport.pause_reading()

    def resume_writing(self) -> None:
        if self.other is not None and self.other._transport is not None:
            self.other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        self._halves.discard(self)
        self._closed = True
        other, self.other = self.other, None
        if other is not None:
            other.close()

    def close(self) -> None:
        """Close when everything is written."""
        self._closed = True
        if self._transport is not None:
            self._transport.close()
