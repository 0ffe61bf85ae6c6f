"""Which slices the session has, by the labels of its nodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import shoal
from shoal.errors import ConfigError
from shoal.util.tpu.topology import chips_of, get_tpu_version_from_type, per_chip, pod_type

# Labels of nodes; whoever starts a node sets them (`shoal start --labels`).
SLICE = "shoal.io/tpu-slice-name"
WORKER = "shoal.io/tpu-worker-id"  # a host's number in its slice, from 0
POD_TYPE = "shoal.io/tpu-pod-type"
TOPOLOGY = "shoal.io/tpu-topology"
PART = "shoal.io/tpu-subslice-"  # and a topology: which of a slice's parts of that form a host is in


def head_resource(kind: str) -> str:
    """Return the resource of which the first host of each slice of that pod type has 1."""
    return f"TPU-{kind}-head"


def get_tpu_slice_name_from_node(node: Mapping[str, Any]) -> str | None:
    """Return the name of the slice that a node, as in `shoal.nodes()`, is part of; None if it is part of none."""
    name: str | None = node.get("Labels", {}).get(SLICE)
    return name


def get_tpu_nodes_for_slice(
    slice_name: str, nodes: Sequence[Mapping[str, Any]] | None = None
) -> list[Mapping[str, Any]]:
    """Return the living nodes of a slice, of those given or of all."""
    if nodes is None:
        nodes = shoal.nodes() if shoal.is_initialized() else []
    return [node for node in nodes if node["Alive"] and get_tpu_slice_name_from_node(node) == slice_name]


def get_num_tpu_slices(topology: str, accelerator_type: str, tpu_resource_per_chip: int | None = None) -> int:
    """Return how many slices of that form are whole: every chip there, and a first host."""
    return len(whole_slices(topology, accelerator_type, tpu_resource_per_chip))


def get_num_ready_tpu_slices(
    topology: str, accelerator_type: str, tpu_resource_per_chip: int | None = None
) -> int:
    """Return how many slices of that form are whole and entirely free."""
    whole = whole_slices(topology, accelerator_type, tpu_resource_per_chip)
    return sum(all(map(is_free, nodes)) for nodes in whole.values())


def is_free(node: Mapping[str, Any]) -> bool:
    """Tell whether nobody uses a TPU of that node."""
    return bool(node["Available"].get("TPU", 0) >= node["Resources"].get("TPU", 0))


def whole_slices(
    topology: str, accelerator_type: str, tpu_resource_per_chip: int | None = None
) -> dict[str, list[Mapping[str, Any]]]:
    """Return the nodes of each slice of that form that is whole, by the slice's name; none without a session."""
    unit = per_chip(tpu_resource_per_chip)
    try:
        kind = pod_type(topology, get_tpu_version_from_type(accelerator_type))
    except ConfigError:
        return {}
    chips = chips_of(topology) * unit
    found: dict[str, list[Mapping[str, Any]]] = {}
    for node in shoal.nodes() if shoal.is_initialized() else []:
        if node["Alive"] and node["Labels"].get(POD_TYPE) == kind:
            # A host that is a slice by itself may go without a name.
            alone = node["Resources"].get("TPU", 0) >= chips
            name = get_tpu_slice_name_from_node(node) or (node["NodeID"] if alone else None)
            if name is not None:
                found.setdefault(name, []).append(node)
    return {
        name: nodes
        for name, nodes in found.items()
        if sum(node["Resources"].get("TPU", 0) for node in nodes) == chips
        and (len(nodes) == 1 or any(node["Labels"].get(WORKER) == "0" for node in nodes))
    }
