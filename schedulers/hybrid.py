"""HybridScheduler: stay on this machine while it is at ease, then go to the best of a few others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from shoal.errors import ConfigError, describe
from shoal.schedulers.feasible import fits
from shoal.schedulers.index import Rank
from shoal.schedulers.ranked import RankedPolicy
from shoal.schedulers.score import FULL, spare_kinds, utilisation
from shoal.spec.view import ClusterView, Demand, NodeView


class HybridScheduler(RankedPolicy):
    """Packs until `threshold`, spreads after it, as Ray's default policy does.

    While the asking node is used less than the threshold, work stays there: no data moves. Beyond it, nodes below the
    threshold are equally good and take turns; above it the least used is. Nodes with special resources that were not
    asked for (a GPU for work that needs none) come last.

    Options: `threshold`, 0.0 to 1.0, 0.5 if not given.
    """

    name: ClassVar[str] = "hybrid"
    __slots__ = ("_threshold",)

    def __init__(self, options: Mapping[str, Any] | None = None) -> None:
        given = dict(options or {})
        threshold = given.pop("threshold", 0.5)
        if given:
            raise ConfigError(f"the scheduler 'hybrid' has no options {sorted(given)}; it has threshold")
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0 <= threshold <= 1:
            raise ConfigError(
                f"threshold of the scheduler 'hybrid' must be 0.0 to 1.0, got {describe(threshold)}"
            )
        self._threshold = int(threshold * FULL)

    def shortcut(self, demand: Demand, view: ClusterView) -> NodeView | None:
        node = view.nodes.get(view.local) if view.local is not None else None
        if node is None or not node.alive or node.draining:
            return None
        asked = demand.resources.units
        if not fits(node.available.units, asked) or spare_kinds(node, asked):
            return None
        return node if utilisation(node, asked) <= self._threshold else None

    def rank(self, node: NodeView, asked: Mapping[str, int]) -> Rank:
        used = utilisation(node, asked)
        return spare_kinds(node, asked), 0 if used <= self._threshold else used, node.queued

    def stays(self, here: Rank, best: Rank) -> bool:
        return here[:2] == (best[0], 0)
