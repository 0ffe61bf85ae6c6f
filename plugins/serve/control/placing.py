"""Where replicas go: the options of their actors, their placement groups, and how many share a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import shoal
from shoal.serve.context import ReplicaRank
from shoal.serve.gang import GangContext
from shoal.serve.messages import NAMESPACE, DeploymentSpec
from shoal.serve.replica import Replica

_CALLS = 1_000_000  # a replica bounds its requests by itself


def create(
    name: str, spec: DeploymentSpec, used: Iterable[str], seat: GangContext | None = None, gang: Any = None
) -> tuple[Any, Any] | None:
    """Return the actor of a new replica and its placement group, or None if no node may have another one.

    `used` are the nodes of the deployment's replicas; a member of a gang goes to its `seat` in the gang's placement
    group. Raises ConfigError for options that are wrong.
    """
    options = spec.options
    chosen: dict[str, Any] = {"num_cpus": 1, **options.ray_actor_options}
    group = None
    if seat is not None:
        chosen["scheduling_strategy"] = shoal.PlacementGroupSchedulingStrategy(
            gang, placement_group_bundle_index=seat.rank, placement_group_capture_child_tasks=True
        )
    elif options.max_replicas_per_node is not None:
        node = _node_with_room(options.max_replicas_per_node, used)
        if node is None:
            return None
        chosen["scheduling_strategy"] = shoal.NodeAffinitySchedulingStrategy(node, soft=False)
    elif options.placement_group_bundles is not None:
        bundles = [dict(each) for each in options.placement_group_bundles]
        group = shoal.placement_group(
            bundles,
            strategy=options.placement_group_strategy,
            bundle_label_selector=options.placement_group_bundle_label_selector,
        )
        chosen["scheduling_strategy"] = shoal.PlacementGroupSchedulingStrategy(
            group, placement_group_bundle_index=0, placement_group_capture_child_tasks=True
        )
    actor = (
        shoal.remote(Replica)
        .options(
            name=name,
            namespace=NAMESPACE,
            lifetime="detached",
            max_restarts=0,
            max_concurrency=_CALLS,
            **chosen,
        )
        .remote(name, spec)
    )
    return actor, group


def group_of(spec: DeploymentSpec, seat: GangContext) -> Any:
    """Return a placement group with a bundle for each member of a gang: there is room for all, or it waits."""
    gang = spec.options.gang_scheduling_config
    assert gang is not None, "only gangs have seats"
    asked: dict[str, Any] = {"num_cpus": 1, **spec.options.ray_actor_options}
    bundle = {name: float(amount) for name, amount in (asked.get("resources") or {}).items()}
    for option, name in (("num_cpus", "CPU"), ("num_gpus", "GPU"), ("memory", "memory")):
        if asked.get(option):
            bundle[name] = float(asked[option])
    return shoal.placement_group(
        [dict(bundle or {"CPU": 0.001}) for _ in range(seat.world_size)],
        strategy=gang.gang_placement_strategy.value,
        name=seat.pg_name,
        lifetime="detached",
    )


def ranks_of(
    names: Sequence[str], nodes: Mapping[str, str], before: Mapping[str, int]
) -> dict[str, ReplicaRank]:
    """Return the ranks of replicas, in the order of their start. Who has a rank that is still there keeps it.

    Example: `ranks_of(["a", "b"], {"a": "n1", "b": "n1"}, {"b": 0})["a"]` is `ReplicaRank(1, 0, 1)`.
    """
    kept = {before[name]: name for name in names if before.get(name, len(names)) < len(names)}
    free = iter(rank for rank in range(len(names)) if rank not in kept)
    mine = {name: rank for rank, name in kept.items()}
    for name in names:
        if name not in mine:
            mine[name] = next(free)
    ordered = sorted(names, key=lambda name: mine[name])
    places: dict[str, list[str]] = {}
    for name in ordered:
        places.setdefault(nodes.get(name, ""), []).append(name)
    node_ranks = {node: rank for rank, node in enumerate(places)}
    return {
        name: ReplicaRank(
            mine[name], node_ranks[nodes.get(name, "")], places[nodes.get(name, "")].index(name)
        )
        for name in ordered
    }


def _node_with_room(most: int, used: Iterable[str]) -> str | None:
    counts = Counter(used)
    nodes = [each["NodeID"] for each in shoal.nodes() if each["Alive"]]
    free = [node for node in nodes if counts[node] < most]
    return min(free, key=lambda node: counts[node]) if free else None
