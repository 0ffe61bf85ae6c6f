"""Numbers by which nodes are compared. All are whole numbers, so that every machine compares alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache

from shoal.spec.resources import ResourceSet
from shoal.spec.view import NodeView

FULL = 1_000_000  # utilisation in millionths
_ORDINARY = ("CPU", "memory", "object_store_memory")


def utilisation(node: NodeView, asked: Mapping[str, int] | None = None) -> int:
    """Return the share in use, after taking `asked`, of the resource that is used most, in millionths.

    The critical-resource utilisation of Ray's hybrid policy: a node is as busy as its scarcest resource.
    """
    free = node.available.units
    worst = 0
    for name, total in node.total.units.items():
        left = free.get(name, 0)
        if asked and name in asked:
            left -= asked[name]
        if left == total:
            continue
        used = (total - left) * FULL // total
        if used > worst:
            worst = used
    return worst


def leftover(node: NodeView, asked: Mapping[str, int]) -> int:
    """Return what stays free of the asked resources, as a sum of shares in millionths: small is a tight fit."""
    free, total = node.available.units, node.total.units
    return sum(
        (free.get(name, 0) - amount) * FULL // total[name] for name, amount in asked.items() if name in total
    )


def spare_kinds(node: NodeView, asked: Mapping[str, int]) -> int:
    """Return how many special resources (not CPU, not memory) a node has that are not asked for.

    Work that needs no GPU should leave nodes with GPUs to work that does.
    """
    special = _special(node.total)
    return len(special.difference(asked)) if special else 0


@lru_cache(maxsize=4096)
def _special(total: ResourceSet) -> frozenset[str]:
    return frozenset(name for name in total.units if name not in _ORDINARY and not name.startswith("node:"))


def best(nodes: Sequence[NodeView], turn: int, score: Callable[[NodeView], tuple[int, ...]]) -> NodeView:
    """Return the node with the smallest score; equally good ones each in its turn, in the order of identifiers."""
    lowest: tuple[int, ...] | None = None
    ties: list[NodeView] = []
    for node in nodes:
        found = score(node)
        if lowest is None or found < lowest:
            lowest, ties = found, [node]
        elif found == lowest:
            ties.append(node)
    if len(ties) > 1:
        ties.sort(key=lambda node: node.node_id)
    return ties[turn % len(ties)]
