"""Taking connections from a listening socket that several processes hold."""

from __future__ import annotations

import asyncio
import logging
import socket
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.serve.proxy.server import Server

_log = logging.getLogger("shoal.serve")
_RETRY_SECONDS = 0.5  # when there are no descriptors


class Acceptor:
    """Hands connections to a server, while it is told to. Does not own the socket.

    It takes one at a time between other work, where asyncio's own server empties the queue: so connections that come
    together are shared among the processes that wait for them, and one that is busy takes fewer.
    """

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self._server = server
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._accepts = False
        self._begun: set[asyncio.Task[None]] = set()

    def resume(self) -> None:
        """Take connections."""
        if not self._accepts:
            self._accepts = True
            self._loop.add_reader(self._sock.fileno(), self._ready)

    def pause(self) -> None:
        """Take no more; those that are in the queue stay there for others."""
        if self._accepts:
            self._accepts = False
            self._loop.remove_reader(self._sock.fileno())

    async def settled(self) -> None:
        """Wait until the server knows of all connections that were taken."""
        if self._begun:
            await asyncio.wait(set(self._begun))

    def _ready(self) -> None:
        try:
            connection, _ = self._sock.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another process was faster, or the client has gone
        except OSError as error:  # no descriptors left: the queue waits
            _log.error("no connection can be taken now: %s", error)
            self.pause()
            self._loop.call_later(_RETRY_SECONDS, self.resume)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._begin(connection))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)

    async def _begin(self, connection: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                self._server.protocol, connection, ssl=self._server.config.ssl
            )
        except (OSError, asyncio.TimeoutError) as error:  # of a handshake
            _log.debug("a connection did not come about: %s", error)
            connection.close()
