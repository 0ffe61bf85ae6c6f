"""The contract of Engine for a driver outside the cluster: the same tests, through a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from shoal.cluster_utils import Cluster
from shoal.testing.engines import EngineContract


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 4, "resources": {"widget": 2}}) as cluster:
        yield cluster


@pytest.mark.processes
class TestClient(EngineContract):
    @pytest.fixture
    def engine_name(self) -> str:
        return "client"

    @pytest.fixture
    def settings(self, cluster: Cluster) -> dict[str, Any]:
        arguments = cluster.init_arguments()
        address = f"shoal://{cluster.address}"
        return {"num_cpus": None, "resources": None, **arguments, "address": address}
