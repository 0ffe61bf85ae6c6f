"""Clusters from programs: the reference's functions, on our cluster files."""

from shoal.autoscaler.requests import request_resources
from shoal.autoscaler.sdk.clusters import (
    bootstrap_config,
    configure_logging,
    create_or_update_cluster,
    fillout_defaults,
    get_head_node_ip,
    get_worker_node_ips,
    register_callback_handler,
    rsync,
    run_on_cluster,
    teardown_cluster,
)

__all__ = [
    "bootstrap_config",
    "configure_logging",
    "create_or_update_cluster",
    "fillout_defaults",
    "get_head_node_ip",
    "get_worker_node_ips",
    "register_callback_handler",
    "request_resources",
    "rsync",
    "run_on_cluster",
    "teardown_cluster",
]
