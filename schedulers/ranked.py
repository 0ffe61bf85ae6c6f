"""Policies that are one number: the node with the least rank is chosen, by an index that follows the view."""

from __future__ import annotations

from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from shoal.schedulers.feasible import accepts, prefers, ready, refuse, shortage
from shoal.schedulers.index import FreeIndex, Rank, Ranking, place_in_line, take_turn
from shoal.schedulers.policy import Policy
from shoal.schedulers.score import utilisation
from shoal.spec.strategy import NodeLabelStrategy, SpreadStrategy
from shoal.spec.view import ClusterView, Decision, Demand, NodeView, Placement, Wait

if TYPE_CHECKING:
    from typing_extensions import Self

_PLAIN = 4  # with so few nodes, ranking each is faster than keeping an index
_INDEXES = 16  # different wishes about labels that are kept at a time

_Wish = tuple[Any, ...]


def by_use(node: NodeView, asked: Mapping[str, int]) -> Rank:
    """Rank by how much is used once the node has what is asked, then by what is queued: the least used first."""
    return utilisation(node, asked), node.queued


class RankedPolicy(Policy):
    """A scheduler whose choice is a rank: `rank` says how good a node is, the smallest wins, equal ones take turns.

    Example: `rank` of a policy that prefers large nodes returns `(-node.total.units.get("CPU", 0),)`.
    """

    _indexes: OrderedDict[_Wish, FreeIndex]
    _rank: Ranking
    takes_turns: ClassVar[bool] = True  # False: of equal nodes always the first
    __slots__ = ("_indexes", "_rank")

    def __new__(cls, options: Mapping[str, Any] | None = None) -> Self:
        """Begin with no index. Here, so that a subclass's `__init__` need not call ours."""
        self = super().__new__(cls)
        self._indexes = OrderedDict()
        self._rank = self.rank  # one bound method, since orders are kept by it
        return self

    @abstractmethod
    def rank(self, node: NodeView, asked: Mapping[str, int]) -> Rank:
        """Return how good a node is for a demand that fits on it: the smallest is best.

        It may look at what the node has, what of it is free and how much is queued there, and at nothing else: it is
        called once for all nodes that are alike in these. `asked` is in `ResourceSet.units`.
        """

    def stays(self, here: Rank, best: Rank) -> bool:
        """Tell whether the asking node, which can take the demand and has rank `here`, comes before the best one."""
        return False

    def choose(self, demand: Demand, view: ClusterView, nodes: list[NodeView]) -> NodeView:
        """Rank each of some nodes: the plain meaning of this policy."""
        if len(nodes) == 1:
            return nodes[0]
        spread = isinstance(demand.strategy, SpreadStrategy)
        ranking = by_use if spread else self._rank
        best, ties = lowest(ranking, demand, nodes)
        if not spread:
            local = next((node for node in nodes if node.node_id == view.local), None)
            if local is not None and self.stays(ranking(local, demand.resources.units), best):
                return local
        return ties[demand.turn % len(ties)] if self.takes_turns or spread else ties[0]

    def among(self, demand: Demand, view: ClusterView) -> Decision:
        if len(view.nodes) <= _PLAIN:
            nodes = ready(demand, view, _PLAIN)
            return Placement(self.choose(demand, view, nodes).node_id) if nodes else refuse(demand, view)
        if isinstance(demand.strategy, NodeLabelStrategy) and demand.strategy.soft:
            decision = self._ask(self._index(demand, soft=True), demand, view)
            if isinstance(decision, Placement):
                return decision
        return self._ask(self._index(demand, soft=False), demand, view)

    def _ask(self, index: FreeIndex, demand: Demand, view: ClusterView) -> Decision:
        index.follow(view)
        spread = isinstance(demand.strategy, SpreadStrategy)
        order = index.order(by_use if spread else self._rank, demand.resources)
        found = order.best()
        if found is None:
            offers = order.short()
            if offers:
                return Wait(shortage(demand.resources, offers, "any node has free"))
            return refuse(demand, view)
        best, stocks = found
        if view.local is not None and not spread:
            stock = index.stock_of(view.local)
            here = order.rank_of(stock) if stock is not None else None
            if here is not None and self.stays(here, best):
                return Placement(view.local)
        return Placement(take_turn(stocks, demand.turn if self.takes_turns or spread else 0))

    def _index(self, demand: Demand, soft: bool) -> FreeIndex:
        wish = _wish(demand, soft)
        index = self._indexes.get(wish)
        if index is None:
            index = self._indexes[wish] = FreeIndex(_acceptor(demand, soft) if wish else None)
            if len(self._indexes) > _INDEXES:
                self._indexes.popitem(last=False)
        else:
            self._indexes.move_to_end(wish)
        return index


def lowest(ranking: Ranking, demand: Demand, nodes: Sequence[NodeView]) -> tuple[Rank, list[NodeView]]:
    """Return the smallest rank among some nodes and those that have it, in the order in which they take turns."""
    asked = demand.resources.units
    ranks = [ranking(node, asked) for node in nodes]
    best = min(ranks)
    ties = [node for node, rank in zip(nodes, ranks, strict=True) if rank == best]
    if len(ties) > 1:
        ties.sort(key=lambda node: (place_in_line(node), node.node_id))
    return best, ties


def _wish(demand: Demand, soft: bool) -> _Wish:
    """Return what a demand says about labels, as a key; empty if nothing."""
    parts: list[Any] = [tuple(sorted(demand.label_selector.items()))] if demand.label_selector else []
    strategy = demand.strategy
    if isinstance(strategy, NodeLabelStrategy):
        parts.append(("hard", tuple(sorted(strategy.hard.items()))))
        if soft:
            parts.append(("soft", tuple(sorted(strategy.soft.items()))))
    return tuple(parts)


def _acceptor(demand: Demand, soft: bool) -> Any:
    return (
        (lambda node: accepts(demand, node) and prefers(demand, node))
        if soft
        else (lambda node: accepts(demand, node))
    )
