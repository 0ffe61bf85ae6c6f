"""Questions of clients that the head answers: the directory, placement groups, keys and values."""

from __future__ import annotations

import logging
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.errors import ShoalError, SystemFailure
from shoal.ids import NodeID
from shoal.interfaces.metadata import Write
from shoal.native.wire import control, kinds
from shoal.native.wire.nodes import node_to_wire

if TYPE_CHECKING:
    from shoal.native.head.head import Head

NAMES = frozenset(
    {
        "actor_arguments",
        "actor_arguments_failed",
        "actors",
        "begin_job",
        "create_actor",
        "create_group",
        "dashboard",
        "drain_node",
        "end_job",
        "durable_actors",
        "durable_commit",
        "durable_load",
        "durable_piece",
        "explain_actor",
        "explain_group",
        "get_actor",
        "groups",
        "infeasible_reason",
        "jobs",
        "kv_delete",
        "kv_get",
        "kv_keys",
        "kv_put",
        "nodes",
        "pending",
        "remove_group",
        "reports",
        "scaling_lead",
        "scaling_request",
        "scaling_step_down",
        "scaling_tell",
        "scaling_told",
        "scaling_view",
        "watch_group",
    }
)

_log = logging.getLogger("shoal.head")

# Before a value of the key-value store: the client and the number of the request, and whether its key was new.
_TAG = 16  # bytes
_NEW, _OLD = b"\1", b"\0"


class HeadRequests:
    """Answers by name. Each method takes the client and plain arguments, and returns plain data or raises."""

    def __init__(self, head: Head) -> None:
        self._head = head
        self._request = bytes(_TAG)  # that is being answered
        actors, groups, metadata = head.actors, head.groups, head.metadata
        self._methods: dict[str, Callable[..., Any]] = {
            "actor_arguments": lambda client, *fields: actors.arguments_ready(*fields),
            "actor_arguments_failed": lambda client, *fields: actors.arguments_failed(*fields),
            "actors": lambda client: [actors.describe(record) for record in actors.directory.all()],
            "begin_job": head.jobs.begin,
            "create_actor": actors.create,
            "create_group": groups.create,
            "dashboard": lambda client: head.open_dashboard(),
            "drain_node": self._drain_node,
            "end_job": lambda client, job: head.jobs.finish(job),
            "durable_actors": head.durable.table,
            "durable_commit": head.durable.commit,
            "durable_load": head.durable.load,
            "durable_piece": head.durable.piece,
            "explain_group": self._explain_group,
            "get_actor": self._get_actor,
            "groups": lambda client: groups.book.table(),
            "infeasible_reason": lambda client, wire: head.scaling.infeasible_reason(wire),
            "jobs": lambda client: head.jobs.describe(),
            "kv_delete": self._kv_delete,
            "kv_get": self._kv_get,
            "kv_keys": lambda client, namespace, prefix: [
                key for key, _ in metadata.items("kv:" + namespace, prefix)
            ],
            "kv_put": self._kv_put,
            "nodes": self._nodes,
            "pending": lambda client: head.pending(),
            "reports": lambda client: [
                (key, value[_TAG + 1 :]) for key, value in metadata.items("kv:reports", b"")
            ],
            "scaling_lead": head.scaling.lead,
            "scaling_request": head.scaling.request,
            "scaling_step_down": head.scaling.step_down,
            "scaling_tell": head.scaling.tell,
            "scaling_told": head.scaling.told,
            "scaling_view": head.scaling.view,
            "remove_group": lambda client, group_id: groups.remove(group_id),
            "watch_group": lambda client, group_id: groups.watch(group_id, client),
        }
        assert {*self._methods, "explain_actor"} == NAMES

    def handle(self, client: bytes, number: int, name: str, arguments: list[Any]) -> None:
        """Answer one request."""
        if name == "explain_actor":
            self._explain_actor(client, number, arguments[0])
            return
        self._request = client + number.to_bytes(8, "big")
        try:
            value = self._methods[name](client, *arguments)
        except Exception as error:  # whatever it is, nobody may wait for an answer that does not come
            if not isinstance(error, (ShoalError, ValueError, OSError)):
                _log.exception("request %r failed", name)
                error = SystemFailure(f"the head could not answer {name!r}: {error!r}; see its node's log")
            self._head.tell(client, [kinds.REPLY, number, False, pickle.dumps(error)])
            return
        self._head.tell(client, [kinds.REPLY, number, True, value])

    def _get_actor(self, client: bytes, name: str, namespace: str) -> dict[str, Any]:
        directory = self._head.actors.directory
        record = directory.find_name(name, namespace)
        if record is None:
            others = [f"{other!r} in {space!r}" for space, other in directory.names()][:10]
            there = f"there are: {', '.join(others)}" if others else "there is no named actor"
            raise ValueError(f"no living actor is named {name!r} in namespace {namespace!r}; {there}")
        return self._head.actors.describe(record)

    def _kv_put(self, client: bytes, namespace: str, key: bytes, value: bytes, overwrite: bool) -> bool:
        """Keep a value, with the request that brought it: a head that is asked again answers as the last one did."""
        metadata = self._head.metadata
        table = "kv:" + namespace
        known = metadata.get(table, key)
        if known is not None and known[:_TAG] == self._request:
            return known[_TAG : _TAG + 1] == _NEW
        if not overwrite:
            return metadata.put_if_absent(table, key, self._request + _NEW + value)
        metadata.apply([Write(table, key, self._request + (_NEW if known is None else _OLD) + value)])
        return known is None

    def _kv_get(self, client: bytes, namespace: str, key: bytes) -> bytes | None:
        found = self._head.metadata.get("kv:" + namespace, key)
        return None if found is None else found[_TAG + 1 :]

    def _kv_delete(self, client: bytes, namespace: str, key: bytes) -> bool:
        table = "kv:" + namespace
        there = self._head.metadata.get(table, key) is not None
        self._head.metadata.apply([Write(table, key, None)])
        return there

    def _explain_actor(self, client: bytes, number: int, actor_id: bytes) -> None:
        lines, node = self._head.actors.explain(actor_id)
        if not node or not self._head.send(node, [control.EXPLAIN_ACTOR, client, number, actor_id, lines]):
            self._head.tell(client, [kinds.REPLY, number, True, lines])

    def _explain_group(self, client: bytes, group_id: bytes) -> list[str]:
        record = self._head.groups.book.find(group_id)
        if record is None:
            return ["the placement group is not known"]
        return [f"the placement group is {record.state}" + (f": {record.reason}" if record.reason else "")]

    def _nodes(self, client: bytes) -> list[dict[str, Any]]:
        self._head.refresh()
        return [node_to_wire(record) for record in self._head.membership.all()]

    def _drain_node(self, client: bytes, node_id: bytes) -> bool:
        record = self._head.membership.find_id(NodeID(node_id))
        if record is None:
            known = ", ".join(other.node_id.hex() for other in self._head.membership.living())
            raise ValueError(f"no node {node_id.hex()} is known; there are: {known}")
        return self._head.drain(record.number)
