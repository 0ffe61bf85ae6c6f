"""Questions of clients, off the hot path: the directory, the view, keys and values."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError, SystemFailure
from shoal.native.head.requests import NAMES as HEAD_REQUESTS
from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import ClientConnection, Daemon

_log = logging.getLogger("shoal.daemon")


class Requests:
    """Answers by name. Each method takes the client and plain arguments, and returns plain data or raises."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._methods: dict[str, Callable[..., Any]] = {
            "view": self._view,
            "explain_class": lambda client, key: self._daemon.scheduling.explain(client.worker_id, key),
            "record": lambda client, block: self._daemon.events.from_afar(client.worker_id, block),
            "relieve": self._relieve,
            "drain_logs": lambda client: self._daemon.pool.drain_logs(),
            "workers": self._workers,
            "ping": lambda client: True,
            "calls_are": lambda client, *fields: self._daemon.looking.from_process(client.worker_id, *fields),
            "holdings_are": lambda client, *fields: self._daemon.holdings.from_process(
                client.worker_id, *fields
            ),
        }

    def handle(self, client: ClientConnection, number: int, name: str, arguments: list[Any]) -> None:
        """Answer one request."""
        if name in HEAD_REQUESTS:
            message = [kinds.REQUEST, number, name, arguments]
            self._daemon.ask_head(client.worker_id, message)
            return
        if name == "pull":
            self._daemon.pulls.want(client.worker_id, number, *arguments)
            return
        if name == "memory":
            self._daemon.holdings.ask(client.worker_id, number)
            return
        if name == "look":
            self._daemon.looking.ask(client.worker_id, number, *arguments)
            return
        if name == "errand":
            self._daemon.errands.ask(client.worker_id, number, *arguments)
            return
        method = self._methods.get(name)
        try:
            if method is None:
                raise SystemFailure(f"the daemon knows no request {name!r}")
            value = method(client, *arguments)
        except Exception as error:  # whatever it is, nobody may wait for an answer that does not come
            if not isinstance(error, (ShoalError, ValueError, OSError)):
                _log.exception("request %r failed", name)
                error = SystemFailure(f"the node could not answer {name!r}: {error!r}; see its log")
            self._daemon.reactor.send(client.connection, [kinds.REPLY, number, False, pickle.dumps(error)])
            return
        self._daemon.reactor.send(client.connection, [kinds.REPLY, number, True, value])

    def _view(self, client: ClientConnection) -> list[dict[str, Any]]:
        """Return every living node; `available` of this one may be below zero for a moment."""
        book = self._daemon.scheduling.book
        view = self._daemon.scheduling.view()
        nodes = []
        for node in view.nodes.values():
            is_local = node.node_id == view.local
            nodes.append(
                {
                    "id": bytes(node.node_id),
                    "total": node.total.units,
                    "available": (book.available if is_local else node.available).units,
                    "labels": dict(node.labels),
                    "queued": len(book.wants) if is_local else node.queued,
                    "draining": node.draining,
                    "address": node.address,
                    "local": is_local,
                }
            )
        return nodes

    def _relieve(self, client: ClientConnection, size: int) -> None:
        for other in self._daemon.clients.values():
            if other is not client:
                self._daemon.reactor.send(other.connection, [kinds.RELIEVE, size])

    def _workers(self, client: ClientConnection) -> list[dict[str, Any]]:
        return [
            {
                "worker": worker.worker_id,
                "pid": worker.pid,
                "state": worker.state,
                "label": worker.label,
                "actor": worker.actor_id,
            }
            for worker in self._daemon.pool.workers.values()
        ]
