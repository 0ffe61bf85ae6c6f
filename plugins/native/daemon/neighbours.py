"""What the daemons of other nodes say to this one, over the connections that they have opened."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.native.transport.admission import Admission
from shoal.native.transport.connection import Connection, Message
from shoal.native.wire import kinds
from shoal.native.wire.handshake import ServerHandshake
from shoal.native.wire.nodes import daemon_of, number_of

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")


class Neighbours:
    """Takes other daemons' connections and messages. Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._admission = Admission(daemon.reactor)
        lending, pulls = daemon.scheduling.lending, daemon.pulls
        self._handlers: dict[int, Callable[..., None]] = {
            kinds.ASK_LEASE: lending.asked,
            kinds.GRANTED: lending.granted,
            kinds.REFUSED: lending.refused,
            kinds.GIVE_BACK: self._give_back,
            kinds.HOLDER_GONE: self._holder_gone,
            kinds.WORKER_GONE: lambda number, holder, *rest: lending.worker_gone(*rest),
            kinds.RELAY: lambda number, client, message: daemon.tell(client, message),
            kinds.ROOM: self._room_at,
            kinds.CLASS_FAILED: lending.failed,
            kinds.ASK_HOLDINGS: daemon.holdings.asked,
            kinds.HOLDINGS_ARE: daemon.holdings.from_node,
            kinds.ASK_LOOK: daemon.looking.asked,
            kinds.LOOK_IS: daemon.looking.from_node,
            kinds.ASK_ERRAND: daemon.errands.asked,
            kinds.ERRAND_DONE: daemon.errands.done,
            kinds.DELETE_COPIES: lambda number, object_ids: pulls.delete(object_ids),
        }

    def accept(self, sock: socket.socket) -> None:
        """Another node's daemon wants to talk."""
        daemon = self._daemon
        handshake = ServerHandshake(daemon.session.token, daemon_of(daemon.number))
        connection = daemon.links.accepted(
            sock, handshake, self._on_message, self._on_close, self._admission.discard
        )
        connection.data = connection.fileno()
        daemon.reactor.add_connection(connection)
        self._admission.add(connection)

    def _on_message(self, connection: Connection, message: Message) -> None:
        number = number_of(connection.peer)
        node = self._daemon.nodes.find(number)
        handler = self._handlers.get(message[0])
        if handler is None or (node is not None and not node.alive):
            connection.close()  # a dead node's words count for nothing
            return
        try:
            handler(number, *message[1:])
        except Exception:  # a fault in another node's matter must not end this one
            _log.exception("a message of kind %r from node %d failed", message[0], number)

    def _on_close(self, connection: Connection) -> None:
        self._daemon.reactor.unwatch(connection.data)
        self._admission.discard(connection)
        if connection.peer:
            self._daemon.scheduling.lending.borrower_unreachable(number_of(connection.peer))
            self._daemon.schedule()

    def _give_back(self, number: int, leases: list[list[Any]]) -> None:
        for lease_id, must_end in leases:
            self._daemon.scheduling.returned(lease_id, must_end)
        self._daemon.schedule()

    def _holder_gone(self, number: int, holder: bytes) -> None:
        self._daemon.scheduling.withdraw(holder)
        self._daemon.scheduling.lending.forget_claims(holder)
        self._daemon.schedule()

    def _room_at(self, number: int) -> None:
        self._daemon.scheduling.lending.room_at(number)
        self._daemon.schedule()
