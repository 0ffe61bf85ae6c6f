"""An autoscaler: machines come when work waits for them, and go when there is none."""

from shoal.autoscaler.requests import request_resources
from shoal.autoscaler.spec import ClusterSpec, read_cluster

__all__ = ["ClusterSpec", "read_cluster", "request_resources"]
