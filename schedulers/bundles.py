"""Placing the bundles of a group: all together or none.

STRICT_SPREAD is a matching of bundles with nodes and is solved exactly, by augmenting paths (Kuhn, "The Hungarian
Method", 1955; the unweighted case). PACK and SPREAD are bin packing, which has no fast exact answer: a greedy pass
(largest bundle first) is tried, then a search of bounded length.
"""

from __future__ import annotations

from collections.abc import Sequence

from shoal.schedulers.feasible import fits, quantities, shortage
from shoal.schedulers.score import FULL
from shoal.spec.labels import matches
from shoal.spec.resources import ResourceSet
from shoal.spec.view import (
    BundleSpec,
    ClusterView,
    GroupDecision,
    GroupPlacement,
    GroupSpec,
    Infeasible,
    NodeView,
    Wait,
)

_SEARCH_STEPS = 20_000


def place_group(spec: GroupSpec, view: ClusterView) -> GroupDecision:
    """Answer for all bundles of a group at once. Equal groups and views have equal answers."""
    usable = view.usable()
    places = _Search(spec, usable, [dict(node.available.units) for node in usable]).solve()
    if places is not None:
        return GroupPlacement(tuple(usable[place].node_id for place in places))
    alive = sorted((node for node in view.nodes.values() if node.alive), key=lambda node: node.node_id)
    if not alive:
        return Wait("no node is alive")
    why = _never(spec, alive)
    if why:
        return Infeasible(why)
    total = _sum(spec.bundles)
    return Wait(
        f"the group needs {quantities(total)} in {len(spec.bundles)} bundles ({spec.strategy}); together the nodes "
        f"have free {quantities(_sum_free(usable))}, but not in the pieces that it needs"
    )


def _never(spec: GroupSpec, alive: Sequence[NodeView]) -> str:
    """Say why even empty nodes could not hold the group; empty if they could, or if that is not certain."""
    for bundle in spec.bundles:
        accepting = [node for node in alive if matches(bundle.label_selector, node.labels)]
        if not accepting:
            wanted = ", ".join(f"{key}={text}" for key, text in sorted(bundle.label_selector.items()))
            return f"no node has the labels that bundle {bundle.index} needs: {wanted}"
        if not any(fits(node.total.units, bundle.resources.units) for node in accepting):
            offers = [node.total for node in accepting]
            return f"bundle {bundle.index} " + shortage(bundle.resources, offers, "any node has")
    search = _Search(spec, alive, [dict(node.total.units) for node in alive])
    if spec.strategy == "STRICT_PACK" and search.solve() is None:
        offers = [node.total for node in alive]
        return "all bundles on one node (STRICT_PACK): " + shortage(
            _sum(spec.bundles), offers, "any node has"
        )
    if spec.strategy == "STRICT_SPREAD" and search.solve() is None:
        return (
            f"{len(spec.bundles)} bundles on as many nodes (STRICT_SPREAD): of {len(alive)} nodes not enough are large "
            "enough"
        )
    total = _sum(spec.bundles)
    have = ResourceSet()
    for node in alive:
        have = have + node.total
    if not have.covers(total):
        return "the group " + shortage(total, [have], "all nodes together have")
    return ""


class _Search:
    """Bundles, nodes and what is free on each; `solve` gives the node of each bundle, as indices."""

    def __init__(self, spec: GroupSpec, nodes: Sequence[NodeView], free: list[dict[str, int]]) -> None:
        self._spec = spec
        self._nodes = nodes
        self._free = free
        self._target = next((i for i, n in enumerate(nodes) if n.node_id == spec.soft_target_node), None)
        self._steps = _SEARCH_STEPS
        bundles = spec.bundles
        # Largest first, as seen by the scarcest resource: what is hard to place is placed while there is choice.
        most = (
            {name: max(node.total.units.get(name, 0) for node in nodes) for name in _sum(bundles).units}
            if nodes
            else {}
        )
        self._order = sorted(
            range(len(bundles)),
            key=lambda i: (
                -max(
                    (a * FULL // (most.get(n) or 1) for n, a in bundles[i].resources.units.items()), default=0
                ),
                i,
            ),
        )

    def solve(self) -> list[int] | None:
        if not self._nodes:
            return None
        strategy = self._spec.strategy
        if strategy == "STRICT_PACK":
            return self._on_one()
        if strategy == "STRICT_SPREAD":
            return self._matching()
        if strategy == "PACK":
            return self._on_one() or self._greedy(prefer_used=True) or self._search()
        return self._matching() or self._greedy(prefer_used=False) or self._search()

    def _could(self, bundle: BundleSpec, place: int) -> bool:
        return fits(self._free[place], bundle.resources.units) and (
            not bundle.label_selector or matches(bundle.label_selector, self._nodes[place].labels)
        )

    def _on_one(self) -> list[int] | None:
        total = _sum(self._spec.bundles).units
        selectors = [bundle.label_selector for bundle in self._spec.bundles if bundle.label_selector]
        fitting = [
            place
            for place, node in enumerate(self._nodes)
            if fits(self._free[place], total) and all(matches(each, node.labels) for each in selectors)
        ]
        if not fitting:
            return None
        if self._target in fitting:
            chosen = self._target
        else:
            chosen = min(fitting, key=lambda place: sum(self._share(place, name) for name in total))
        return [chosen] * len(self._spec.bundles)

    def _share(self, place: int, name: str) -> int:
        return self._free[place].get(name, 0) * FULL // (self._nodes[place].total.units.get(name) or 1)

    def _matching(self) -> list[int] | None:
        bundles = self._spec.bundles
        if len(bundles) > len(self._nodes):
            return None
        holder: dict[int, int] = {}  # node -> bundle

        def find(bundle: int, seen: set[int]) -> bool:
            # No recursion: a chain of moves may be as long as the cluster is large.
            stack = [(bundle, iter(range(len(self._nodes))))]
            path: list[int] = []
            while stack:
                current, places = stack[-1]
                for place in places:
                    if place in seen or not self._could(bundles[current], place):
                        continue
                    seen.add(place)
                    path.append(place)
                    if place not in holder:
                        for (moved, _), where in zip(stack, path, strict=True):
                            holder[where] = moved
                        return True
                    stack.append((holder[place], iter(range(len(self._nodes)))))
                    break
                else:
                    stack.pop()
                    if path:
                        path.pop()
            return False

        for bundle in self._order:
            if not find(bundle, set()):
                return None
        places = {bundle: place for place, bundle in holder.items()}
        return [places[bundle] for bundle in range(len(bundles))]

    def _greedy(self, prefer_used: bool) -> list[int] | None:
        free = [dict(each) for each in self._free]
        count = [0] * len(self._nodes)
        places = [-1] * len(self._spec.bundles)
        self_free, self._free = self._free, free
        try:
            for bundle in self._order:
                could = [p for p in range(len(self._nodes)) if self._could(self._spec.bundles[bundle], p)]
                if not could:
                    return None
                sign = -1 if prefer_used else 1
                place = min(could, key=lambda p: (sign * count[p], p != self._target, p))
                _take(free[place], self._spec.bundles[bundle], 1)
                count[place] += 1
                places[bundle] = place
        finally:
            self._free = self_free
        return places

    def _search(self) -> list[int] | None:
        """Try all ways in order, up to a number of steps."""
        places = [-1] * len(self._spec.bundles)
        depth = 0
        while 0 <= depth < len(self._order) and self._steps:
            bundle = self._order[depth]
            if places[bundle] >= 0:
                _take(self._free[places[bundle]], self._spec.bundles[bundle], -1)
            for place in range(places[bundle] + 1, len(self._nodes)):
                self._steps -= 1
                if self._could(self._spec.bundles[bundle], place):
                    _take(self._free[place], self._spec.bundles[bundle], 1)
                    places[bundle] = place
                    depth += 1
                    break
            else:
                places[bundle] = -1
                depth -= 1
        return places if depth == len(self._order) else None


def _take(free: dict[str, int], bundle: BundleSpec, times: int) -> None:
    for name, amount in bundle.resources.units.items():
        free[name] = free.get(name, 0) - times * amount


def _sum(bundles: Sequence[BundleSpec]) -> ResourceSet:
    total = ResourceSet()
    for bundle in bundles:
        total = total + bundle.resources
    return total


def _sum_free(nodes: Sequence[NodeView]) -> ResourceSet:
    total = ResourceSet()
    for node in nodes:
        total = total + node.available
    return total
