"""Where replicas go: the options of their actors, their placement groups, and how many share a node."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

import shoal
from shoal.serve.messages import NAMESPACE, DeploymentSpec
from shoal.serve.replica import Replica

_CALLS = 1_000_000  # a replica bounds its requests by itself


def create(name: str, spec: DeploymentSpec, used: Iterable[str]) -> tuple[Any, Any] | None:
    """Return the actor of a new replica and its placement group, or None if no node may have another one.

    `used` are the nodes of the deployment's replicas. Raises ConfigError for options that are wrong.
    """
    options = spec.options
    chosen: dict[str, Any] = {"num_cpus": 1, **options.ray_actor_options}
    group = None
    if options.max_replicas_per_node is not None:
        node = _node_with_room(options.max_replicas_per_node, used)
        if node is None:
            return None
        chosen["scheduling_strategy"] = shoal.NodeAffinitySchedulingStrategy(node, soft=False)
    elif options.placement_group_bundles is not None:
        bundles = [dict(each) for each in options.placement_group_bundles]
        group = shoal.placement_group(bundles, strategy=options.placement_group_strategy)
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


def _node_with_room(most: int, used: Iterable[str]) -> str | None:
    counts = Counter(used)
    nodes = [each["NodeID"] for each in shoal.nodes() if each["Alive"]]
    free = [node for node in nodes if counts[node] < most]
    return min(free, key=lambda node: counts[node]) if free else None
