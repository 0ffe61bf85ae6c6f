"""Slices of TPUs: what they are made of, which there are, reserving them whole. docs/utilities.md tells the labels."""

from __future__ import annotations

from shoal.util.tpu.cluster import (
    get_num_ready_tpu_slices,
    get_num_tpu_slices,
    get_tpu_nodes_for_slice,
    get_tpu_slice_name_from_node,
)
from shoal.util.tpu.here import (
    get_current_pod_name,
    get_current_pod_worker_count,
    get_num_tpu_chips_on_node,
    init_jax_profiler,
)
from shoal.util.tpu.parts import SubslicePlacementGroup, subslice_placement_group
from shoal.util.tpu.running import dispatch, run_on_slice
from shoal.util.tpu.slices import SlicePlacementGroup, slice_placement_group
from shoal.util.tpu.topology import (
    get_tpu_coordinator_env_vars,
    get_tpu_num_slices_for_workers,
    get_tpu_version_from_type,
    get_tpu_worker_resources,
)

__all__ = [
    "SlicePlacementGroup",
    "SubslicePlacementGroup",
    "dispatch",
    "get_current_pod_name",
    "get_current_pod_worker_count",
    "get_num_ready_tpu_slices",
    "get_num_tpu_chips_on_node",
    "get_num_tpu_slices",
    "get_tpu_coordinator_env_vars",
    "get_tpu_nodes_for_slice",
    "get_tpu_num_slices_for_workers",
    "get_tpu_slice_name_from_node",
    "get_tpu_version_from_type",
    "get_tpu_worker_resources",
    "init_jax_profiler",
    "run_on_slice",
    "slice_placement_group",
    "subslice_placement_group",
]
