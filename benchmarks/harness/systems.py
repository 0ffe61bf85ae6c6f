"""The tiny adapter: where the two systems differ in anything but the import."""

from __future__ import annotations

import importlib
import os
from typing import Any

CPUS = 2  # what both are told, on any machine, so that tables can be compared


def load(system: str) -> Any:
    """Import `shoal` or `ray`."""
    if system == "ray":
        # Its own variables: silence about metrics that nobody collects, and no usage report over the network.
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    return importlib.import_module(system)


def start(api: Any, resources: dict[str, float] | None = None) -> None:
    """Start a session with the system's defaults, two CPUs and little noise."""
    options: dict[str, Any] = {"num_cpus": CPUS, "log_to_driver": False}
    if resources:
        options["resources"] = resources
    if api.__name__ == "ray":
        options |= {"include_dashboard": False, "logging_level": "ERROR"}
    api.init(**options)


def cluster_of(api: Any) -> Any:
    """Return the class that starts several nodes on this machine."""
    return importlib.import_module(f"{api.__name__}.cluster_utils").Cluster


def node_of(node: Any) -> str:
    """Return the identifier of a node of such a cluster, as runtime contexts show it."""
    return str(node.node_id)


def groups_of(api: Any) -> Any:
    """Return the module that has `placement_group` and `remove_placement_group`."""
    return api.util if api.__name__ == "ray" else api
