"""The other processes of the session that this one talks to, one `Peer` each."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.native.transport.admission import Admission
from shoal.native.transport.connection import Connection, Message, connect_tcp, connect_unix
from shoal.native.transport.links import Links
from shoal.native.transport.reactor import Listener, Reactor
from shoal.native.wire import preamble
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake
from shoal.native.wire.nodes import number_of

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


class _SideDoor:
    """Where connections arrive that the node's daemon has accepted from other machines."""

    __slots__ = ("_accept", "path", "sock")

    def __init__(self, path: str, accept: Callable[[socket.socket], None]) -> None:
        self.path = path
        self._accept = accept
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.setblocking(False)
        self.sock.bind(path)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def on_readable(self) -> None:
        """Take every connection that is there."""
        while True:
            try:
                _, descriptors, _, _ = socket.recv_fds(self.sock, 1, 1)
            except (BlockingIOError, InterruptedError):
                return
            for descriptor in descriptors:
                self._accept(socket.socket(fileno=descriptor))


class Peers:
    """Connects to peers as they are needed, accepts those that come, and dispatches their messages by kind."""

    def __init__(
        self,
        reactor: Reactor,
        session: str,
        token: bytes,
        worker_id: bytes,
        handlers: dict[int, Handler],
        in_cluster: bool,
        links: Links,
    ) -> None:
        self._reactor = reactor
        self._session = session
        self._token = token
        self._worker_id = worker_id
        self._handlers = handlers
        self._peers: dict[bytes, Peer] = {}
        self._connections: set[Connection] = set()
        self._closed = False
        self._number = number_of(worker_id)
        self._links = links
        self._admission = Admission(reactor)
        self._nodes: dict[int, tuple[str, bool]] = {}  # number → (address, alive) of the other nodes
        self.on_gone: Callable[[Peer], None] = lambda peer: None
        self._path = socket_path(session, worker_id)
        self._listening: socket.socket | None = None
        self._side_door: _SideDoor | None = None
        self._listen(in_cluster)

    def _listen(self, in_cluster: bool) -> None:
        """Let other processes reach this one."""
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listening.bind(self._path)
        listening.listen(1024)
        self._listening = listening
        self._reactor.watch(Listener(listening, self._accept))
        if in_cluster:
            self._side_door = _SideDoor(self._path + preamble.DOOR_SUFFIX, self._accept_far)
            self._reactor.watch(self._side_door)

    def on_nodes(self, table: list[list[Any]]) -> None:
        """The daemon tells where other nodes are, and which are dead: connections to those are over."""
        self._nodes = {number: (address, alive) for number, address, alive, _ in table}
        for connection in list(self._connections):
            peer = connection.data[0]
            if peer is not None and not self._nodes.get(number_of(peer.worker_id), ("", True))[1]:
                connection.close()

    @property
    def in_cluster(self) -> bool:
        """Whether there are other nodes."""
        return bool(self._nodes)

    def is_alive(self, number: int) -> bool:
        """Tell whether another node is part of the cluster, as far as is known here."""
        return self._nodes.get(number, ("", False))[1]

    def _connect(self, worker_id: bytes) -> Connection:
        """Begin to connect to a process. Raises OSError."""
        number = number_of(worker_id)
        handshake = ClientHandshake(self._token, self._worker_id)
        if number == self._number:
            sock = connect_unix(socket_path(self._session, worker_id))
            return Connection(sock, handshake, self._on_message, self._on_close)
        address = self._address_of(number)
        return self._links.calling(
            connect_tcp(address),
            address,
            preamble.naming(worker_id),
            handshake,
            self._on_message,
            self._on_close,
            self._on_answered,
        )

    def _address_of(self, number: int) -> str:
        """Return where another node is. Raises OSError."""
        address, alive = self._nodes.get(number, ("", False))
        if not alive:
            raise ConnectionRefusedError(f"node {number} is dead or not known")
        return address

    def _on_answered(self, connection: Connection) -> None:
        """The preamble is the one thing that is neither encrypted nor proved: somebody may have changed it."""
        if connection.peer != connection.data[0].worker_id:
            connection.close()

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
            connection = self._connect(worker_id)
        except OSError:
            self._reactor.call_later(0, lambda: self._lost_unless_connected(peer))
            return peer
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
        self._begin(connection)

    def _accept_far(self, sock: socket.socket) -> None:
        handshake = ServerHandshake(self._token, self._worker_id)
        connection = self._links.accepted(sock, handshake, self._on_message, self._on_close, self._on_open)
        self._begin(connection)
        self._admission.add(connection)  # anybody may come to a door that is open to the network

    def _begin(self, connection: Connection) -> None:
        connection.data = (None, connection.fileno())
        self._connections.add(connection)
        self._reactor.add_connection(connection)

    def _on_open(self, connection: Connection) -> None:
        self._admission.discard(connection)
        if not self._nodes.get(number_of(connection.peer), ("", True))[1]:
            connection.close()  # its node was given up: what it has to say comes too late
            return
        peer = self._peers.get(connection.peer)
        if peer is None or peer.gone:
            peer = Peer(connection.peer)
            self._peers[connection.peer] = peer
        connection.data = (peer, connection.data[1])
        peer.connections += 1
        if peer.connection is None:
            peer.connection = connection
        elif not peer.connection.established:
            # Both have called each other. Ours may come to nothing; what was to be said by it is said by theirs.
            connection.inherit(peer.connection)
            peer.connection = connection

    def _on_message(self, connection: Connection, message: Message) -> None:
        handler = self._handlers.get(message[0])
        if handler is None:
            connection.close()
            return
        handler(connection.data[0], message)

    def _on_close(self, connection: Connection) -> None:
        peer, fd = connection.data
        self._admission.discard(connection)
        self._reactor.unwatch(fd)
        self._connections.discard(connection)
        if peer is None:
            return
        peer.connections -= 1
        if peer.connection is connection:
            peer.connection = None
        if peer.connections == 0 or peer.connection is None:
            self._lost(peer)

    def _lost_unless_connected(self, peer: Peer) -> None:
        if peer.connection is None:
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
        for connection in list(self._connections):
            connection.close()
        if self._listening is None:
            return
        self._reactor.unwatch(self._listening.fileno())
        self._listening.close()
        paths = [self._path]
        if self._side_door is not None:
            self._reactor.unwatch(self._side_door.fileno())
            self._side_door.sock.close()
            paths.append(self._side_door.path)
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
