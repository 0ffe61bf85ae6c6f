"""Looking at the cluster: nodes, resources, what ran, and why something has not."""

from __future__ import annotations

import json
import os
from typing import Any

from shoal.api.handle import ActorHandle
from shoal.api.session import engine_or_start
from shoal.errors import describe
from shoal.interfaces.refs import ObjectRef
from shoal.spec.resources import ResourceSet
from shoal.spec.view import Explanation


def nodes() -> list[dict[str, Any]]:
    """Return one mapping per node: NodeID, Alive, NodeManagerAddress, Resources, Available, Labels, Draining."""
    return [
        {
            "NodeID": node.node_id.hex(),
            "Alive": node.alive,
            "alive": node.alive,
            "NodeManagerAddress": node.address,
            "Resources": node.total.to_floats(),
            "Available": node.available.to_floats(),
            "Labels": dict(node.labels),
            "Draining": node.draining,
        }
        for _, node in sorted(engine_or_start().view().nodes.items())
    ]


def cluster_resources() -> dict[str, float]:
    """Return what all living nodes have, by resource."""
    total = ResourceSet()
    for node in engine_or_start().view().nodes.values():
        total = total + node.total if node.alive else total
    return total.to_floats()


def available_resources() -> dict[str, float]:
    """Return what is free on all living nodes, by resource. What is used up is left out."""
    total = ResourceSet()
    for node in engine_or_start().view().nodes.values():
        total = total + node.available if node.alive else total
    return {name: quantity for name, quantity in total.to_floats().items() if quantity > 0}


def timeline(filename: str | os.PathLike[str] | None = None) -> list[dict[str, Any]] | None:
    """Return what ran in the session as Chrome trace events, or write them to a file that Perfetto opens.

    Example: `shoal.timeline("trace.json")`, and then open that at chrome://tracing or https://ui.perfetto.dev
    """
    events = engine_or_start().timeline()
    if filename is None:
        return events
    with open(filename, "w", encoding="utf-8") as file:
        json.dump(events, file)
    return None


def explain(target: ObjectRef[Any] | ActorHandle[Any]) -> Explanation:
    """Say why a reference or an actor is not ready: the chain of reasons down to its root. Print the answer.

    Example: `print(shoal.explain(ref))`
    """
    engine = engine_or_start()
    if isinstance(target, ActorHandle):
        return engine.explain(target._shoal_info.actor_id)
    if isinstance(target, ObjectRef):
        return engine.explain(target)
    raise TypeError(f"explain() takes an ObjectRef or an actor's handle, not {describe(target)}")
