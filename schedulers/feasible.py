"""Which nodes could take a demand, which can now, and the words for why none can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain, islice

from shoal.errors import ConfigError
from shoal.spec.labels import allows, matches
from shoal.spec.resources import UNIT, ResourceSet
from shoal.spec.strategy import NodeAffinityStrategy, NodeLabelStrategy
from shoal.spec.view import ClusterView, Demand, Infeasible, NodeView, Wait


def scattered(turn: int) -> int:
    """Scatter turns, so that neighbouring ones begin far from each other (Knuth's multiplicative hash, folded)."""
    product = turn * 2_654_435_761 & 0xFFFF_FFFF
    return product ^ product >> 15


def fits(units: Mapping[str, int], asked: Mapping[str, int]) -> bool:
    """Tell whether quantities cover others, both in `ResourceSet.units`."""
    for name, amount in asked.items():  # noqa: SIM110  # `all` with a generator takes twice as long
        if units.get(name, 0) < amount:
            return False
    return True


def accepts(demand: Demand, node: NodeView) -> bool:
    """Tell whether a node's labels are among those that the demand insists on."""
    strategy = demand.strategy
    if isinstance(strategy, NodeLabelStrategy) and not allows(strategy.hard, node.labels):
        return False
    return not demand.label_selector or matches(demand.label_selector, node.labels)


def prefers(demand: Demand, node: NodeView) -> bool:
    """Tell whether a node's labels are those that the demand would like."""
    strategy = demand.strategy
    return (
        isinstance(strategy, NodeLabelStrategy) and bool(strategy.soft) and allows(strategy.soft, node.labels)
    )


def ready(demand: Demand, view: ClusterView, limit: int) -> list[NodeView]:
    """Return nodes that can take the demand now; only those that it prefers, if any of them can.

    Looking stops at `limit` nodes for a demand that has no wishes, beginning each turn at another node: the best of
    a few dozen random choices is as good as the best of all (Mitzenmacher, "The Power of Two Choices in
    Randomized Load Balancing", 2001), and the cost does not grow with the cluster. The order of the view's mapping
    therefore counts as part of the view.
    """
    if demand.label_selector or isinstance(demand.strategy, NodeLabelStrategy):
        found = [node for node in view.nodes.values() if _can(node, demand) and accepts(demand, node)]
        return [node for node in found if prefers(demand, node)] or found
    nodes = list(view.nodes.values())
    start = scattered(demand.turn) % len(nodes) if len(nodes) > limit else 0
    found = []
    asked = demand.resources.units
    for node in chain(islice(nodes, start, None), islice(nodes, start)):
        if node.alive and not node.draining and fits(node.available.units, asked):
            found.append(node)
            if len(found) == limit:
                break
    return found


def _can(node: NodeView, demand: Demand) -> bool:
    return node.alive and not node.draining and fits(node.available.units, demand.resources.units)


def bound_to(demand: Demand, view: ClusterView) -> NodeView | None:
    """Return the only node that the demand may run on, as things are; None if it may choose freely or has none.

    A soft binding binds while its node lives, takes work and is large enough.
    """
    strategy = demand.strategy
    if not isinstance(strategy, NodeAffinityStrategy):
        return None
    node = view.nodes.get(strategy.node_id)
    if node is None or not node.alive:
        return None
    usable = not node.draining and fits(node.total.units, demand.resources.units) and accepts(demand, node)
    return node if usable or not strategy.soft else None


def refuse(demand: Demand, view: ClusterView) -> Wait | Infeasible:
    """Return Wait or Infeasible with the reason, for a demand that no node can take now."""
    strategy = demand.strategy
    bound = bound_to(demand, view)
    if isinstance(strategy, NodeAffinityStrategy) and not strategy.soft and bound is None:
        return Infeasible(f"it is bound to node {strategy.node_id.hex()}, which is not alive")
    where = "its node" if bound is not None else "any node"
    nodes = [bound] if bound is not None else [node for node in view.nodes.values() if node.alive]
    if not nodes:
        return Wait("no node is alive")
    accepting = [node for node in nodes if accepts(demand, node)]
    if not accepting:
        return Infeasible(f"no node that it may run on has the labels that it needs: {_labels_asked(demand)}")
    large = [node for node in accepting if fits(node.total.units, demand.resources.units)]
    if not large:
        return Infeasible(shortage(demand.resources, [node.total for node in accepting], f"{where} has"))
    open_nodes = [node for node in large if not node.draining]
    if not open_nodes:
        return Wait(f"needs {quantities(demand.resources)}; every node that is large enough is draining")
    return Wait(shortage(demand.resources, [node.available for node in open_nodes], f"{where} has free"))


def quantities(resources: ResourceSet) -> str:
    """Return resources as a person writes them."""
    return (
        ", ".join(f"{amount:g} {name}" for name, amount in sorted(resources.to_floats().items())) or "nothing"
    )


def shortage(asked: ResourceSet, offers: Sequence[ResourceSet], has: str) -> str:
    """Name the resources that no single offer covers, or, if each is covered by some, that none covers all.

    Example: `shortage(ResourceSet.of(GPU=4), [ResourceSet.of(GPU=1)], "any node has")` is
    "needs 4 GPU; the most any node has is 1".
    """
    short = []
    for name, amount in sorted(asked.units.items()):
        most = max((each.units.get(name, 0) for each in offers), default=0)
        if most < amount:
            short.append(f"needs {asked[name]:g} {name}; the most {has} is {most / UNIT:g}")
    if short:
        return ", and ".join(short)
    lacking = [each.shortfall(asked) for each in offers]
    least = min(lacking, key=lambda each: (len(each), sorted(each.units.items())))
    return (
        f"needs {quantities(asked)} on one node; each can be had but not all on the same, the nearest "
        f"lacks {quantities(least)}"
    )


def _labels_asked(demand: Demand) -> str:
    parts = [f"{key}={text}" for key, text in sorted(demand.label_selector.items())]
    if isinstance(demand.strategy, NodeLabelStrategy):
        parts += [f"{key}=in({','.join(values)})" for key, values in sorted(demand.strategy.hard.items())]
    return ", ".join(parts)


def check_no_options(name: str, options: Mapping[str, object] | None) -> None:
    """Raise ConfigError for any option, in a scheduler that has none."""
    if options:
        raise ConfigError(f"the scheduler {name!r} has no options, got {sorted(options)}")
