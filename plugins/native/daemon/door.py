"""The node's one TCP port: a caller says which process it wants, and its socket is handed to that process.

The first bytes name the process (`wire/kinds.py`, preamble). They prove nothing: whoever gets the socket demands the
handshake before anything else. A caller that says nothing is shut out after a while, and only so many may be at the
door at once, so that a flood of them costs the node no work.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections import OrderedDict
from typing import TYPE_CHECKING

from shoal.native.client.peers import socket_path
from shoal.native.transport.reactor import Listener
from shoal.native.wire import preamble
from shoal.native.wire.nodes import daemon_of, number_of

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon
    from shoal.native.daemon.fetchers import Fetchers

_log = logging.getLogger("shoal.daemon")
_PATIENCE_SECONDS = 5.0
_MOST_WAITING = 512


class _Caller:
    """A connection that has not said yet whom it wants."""

    __slots__ = ("_buffer", "_door", "sock")

    def __init__(self, door: Door, sock: socket.socket) -> None:
        self._door = door
        self.sock = sock
        self._buffer = b""

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def on_readable(self) -> None:
        """Read the preamble, and not a byte more."""
        try:
            data = self.sock.recv(preamble.PREAMBLE_SIZE - len(self._buffer))
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        self._buffer += data
        if not data:
            self._door.shut(self)
        elif len(self._buffer) == preamble.PREAMBLE_SIZE:
            self._door.admit(self, self._buffer)


class Door:
    """Listens on `host`:`port` (0: any free one). Called with the lock held."""

    def __init__(self, daemon: Daemon, host: str, port: int, fetchers: Fetchers) -> None:
        self._daemon = daemon
        self._fetchers = fetchers
        self._waiting: OrderedDict[int, _Caller] = OrderedDict()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        try:
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind((host, port))
            listening.listen(1024)
        except BaseException:
            listening.close()
            raise
        self._listening = listening
        self.port: int = listening.getsockname()[1]
        daemon.reactor.watch(Listener(listening, self.admit_socket))

    def admit_socket(self, sock: socket.socket) -> None:
        """Somebody stands before the door, or came to the head's port: wait for what they have to say."""
        sock.setblocking(False)
        if len(self._waiting) >= _MOST_WAITING:
            self.shut(next(iter(self._waiting.values())))  # who has said nothing for longest
        caller = _Caller(self, sock)
        self._waiting[sock.fileno()] = caller
        self._daemon.reactor.watch(caller)
        self._daemon.reactor.call_later(_PATIENCE_SECONDS, lambda: self._too_late(caller))

    def _too_late(self, caller: _Caller) -> None:
        if self._waiting.get(caller.sock.fileno()) is caller:
            self.shut(caller)

    def _forget(self, caller: _Caller) -> None:
        descriptor = caller.sock.fileno()
        self._daemon.reactor.unwatch(descriptor)
        self._waiting.pop(descriptor, None)

    def shut(self, caller: _Caller) -> None:
        """Send a caller away."""
        self._forget(caller)
        caller.sock.close()

    def admit(self, caller: _Caller, first: bytes) -> None:
        """Hand a caller's socket to the process that it wants."""
        self._forget(caller)
        sock = caller.sock
        wanted = preamble.named(first)
        if wanted == preamble.TRANSFER:
            self._fetchers.accept(sock)
        elif wanted == preamble.CLIENT:
            self._daemon.gateways.accept(sock)
        elif wanted is None or number_of(wanted) != self._daemon.number:
            sock.close()
        elif wanted == daemon_of(self._daemon.number):
            self._daemon.neighbours.accept(sock)
        else:
            self._pass_on(sock, wanted)

    def _pass_on(self, sock: socket.socket, wanted: bytes) -> None:
        with sock, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as courier:
            courier.setblocking(False)
            path = socket_path(self._daemon.session.folder, wanted) + preamble.DOOR_SUFFIX
            # Nobody is there, or it is too busy to take it: the caller sees its connection close.
            with contextlib.suppress(OSError):
                courier.connect(path)
                socket.send_fds(courier, [b"\0"], [sock.fileno()])

    def close(self) -> None:
        """Stop listening and send everybody away."""
        with contextlib.suppress(OSError):
            self._daemon.reactor.unwatch(self._listening.fileno())
        self._listening.close()
        for caller in list(self._waiting.values()):
            self.shut(caller)


def remove_door(folder: str, worker_id: bytes) -> None:
    """Remove what a dead process leaves."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(socket_path(folder, worker_id) + preamble.DOOR_SUFFIX)
