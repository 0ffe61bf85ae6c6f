"""Fetchers of objects that have come through the door, until they have proved the token.

They are served on the reactor until then, within bounds of number and time: whoever only knocks holds no thread, and
keeps no node out.
"""

from __future__ import annotations

import socket
from typing import TYPE_CHECKING

from shoal.native.transport.admission import Admission
from shoal.native.transport.connection import Connection, Message
from shoal.native.wire.handshake import ServerHandshake
from shoal.native.wire.nodes import daemon_of, number_of

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon


class Fetchers:
    """Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._admission = Admission(daemon.reactor)

    def accept(self, sock: socket.socket) -> None:
        """Another node wants objects: once it has proved itself, its socket goes to a thread."""
        daemon = self._daemon
        handshake = ServerHandshake(daemon.session.token, daemon_of(daemon.number))
        connection = daemon.links.accepted(sock, handshake, _refuse, self._on_close, self._on_open)
        connection.data = connection.fileno()
        daemon.reactor.add_connection(connection)
        self._admission.add(connection)

    def _on_open(self, connection: Connection) -> None:
        self._on_close(connection)
        node = self._daemon.nodes.find(number_of(connection.peer))
        sock, unsent = connection.detach()
        if node is not None and not node.alive:
            sock.close()  # it was given up
            return
        self._daemon.pulls.serve(sock, unsent, "" if node is None else node.address)

    def _on_close(self, connection: Connection) -> None:
        self._daemon.reactor.unwatch(connection.data)
        self._admission.discard(connection)


def _refuse(connection: Connection, message: Message) -> None:
    connection.close()  # it asks before it was let in
