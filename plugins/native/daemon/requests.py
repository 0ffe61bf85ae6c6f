"""Questions of clients, off the hot path: the directory, the view, keys and values."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError, SystemFailure
from shoal.interfaces.metadata import Write
from shoal.native.wire import kinds

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import ClientConnection, Daemon


class Requests:
    """Answers by name. Each method takes the client and plain arguments, and returns plain data or raises."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._methods: dict[str, Callable[..., Any]] = {
            "create_actor": self._create_actor,
            "actor_arguments": self._actor_arguments,
            "actor_arguments_failed": self._actor_arguments_failed,
            "get_actor": self._get_actor,
            "actors": self._actors,
            "create_group": self._create_group,
            "watch_group": self._watch_group,
            "remove_group": self._remove_group,
            "groups": lambda client: self._daemon.groups.book.table(),
            "view": self._view,
            "kv_put": self._kv_put,
            "kv_get": lambda client, namespace, key: self._daemon.metadata.get("kv:" + namespace, key),
            "kv_delete": self._kv_delete,
            "kv_keys": lambda client, namespace, prefix: [
                key for key, _ in self._daemon.metadata.items("kv:" + namespace, prefix)
            ],
            "infeasible_reason": lambda client, wire: self._daemon.scheduling.infeasible_reason(wire),
            "explain_class": lambda client, key: self._daemon.scheduling.explain(client.worker_id, key),
            "explain_actor": self._explain_actor,
            "explain_group": self._explain_group,
            "relieve": self._relieve,
            "drain_logs": lambda client: self._daemon.pool.drain_logs(),
            "workers": self._workers,
            "ping": lambda client: True,
        }

    def handle(self, client: ClientConnection, number: int, name: str, arguments: list[Any]) -> None:
        """Answer one request."""
        method = self._methods.get(name)
        try:
            if method is None:
                raise SystemFailure(f"the daemon knows no request {name!r}")
            value = method(client, *arguments)
        except (ShoalError, ValueError, OSError) as error:
            self._daemon.reactor.send(client.connection, [kinds.REPLY, number, False, pickle.dumps(error)])
            return
        self._daemon.reactor.send(client.connection, [kinds.REPLY, number, True, value])

    def _create_actor(self, client: ClientConnection, wire: dict[str, Any]) -> dict[str, Any]:
        return self._daemon.actors.create(client.worker_id, wire)

    def _actor_arguments(
        self, client: ClientConnection, actor_id: bytes, arguments: bytes, extra: dict[str, Any] | None
    ) -> None:
        self._daemon.actors.arguments_ready(actor_id, arguments, extra)

    def _actor_arguments_failed(self, client: ClientConnection, actor_id: bytes, error: bytes) -> None:
        self._daemon.actors.arguments_failed(actor_id, error)

    def _get_actor(self, client: ClientConnection, name: str, namespace: str) -> dict[str, Any]:
        directory = self._daemon.actors.directory
        record = directory.find_name(name, namespace)
        if record is None:
            others = [f"{other!r} in {space!r}" for space, other in directory.names()][:10]
            there = f"there are: {', '.join(others)}" if others else "there is no named actor"
            raise ValueError(f"no living actor is named {name!r} in namespace {namespace!r}; {there}")
        return self._daemon.actors.describe(record)

    def _actors(self, client: ClientConnection) -> list[dict[str, Any]]:
        return [self._daemon.actors.describe(record) for record in self._daemon.actors.directory.all()]

    def _create_group(self, client: ClientConnection, wire: dict[str, Any]) -> None:
        self._daemon.groups.create(client.worker_id, wire)
        self._daemon.schedule()

    def _watch_group(self, client: ClientConnection, group_id: bytes) -> None:
        self._daemon.groups.watch(group_id, client.worker_id)

    def _remove_group(self, client: ClientConnection, group_id: bytes) -> None:
        self._daemon.groups.remove(group_id)
        self._daemon.schedule()

    def _view(self, client: ClientConnection) -> dict[str, Any]:
        book = self._daemon.scheduling.book
        return {
            "node": self._daemon.session.node_id,
            "total": book.total.units,
            "available": book.available.units,
            "labels": dict(self._daemon.labels),
            "queued": len(book.wants),
        }

    def _kv_put(
        self, client: ClientConnection, namespace: str, key: bytes, value: bytes, overwrite: bool
    ) -> bool:
        table = "kv:" + namespace
        if not overwrite:
            return self._daemon.metadata.put_if_absent(table, key, value)
        new = self._daemon.metadata.get(table, key) is None
        self._daemon.metadata.apply([Write(table, key, value)])
        return new

    def _kv_delete(self, client: ClientConnection, namespace: str, key: bytes) -> bool:
        table = "kv:" + namespace
        there = self._daemon.metadata.get(table, key) is not None
        self._daemon.metadata.apply([Write(table, key, None)])
        return there

    def _explain_actor(self, client: ClientConnection, actor_id: bytes) -> list[str]:
        record = self._daemon.actors.directory.find(actor_id)
        if record is None:
            return ["the directory does not know it"]
        lines = [f"the actor {record.class_name} is {record.state}"]
        if record.state in ("PENDING", "RESTARTING"):
            if record.worker:
                lines.append("its constructor is running")
            lines += self._daemon.scheduling.explain(actor_id, record.specification["class_key"])
        if record.certificate is not None and record.state in ("DEAD", "RESTARTING"):
            lines += str(record.certificate).splitlines()
        return lines

    def _explain_group(self, client: ClientConnection, group_id: bytes) -> list[str]:
        record = self._daemon.groups.find(group_id)
        if record is None:
            return ["the placement group is not known"]
        return [f"the placement group is {record.state}" + (f": {record.reason}" if record.reason else "")]

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
