"""A cluster of three nodes for the tests of a module: the head with one CPU, `left` and `right` with two each."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pytest

import shoal
from shoal.cluster_utils import Cluster, ClusterNode


@attrs.frozen
class Three:
    cluster: Cluster
    head: ClusterNode
    left: ClusterNode
    right: ClusterNode


def make_three(**settings: Any) -> Iterator[Three]:
    with Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 1, "resources": {"middle": 100}, **settings},
    ) as cluster:
        left = cluster.add_node(num_cpus=2, resources={"left": 100}, labels={"side": "left"}, **settings)
        right = cluster.add_node(num_cpus=2, resources={"right": 100}, labels={"side": "right"}, **settings)
        assert cluster.head_node is not None
        yield Three(cluster, cluster.head_node, left, right)


@pytest.fixture(scope="module")
def standing() -> Iterator[Three]:
    """A cluster that no test of the module harms."""
    yield from make_three()


@pytest.fixture
def three(standing: Three) -> Iterator[Three]:
    """The module's cluster, with this process as a driver."""
    standing.cluster.connect()
    try:
        standing.cluster.wait_for_nodes()
        yield standing
    finally:
        shoal.shutdown()


@pytest.fixture
def mortal() -> Iterator[Three]:
    """A cluster of the test's own, with this process as a driver: nodes of it may die."""
    for three in make_three():
        three.cluster.connect()
        three.cluster.wait_for_nodes()
        yield three
