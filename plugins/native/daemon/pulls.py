"""Copies of other nodes' objects: the shell of `machines/pulls.py`, and what becomes of them when owners go."""

from __future__ import annotations

import functools
import logging
import socket
from typing import TYPE_CHECKING, Any

from shoal.machines.pulls import EndPull, PullEffect, Pulls
from shoal.native.daemon.transfer import Fetcher, Sender
from shoal.native.wire import kinds
from shoal.native.wire.nodes import number_of

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")
_SLOTS = 4


class PullsShell:
    """Called with the lock held, but for what runs in the threads of `transfer.py`."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        token, number, links = daemon.session.token, daemon.number, daemon.links
        self._book = Pulls(_SLOTS, max(1, daemon.session.store_bytes // 4))
        self._fetcher = Fetcher(daemon.store, token, number, _SLOTS, links)
        self._sender = Sender(daemon.store, links.secured, daemon.session.folder)

    def serve(self, sock: socket.socket, unsent: bytes, address: str) -> None:
        """The node at `address` wants objects; it has proved itself, and is still to be sent `unsent`."""
        self._sender.take(sock, unsent, address)

    def want(self, client: bytes, request: int, object_id: bytes, size: int, sources: list[int]) -> None:
        """A process of this node waits for an object; it gets a reply: "" or why the object cannot be had."""
        if self._daemon.store.contains(object_id):
            self._daemon.tell(client, [kinds.REPLY, request, True, ""])
            return
        alive = []
        for source in sources:
            node = self._daemon.nodes.find(source)
            if node is not None and node.alive:
                alive.append(source)
        self._carry_out(self._book.want(object_id, size, alive, (client, request)))

    def fetch_package(self, digest: str, address: str, path: str) -> None:
        """Copy a runtime_env's package from another node. Called in a thread of its own; see Fetcher.fetch_package."""
        self._fetcher.fetch_package(digest, address, path)

    def client_gone(self, client: bytes) -> None:
        """A process of this node has ended."""
        self._book.forget_client(client)
        self.owners_gone([client])

    def owners_gone(self, owners: list[bytes]) -> None:
        """Processes have ended anywhere: nobody will ask for what they owned."""
        gone = set(owners)
        self._delete(lambda object_id: object_id[:8] in gone)

    def node_lost(self, number: int) -> None:
        """A node is dead, and every owner on it."""
        self._delete(lambda object_id: number_of(object_id) == number)

    def _delete(self, mine: Any) -> None:
        store = self._daemon.store
        for object_id in store.ids():
            if mine(object_id):
                store.delete(object_id)

    def delete(self, object_ids: list[bytes]) -> None:
        """Their owner needs them no more."""
        for object_id in object_ids:
            self._daemon.store.delete(object_id)

    def _carry_out(self, effects: list[PullEffect]) -> None:
        for effect in effects:
            if isinstance(effect, EndPull):
                for client, request in effect.waiters:
                    self._daemon.tell(client, [kinds.REPLY, request, True, effect.reason])
                continue
            node = self._daemon.nodes.find(effect.source)
            if node is None or not node.alive:
                self._carry_out(self._book.finished(effect.object_id, "it is dead"))
                continue
            self._fetcher.fetch(
                effect.object_id,
                effect.size,
                node.address,
                functools.partial(self._fetched, effect.object_id),
            )

    def _fetched(self, object_id: bytes, reason: str, passing: bool) -> None:
        self._daemon.call_soon(lambda: self._carry_out(self._book.finished(object_id, reason, passing)))

    def close(self) -> None:
        """End every transfer."""
        self._fetcher.close()
        self._sender.close()
