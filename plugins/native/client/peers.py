"""The other processes of the session that this one talks to, one `Peer` each."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.native.transport.connection import Connection, Message, connect_unix
from shoal.native.transport.reactor import Listener, Reactor
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake

if TYPE_CHECKING:
    from shoal.native.client.records import Task

Handler = Callable[[Any, Message], None]

DAEMON = b"\x00" * 8  # the daemon's identifier among the workers'


class Peer:
    """Another process. `inflight` holds the calls it has not answered, in the order they were sent."""

    __slots__ = (
        "batch",
        "borrowed",
        "connection",
        "connections",
        "functions",
        "gone",
        "inflight",
        "lease",
        "results",
        "worker_id",
    )

    def __init__(self, worker_id: bytes) -> None:
        self.worker_id = worker_id
        self.connection: Connection | None = None
        self.connections = 0
        self.gone = False
        self.inflight: dict[int, Task] = {}
        self.functions: set[int] = set()
        self.batch: list[list[Any]] = []  # calls to send with the next flush
        self.results: list[list[Any]] = []  # answers to send with the next flush
        self.lease: Any = None
        self.borrowed: set[bytes] = set()  # objects of ours that it borrows


def socket_path(session: str, worker_id: bytes) -> str:
    """Return where a process listens."""
    return os.path.join(session, "s", worker_id.hex())


class Peers:
    """Connects to peers as they are needed, accepts those that come, and dispatches their messages by kind."""

    def __init__(
        self,
        reactor: Reactor,
        session: str,
        token: bytes,
        worker_id: bytes,
        handlers: dict[int, Handler],
    ) -> None:
        self._reactor = reactor
        self._session = session
        self._token = token
        self._worker_id = worker_id
        self._handlers = handlers
        self._peers: dict[bytes, Peer] = {}
        self._connections: set[Connection] = set()
        self._closed = False
        self.on_gone: Callable[[Peer], None] = lambda peer: None
        path = socket_path(session, worker_id)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(path)
        listening.listen(1024)
        self._path = path
        self._listening = listening
        reactor.watch(Listener(listening, self._accept))

    def get(self, worker_id: bytes) -> Peer:
        """Return the peer, connecting if need be. A peer that cannot be reached is `gone` a moment later."""
        peer = self._peers.get(worker_id)
        if peer is not None and not peer.gone:
            return peer
        peer = Peer(worker_id)
        if self._closed:
            peer.gone = True
            return peer
        self._peers[worker_id] = peer
        try:
            sock = connect_unix(socket_path(self._session, worker_id))
        except OSError:
            self._reactor.call_later(0, lambda: self._lost(peer))
            return peer
        handshake = ClientHandshake(self._token, self._worker_id)
        connection = Connection(sock, handshake, self._on_message, self._on_close)
        connection.data = (peer, connection.fileno())
        peer.connection = connection
        peer.connections = 1
        self._connections.add(connection)
        self._reactor.add_connection(connection)
        return peer

    def find(self, worker_id: bytes) -> Peer | None:
        """Return the peer if there is a connection to it."""
        peer = self._peers.get(worker_id)
        return None if peer is None or peer.gone else peer

    def send(self, peer: Peer, message: Message) -> None:
        """Queue a message; on a lost connection nothing happens."""
        if peer.connection is not None:
            self._reactor.send(peer.connection, message)

    def _accept(self, sock: socket.socket) -> None:
        handshake = ServerHandshake(self._token, self._worker_id)
        connection = Connection(sock, handshake, self._on_message, self._on_close, self._on_open)
        connection.data = (None, connection.fileno())
        self._connections.add(connection)
        self._reactor.add_connection(connection)

    def _on_open(self, connection: Connection) -> None:
        peer = self._peers.get(connection.peer)
        if peer is None or peer.gone:
            peer = Peer(connection.peer)
            self._peers[connection.peer] = peer
        connection.data = (peer, connection.data[1])
        peer.connections += 1
        if peer.connection is None:
            peer.connection = connection

    def _on_message(self, connection: Connection, message: Message) -> None:
        handler = self._handlers.get(message[0])
        if handler is None:
            connection.close()
            return
        handler(connection.data[0], message)

    def _on_close(self, connection: Connection) -> None:
        peer, fd = connection.data
        self._reactor.unwatch(fd)
        self._connections.discard(connection)
        if peer is None:
            return
        peer.connections -= 1
        if peer.connection is connection:
            peer.connection = None
        if peer.connections == 0 or peer.connection is None:
            self._lost(peer)

    def _lost(self, peer: Peer) -> None:
        if peer.gone:
            return
        peer.gone = True
        if self._peers.get(peer.worker_id) is peer:
            del self._peers[peer.worker_id]
        self.on_gone(peer)

    def close(self) -> None:
        """Stop listening and close every connection, without telling `on_gone`."""
        self.on_gone = lambda peer: None
        self._closed = True
        self._reactor.unwatch(self._listening.fileno())
        self._listening.close()
        for connection in list(self._connections):
            connection.close()
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            return
