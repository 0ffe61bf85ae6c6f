"""How a node's server gives its listening socket to replicas: as a descriptor over a local socket.

Both sides tell of their end by closing: a replica that has a connection to the lender accepts, and one that is killed
stops doing so at that moment. A lender that was started again cannot open the port, since replicas hold it; the first
replica that finds it gives the socket back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Callable

_BACKLOG = 512
_HERE, _WANTED = b"s", b"w"  # "this is the socket"; "I have none: what is yours?"
_ACCEPTS = b"a"
_CREDENTIALS = struct.Struct("3i")


def address_of(node_id: str) -> str:
    """Return where a node's lender is found: a name of Linux's that goes with the process."""
    return f"\0shoal.serve.{node_id}"


def _is_ours(connection: socket.socket) -> bool:
    """Whether the other end is a process of the same user: anybody on the machine may know the name."""
    told = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    return bool(_CREDENTIALS.unpack(told)[1] == os.getuid())


class Lender:
    """Lends a socket, in the process that has opened it. `changed` is called with how many others accept."""

    def __init__(self, node_id: str, changed: Callable[[int], None]) -> None:
        self._changed = changed
        self._loop = asyncio.get_running_loop()
        self._sock: socket.socket | None = None
        self._given: asyncio.Future[socket.socket] = self._loop.create_future()
        self._accepting: set[socket.socket] = set()
        self._connections: set[socket.socket] = set()
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._door.bind(address_of(node_id))
            self._door.listen(_BACKLOG)
            self._door.setblocking(False)
        except OSError:
            self._door.close()
            raise
        self._loop.add_reader(self._door, self._connected)

    def lend(self, sock: socket.socket) -> None:
        """Lend this socket from now on."""
        self._sock = sock

    async def given_back(self, seconds: float) -> socket.socket | None:
        """Return the socket that a replica has from a lender before this one; None if none comes within so long."""
        done, _ = await asyncio.wait({self._given}, timeout=seconds)
        return self._given.result() if done else None

    def close(self) -> None:
        """Lend no more. Those that have the socket go on."""
        self._loop.remove_reader(self._door)
        self._door.close()
        for each in list(self._connections):
            self._loop.remove_reader(each)
            each.close()
        self._connections.clear()

    def _connected(self) -> None:
        try:
            connection, _ = self._door.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return
        connection.setblocking(False)
        try:
            if not _is_ours(connection):
                raise PermissionError("another user's process")
            if self._sock is None:
                connection.send(_WANTED)
            else:
                socket.send_fds(connection, [_HERE], [self._sock.fileno()])
        except OSError:
            connection.close()
            return
        self._connections.add(connection)
        self._loop.add_reader(connection, self._told, connection)

    def _told(self, connection: socket.socket) -> None:
        try:
            data, descriptors, _, _ = socket.recv_fds(connection, 16, 4)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data, descriptors = b"", []
        for each in descriptors:
            found = socket.socket(fileno=each)
            if self._sock is None and not self._given.done():
                found.setblocking(False)
                self._given.set_result(found)
            else:
                found.close()
        if not data:
            self._loop.remove_reader(connection)
            self._connections.discard(connection)
            connection.close()
            if connection in self._accepting:
                self._accepting.discard(connection)
                self._changed(len(self._accepting))
        elif _ACCEPTS in data:
            self._accepting.add(connection)
            self._changed(len(self._accepting))


class Loan:
    """A socket that was lent, in a process that borrows it. The lender counts on it until `end`."""

    def __init__(self, connection: socket.socket, sock: socket.socket) -> None:
        self._connection = connection
        self.sock = sock

    async def until_lost(self) -> None:
        """Return when the lender has gone; the socket works on."""
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            await loop.sock_recv(self._connection, 1)

    def end(self) -> None:
        """Accept no more: who calls this has stopped to."""
        self._connection.close()


async def borrow(node_id: str, held: socket.socket | None) -> Loan | None:
    """Return the node's socket, None if nobody lends one now. `held` is what this process has from before, which it
    gives to a lender that has none.
    """
    loop = asyncio.get_running_loop()
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.setblocking(False)
    try:
        await loop.sock_connect(connection, address_of(node_id))
        if not _is_ours(connection):
            raise PermissionError("another user's process")
        sock = await _received(connection)
        if sock is None:
            if held is None:
                raise ConnectionError("the lender has no socket yet")
            socket.send_fds(connection, [_HERE], [held.fileno()])
            sock = held
        elif held is not None and sock.getsockname() == held.getsockname():
            sock.close()  # two sockets cannot listen there: it is the same one
            sock = held
        connection.send(_ACCEPTS)
    except OSError:
        connection.close()
        return None
    return Loan(connection, sock)


async def _received(connection: socket.socket) -> socket.socket | None:
    """Return the socket that comes over a connection, None if the other end wants one."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(connection, arrived.set)
    try:
        await asyncio.wait_for(arrived.wait(), 5.0)
    except asyncio.TimeoutError:
        raise ConnectionError("the lender says nothing") from None
    finally:
        loop.remove_reader(connection)
    data, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    if not data:
        raise ConnectionError("the lender has gone")
    if not descriptors:
        return None
    sock = socket.socket(fileno=descriptors[0])
    sock.setblocking(False)
    return sock
