"""A view of the cluster that is changed in place, for who asks a scheduler thousands of times a second."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from shoal.ids import NodeID
from shoal.spec.view import ClusterView, NodeView

_KEPT = 1024  # changes that are remembered beyond four for each node


class LiveView(ClusterView):
    """All nodes as of now. It reads like any `ClusterView`; whoever keeps the cluster's state writes it.

    A scheduler need not know it: `nodes`, `local` and `version` mean what they mean in a snapshot. One that keeps an
    index of its own asks `changed(since)` instead of looking at every node. Only the owner writes, and never while a
    scheduler is being asked. It is compared by identity, since it is a thing and not a value; `snapshot` gives the
    value.

    Example: `view = LiveView([a, b]); seen = view.version; view.put(c); view.changed(seen)` is `[c.node_id]`.
    """

    __slots__ = ("_base", "_changes", "_nodes")

    _nodes: dict[NodeID, NodeView]
    _changes: list[NodeID]
    _base: int

    def __init__(self, nodes: Iterable[NodeView] = (), local: NodeID | None = None) -> None:
        """Begin with these nodes at version 0; `local` is the node that asks, if one does."""
        # The fields of a frozen class are set past its guard: this subclass is what the guard is lifted for.
        store = {node.node_id: node for node in nodes}
        super().__init__(nodes=store, local=local, version=0)
        object.__setattr__(self, "_nodes", store)
        object.__setattr__(self, "_changes", [])
        object.__setattr__(self, "_base", 0)

    def put(self, node: NodeView) -> None:
        """Add a node, or replace what was known of it. The version grows by one."""
        self._nodes[node.node_id] = node
        self._note(node.node_id)

    def remove(self, node_id: NodeID) -> None:
        """Forget a node. The version grows by one; an unknown node changes nothing."""
        if self._nodes.pop(node_id, None) is not None:
            self._note(node_id)

    def changed(self, since: int) -> Sequence[NodeID] | None:
        """Return which nodes were put or removed after version `since`, oldest first, one as often as it changed.

        None if that is so long ago that it is forgotten: look at all nodes then.
        """
        start = since - self._base
        return self._changes[start:] if start >= 0 else None

    def snapshot(self) -> ClusterView:
        """Return the nodes of this moment as a value that stays as it is."""
        return ClusterView(nodes=dict(self._nodes), local=self.local, version=self.version)

    def _note(self, node_id: NodeID) -> None:
        changes = self._changes
        changes.append(node_id)
        if len(changes) > 4 * len(self._nodes) + 2 * _KEPT:
            forgotten = len(changes) // 2
            del changes[:forgotten]
            object.__setattr__(self, "_base", self._base + forgotten)
        object.__setattr__(self, "version", self._base + len(changes))

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)
