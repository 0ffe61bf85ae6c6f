"""Every metric that a node tells of itself: the one table that exposition, documentation and dashboards are made of."""

from __future__ import annotations

import attrs


@attrs.frozen
class MetricSpec:
    """One metric. `labels` are those beside `session` and `node`, which all have."""

    name: str
    kind: str  # "counter" or "gauge"
    text: str
    group: str
    labels: tuple[str, ...] = ()
    unit: str = "short"  # as Grafana names it
    of_head: bool = False  # the head's node alone tells it


METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        "shoal_tasks_ended_total",
        "counter",
        "Attempts of calls, of tasks and actors, that processes of this node made and that are over.",
        "Tasks",
        ("outcome",),
    ),
    MetricSpec(
        "shoal_tasks",
        "gauge",
        "Calls that processes of this node made and that are not over: running, or waiting for a worker.",
        "Tasks",
        ("state",),
    ),
    MetricSpec(
        "shoal_leases_waiting", "gauge", "Leases of workers that are waited for at this node.", "Tasks"
    ),
    MetricSpec("shoal_workers", "gauge", "Worker processes of this node.", "Processes", ("state",)),
    MetricSpec(
        "shoal_processes_connected",
        "gauge",
        "Drivers and workers that are connected to this node.",
        "Processes",
    ),
    MetricSpec(
        "shoal_resource_capacity",
        "gauge",
        "What this node offers of each resource.",
        "Resources",
        ("resource",),
    ),
    MetricSpec(
        "shoal_resource_available",
        "gauge",
        "What of it is free; below 0 for a moment.",
        "Resources",
        ("resource",),
    ),
    MetricSpec(
        "shoal_node_cpu_used_ratio",
        "gauge",
        "Share of the machine's processors that was busy since the last look.",
        "Machine",
        (),
        "percentunit",
    ),
    MetricSpec("shoal_node_load_1m", "gauge", "The machine's load over a minute.", "Machine"),
    MetricSpec(
        "shoal_node_memory_used_bytes", "gauge", "Memory in use on the machine.", "Machine", (), "bytes"
    ),
    MetricSpec(
        "shoal_node_memory_total_bytes", "gauge", "Memory that the machine has.", "Machine", (), "bytes"
    ),
    MetricSpec(
        "shoal_store_used_bytes", "gauge", "Bytes of objects in shared memory.", "Objects", (), "bytes"
    ),
    MetricSpec(
        "shoal_store_capacity_bytes", "gauge", "Bytes that the store may hold there.", "Objects", (), "bytes"
    ),
    MetricSpec("shoal_store_objects", "gauge", "Objects in shared memory.", "Objects"),
    MetricSpec("shoal_store_spilled_bytes", "gauge", "Bytes of objects on disk.", "Objects", (), "bytes"),
    MetricSpec("shoal_store_spilled_objects", "gauge", "Objects on disk.", "Objects"),
    MetricSpec(
        "shoal_event_log_bytes", "gauge", "Size of this node's event log.", "Observability", (), "bytes"
    ),
    MetricSpec("shoal_nodes", "gauge", "Nodes of the cluster.", "Cluster", ("state",), of_head=True),
    MetricSpec("shoal_actors", "gauge", "Actors of the cluster.", "Cluster", ("state",), of_head=True),
    MetricSpec(
        "shoal_placement_groups",
        "gauge",
        "Placement groups of the cluster.",
        "Cluster",
        ("state",),
        of_head=True,
    ),
    MetricSpec("shoal_jobs", "gauge", "Jobs that the head remembers.", "Cluster", ("state",), of_head=True),
)
