"""The other nodes as this one knows them: what they have, where they are, and the connections to their daemons.

Each daemon sends on the connection that it has opened itself, so messages from one node to another keep their order.
When such a connection breaks, what either side has lent the other through it is over.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import attrs

from shoal.ids import NodeID
from shoal.native.transport.connection import Connection, Message, connect_tcp
from shoal.native.wire import preamble
from shoal.native.wire.handshake import ClientHandshake
from shoal.native.wire.nodes import daemon_of, view_from_wire
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, NodeView

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")


@attrs.define(eq=False)
class Node:
    """Another node."""

    number: int
    address: str
    view: NodeView
    state: str
    reason: str
    version: int
    connection: Connection | None = None  # ours, to its daemon

    @property
    def alive(self) -> bool:
        """Whether it is part of the cluster."""
        return self.state != "DEAD"


class Nodes:
    """All nodes but this one. Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._nodes: dict[int, Node] = {}
        self._by_id: dict[NodeID, int] = {}
        self._views: dict[NodeID, NodeView] = {}  # living ones
        self._version = 0

    @property
    def any(self) -> bool:
        """Whether there is another living node."""
        return bool(self._views)

    def find(self, number: int) -> Node | None:
        """Return a node that is known, dead or alive."""
        return self._nodes.get(number)

    @property
    def count(self) -> int:
        """How many other nodes live."""
        return len(self._views)

    def living(self) -> list[int]:
        """Return the numbers of the others that live."""
        return [node.number for node in self._nodes.values() if node.alive]

    def number_of(self, node_id: NodeID) -> int | None:
        """Return the number of a node that is known."""
        return self._by_id.get(node_id)

    def by_id(self, amounts: dict[int, int]) -> dict[NodeID, int]:
        """Return amounts by the identifiers of nodes instead of their numbers; of those that live."""
        found = {}
        for number, amount in amounts.items():
            node = self._nodes.get(number)
            if number == self._daemon.number:
                found[NodeID(self._daemon.session.node_id)] = amount
            elif node is not None and node.alive:
                found[node.view.node_id] = amount
        return found

    def view_with(self, own: NodeView) -> ClusterView:
        """Return the cluster as this node sees it."""
        views = dict(self._views)
        views[own.node_id] = own
        return ClusterView(nodes=views, local=own.node_id, version=self._version)

    def update(self, wires: list[dict[str, Any]]) -> None:
        """The head tells of nodes that have changed."""
        moved = False
        for wire in wires:
            number = wire["number"]
            if number == self._daemon.number:
                continue
            known = self._nodes.get(number)
            if known is not None and known.version >= wire["version"]:
                continue
            self._version += 1
            view = view_from_wire(wire)
            was_alive = known is not None and known.alive
            moved = moved or known is None or known.address != wire["address"] or known.state != wire["state"]
            if known is None:
                known = Node(number, wire["address"], view, wire["state"], wire["reason"], wire["version"])
                self._nodes[number] = known
                self._by_id[view.node_id] = number
            else:
                known.address, known.view = wire["address"], view
                known.state, known.reason, known.version = wire["state"], wire["reason"], wire["version"]
            if known.alive:
                self._views[view.node_id] = view
                self._daemon.scheduling.lending.room_at(number)
            elif was_alive or view.node_id in self._views:
                self._views.pop(view.node_id, None)
                self._lost(known)
        if moved:
            self._daemon.tell_nodes()
            self._daemon.scheduling.jobs.nodes_changed()
        self._daemon.schedule()

    def update_available(self, changes: list[list[Any]]) -> None:
        """The head tells what is free on nodes that are otherwise as they were."""
        for number, version, available, queued in changes:
            known = self._nodes.get(number)
            if known is None or not known.alive or known.version >= version:
                continue
            self._version += 1
            known.version = version
            free = ResourceSet(available).clipped()
            known.view = attrs.evolve(known.view, available=free, queued=queued)
            self._views[known.view.node_id] = known.view
            self._daemon.scheduling.lending.room_at(number)
        self._daemon.schedule()

    def that_could_hold(self, resources: ResourceSet) -> list[NodeID]:
        """Return the nodes where `resources` would fit if nothing ran there, in order."""
        usable = [view for view in self._views.values() if view.alive and not view.draining]
        return sorted(view.node_id for view in usable if view.total.covers(resources))

    def totals(self) -> dict[str, int]:
        """Return what all living nodes have together, this one aside."""
        total: dict[str, int] = {}
        for view in self._views.values():
            for name, units in view.total.units.items():
                total[name] = total.get(name, 0) + units
        return total

    def assume(self, node_id: NodeID, resources: ResourceSet) -> None:
        """Something was sent there: it is not free any more, until the node itself tells what is."""
        view = self._views.get(node_id)
        if view is not None:
            left = view.available - resources
            self._views[node_id] = attrs.evolve(view, available=left.clipped())
            self._version += 1

    def assume_free(self, number: int, resources: ResourceSet) -> None:
        """What was sent there is over. The node tells of that only if it had told of the beginning: both may have been
        within one report, of which nothing is left. Who assumes too much is refused, and learns what is true."""
        node = self._nodes.get(number)
        view = None if node is None else self._views.get(node.view.node_id)
        if view is not None:
            free = view.available + resources
            units = {name: min(amount, view.total.units.get(name, 0)) for name, amount in free.units.items()}
            self._views[view.node_id] = attrs.evolve(view, available=ResourceSet(units))
            self._version += 1

    def learn(self, number: int, available: dict[str, int]) -> None:
        """A node has told directly what is free there."""
        node = self._nodes.get(number)
        if node is not None and node.alive:
            free = ResourceSet(available).clipped()
            self._views[node.view.node_id] = attrs.evolve(node.view, available=free)
            self._version += 1

    def table(self) -> list[list[Any]]:
        """Return [number, address, alive, reason] of each, for the processes of this node."""
        return [[node.number, node.address, node.alive, node.reason] for node in self._nodes.values()]

    # Connections

    def send(self, number: int, message: Message) -> bool:
        """Queue a message to another node's daemon, connecting if need be. False: that cannot be."""
        node = self._nodes.get(number)
        if node is None or not node.alive or not node.address:
            return False
        if node.connection is None and not self._connect(node):
            return False
        assert node.connection is not None
        self._daemon.reactor.send(node.connection, message)
        return True

    def _connect(self, node: Node) -> bool:
        try:
            sock = connect_tcp(node.address)
        except OSError as error:
            _log.warning("node %d at %s cannot be reached: %s", node.number, node.address, error)
            return False
        own = daemon_of(self._daemon.number)
        connection = self._daemon.links.calling(
            sock,
            node.address,
            preamble.naming(daemon_of(node.number)),
            ClientHandshake(self._daemon.session.token, own),
            self._on_message,
            self._on_close,
            self._on_answered,
        )
        connection.data = (node, connection.fileno())
        node.connection = connection
        self._daemon.reactor.add_connection(connection)
        return True

    def _on_answered(self, connection: Connection) -> None:
        """The preamble is the one thing that is neither encrypted nor proved: somebody may have changed it."""
        if connection.peer != daemon_of(connection.data[0].number):
            connection.close()

    def _on_message(self, connection: Connection, message: Message) -> None:
        connection.close()  # daemons answer on connections of their own

    def _on_close(self, connection: Connection) -> None:
        node, descriptor = connection.data
        self._daemon.reactor.unwatch(descriptor)
        if node.connection is connection:
            node.connection = None
            self._daemon.scheduling.lending.node_unreachable(node.number, "the connection to it broke")
            self._daemon.schedule()

    def _lost(self, node: Node) -> None:
        _log.warning("node %d (%s) is dead: %s", node.number, node.address, node.reason)
        connection, node.connection = node.connection, None
        if connection is not None:
            connection.close()
        self._daemon.node_lost(node)

    def close(self) -> None:
        """Close every connection."""
        for node in self._nodes.values():
            connection, node.connection = node.connection, None
            if connection is not None:
                connection.close()
