"""Nodes by what they have free, kept as the view changes, so that a decision does not look at every node.

Nodes that have the same, of which the same is free and at which as much is queued are alike to a ranking: they form a
*stock*. A cluster of thousands of machines has few stocks, since machines come in few kinds and work in few sizes, so
what is ranked is stocks and not nodes. What a decision costs follows how many stocks have come up since the last one
for the same demand; the answer is exact, and depends on nothing but the demand and what the view holds.
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from itertools import compress
from operator import is_not
from typing import Any

from shoal.ids import NodeID
from shoal.schedulers.feasible import fits, scattered
from shoal.spec.live import LiveView
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, NodeView

Rank = tuple[int, ...]
Ranking = Callable[[NodeView, Mapping[str, int]], Rank]
Line = tuple[Any, ...]

_ORDERS = 64  # demands of different size that are kept in order at a time
_WINDOW = 32  # equally good stocks among which turns are taken


def place_in_line(node: NodeView) -> Line:
    """Return where a node's stock stands among equally good ones: a value that all machines order alike."""
    return (
        tuple(sorted(node.available.units.items())),
        tuple(sorted(node.total.units.items())),
        node.queued,
    )


class Stock:
    """Usable nodes that are alike. `sample` is any one of them; `ids` are theirs, sorted; empty ones may come back."""

    __slots__ = ("ids", "line", "sample")

    def __init__(self, sample: NodeView) -> None:
        self.sample = sample
        self.line = place_in_line(sample)
        self.ids: list[NodeID] = []


def line_of(stock: Stock) -> Line:
    """Return the place of a stock among equally good ones."""
    return stock.line


class Order:
    """The stocks that can take one demand, best first, by one ranking."""

    __slots__ = ("_best", "_by_rank", "_large", "_ranks", "asked", "ranking", "seen")

    def __init__(self, ranking: Ranking, asked: Mapping[str, int]) -> None:
        self.ranking = ranking
        self.asked = asked
        self.seen = 0  # how many arrivals of stocks it has heard of
        self._ranks: dict[Stock, Rank | None] = {}  # None: it cannot take the demand
        self._by_rank: dict[Rank, list[Stock]] = {}
        self._best: list[Rank] = []
        self._large: list[Stock] = []  # could take it if empty, cannot now

    def add(self, stock: Stock) -> None:
        """Hear of a stock that has nodes, again or for the first time."""
        rank = self._ranks[stock] if stock in self._ranks else self._rank(stock)
        if rank is None:
            return
        stocks = self._by_rank.get(rank)
        if stocks is None:
            self._by_rank[rank] = [stock]
            insort(self._best, rank)
            return
        at = bisect_left(stocks, stock.line, key=line_of)
        if at == len(stocks) or stocks[at] is not stock:
            stocks.insert(at, stock)

    def _rank(self, stock: Stock) -> Rank | None:
        node = stock.sample
        rank: Rank | None = None
        if fits(node.available.units, self.asked):
            rank = self.ranking(node, self.asked)
        elif fits(node.total.units, self.asked):
            self._large.append(stock)
        self._ranks[stock] = rank
        return rank

    def rank_of(self, stock: Stock) -> Rank | None:
        """Return how good a stock is; None if it cannot take the demand."""
        return self._ranks.get(stock)

    def best(self) -> tuple[Rank, Sequence[Stock]] | None:
        """Return the best rank and its stocks, in line; None if no node can take the demand."""
        while self._best:
            rank = self._best[0]
            stocks = self._by_rank[rank]
            full = [stock for stock in stocks if stock.ids]
            if full:
                if len(full) != len(stocks):
                    self._by_rank[rank] = full  # the others are heard of again when they have nodes
                return rank, full
            del self._by_rank[rank], self._best[0]
        return None

    def short(self) -> list[ResourceSet]:
        """Return what is free on nodes that would be large enough, were they empty."""
        return [stock.sample.available for stock in self._large if stock.ids]


def take_turn(stocks: Sequence[Stock], turn: int) -> NodeID:
    """Return the node of equally good stocks whose turn it is."""
    if len(stocks) == 1:
        ids = stocks[0].ids
        return ids[turn % len(ids)]
    if len(stocks) > _WINDOW:
        start = scattered(turn) % len(stocks)
        stocks = [*stocks[start : start + _WINDOW], *stocks[: max(0, start + _WINDOW - len(stocks))]]
    left = turn % sum(len(stock.ids) for stock in stocks)
    for stock in stocks:
        if left < len(stock.ids):
            return stock.ids[left]
        left -= len(stock.ids)
    raise AssertionError("a turn beyond the last node")


class FreeIndex:
    """What a policy knows of one view: its usable nodes in stocks, and orders of them for the demands of late.

    `accepts` leaves nodes out, by their labels. `follow` before every question. A view that is replaced by another is
    compared with it node by node, by identity; a `LiveView` says itself what has changed.
    """

    def __init__(self, accepts: Callable[[NodeView], bool] | None = None) -> None:
        self._accepts = accepts
        self._view: ClusterView | None = None
        self._version = -1
        self._last: list[NodeView] = []  # of a view that is no LiveView
        self._known: dict[NodeID, NodeView] = {}
        self._clear()

    def _clear(self) -> None:
        self._stocks: dict[tuple[ResourceSet, ResourceSet, int], Stock] = {}
        self._of: dict[NodeID, Stock] = {}
        self._arrived: list[Stock] = []  # stocks in the order in which they came to have nodes
        self._orders: OrderedDict[tuple[Ranking, ResourceSet], Order] = OrderedDict()

    # Following

    def follow(self, view: ClusterView) -> None:
        """Take in what has changed since the last time."""
        if isinstance(view, LiveView):
            self._follow_live(view)
        else:
            self._follow_plain(view)
        if len(self._stocks) > 2 * len(self._of) + 256 or len(self._arrived) > 8 * len(self._of) + 4096:
            self._rebuild(list(self._known.values()))  # most stocks are empty, or most arrivals are old

    def _follow_live(self, view: LiveView) -> None:
        if view is self._view:
            if view.version == self._version:
                return
            changed = view.changed(self._version)
            if changed is not None and len(changed) <= 2 * len(view.nodes):
                for node_id in changed if len(changed) < 2 else dict.fromkeys(changed):
                    self._put(node_id, view.nodes.get(node_id))
                self._version = view.version
                return
        self._rebuild(list(view.nodes.values()))
        self._view, self._version, self._last = view, view.version, []

    def _follow_plain(self, view: ClusterView) -> None:
        now, last = list(view.nodes.values()), self._last
        if len(now) != len(last) or self._view is not None:
            self._rebuild(now)
        elif now != last:
            for node, before in compress(zip(now, last, strict=True), map(is_not, now, last)):
                if node.node_id != before.node_id:
                    self._rebuild(now)
                    break
                self._put(node.node_id, node)
        self._view, self._last = None, now

    def _rebuild(self, nodes: list[NodeView]) -> None:
        self._clear()
        self._known = {}
        for node in nodes:
            self._put(node.node_id, node)

    def _put(self, node_id: NodeID, node: NodeView | None) -> None:
        stock = self._of.get(node_id)
        known = node is not None and node.alive and not node.draining
        if known and self._accepts is not None:
            assert node is not None
            known = self._accepts(node)
        if node is None:
            self._known.pop(node_id, None)
        else:
            self._known[node_id] = node
        if not known:
            if stock is not None:
                self._leave(stock, node_id)
                del self._of[node_id]
            return
        assert node is not None
        key = (node.available, node.total, node.queued)
        other = self._stocks.get(key)
        if other is stock and stock is not None:
            return
        if stock is not None:
            self._leave(stock, node_id)
        if other is None:
            other = self._stocks[key] = Stock(node)
        if not other.ids:
            self._arrived.append(other)
        insort(other.ids, node_id)
        self._of[node_id] = other

    def _leave(self, stock: Stock, node_id: NodeID) -> None:
        del stock.ids[bisect_left(stock.ids, node_id)]

    # Asking

    def node(self, node_id: NodeID) -> NodeView:
        """Return a node as it was when last followed."""
        return self._known[node_id]

    def stock_of(self, node_id: NodeID) -> Stock | None:
        """Return the stock that a usable node is in."""
        return self._of.get(node_id)

    def order(self, ranking: Ranking, resources: ResourceSet) -> Order:
        """Return the order of stocks for a demand."""
        key = (ranking, resources)
        order = self._orders.get(key)
        if order is None:
            order = self._orders[key] = Order(ranking, resources.units)
            if len(self._orders) > _ORDERS:
                self._orders.popitem(last=False)
            for stock in self._stocks.values():
                if stock.ids:
                    order.add(stock)
        else:
            self._orders.move_to_end(key)
            for stock in self._arrived[order.seen :]:
                order.add(stock)
        order.seen = len(self._arrived)
        return order
