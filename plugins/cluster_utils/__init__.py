"""A cluster of several nodes on one machine, each with processes of its own: for tests of programs that need many."""

from shoal.cluster_utils.autoscaling import AutoscalingCluster
from shoal.cluster_utils.cluster import Cluster, ClusterNode

__all__ = ["AutoscalingCluster", "Cluster", "ClusterNode"]
