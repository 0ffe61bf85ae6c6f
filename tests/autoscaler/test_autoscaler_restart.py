"""The head dies with its autoscaler, and the next ones go on with the machines that there are."""

from __future__ import annotations

import json
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import free_ports

import shoal
from shoal.autoscaler import request_resources
from shoal.cluster_utils import Cluster
from shoal.interfaces.nodes import NodeStart
from shoal.node_providers.process import ProcessNodes
from shoal.scaling import end_machines

pytestmark = [pytest.mark.processes, pytest.mark.slow]
SECONDS = 60


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head without CPUs and an autoscaler; this process is a driver of a node that is no machine of it."""
    folder = Path(tempfile.mkdtemp(prefix="r-"))
    with Cluster() as cluster:
        options = {"folder": str(folder / "machines"), "temp_dir": cluster.folder}
        described = {
            "name": "restart",
            "provider": {"kind": "process", **options},
            "node_types": {"pair": {"resources": {"CPU": 2}, "max": 2}},
            "idle_seconds": 3,
            "interval_seconds": 0.2,
        }
        path = folder / "cluster.json"
        path.write_text(json.dumps(described))
        cluster.add_node(
            num_cpus=0,
            head_port=free_ports(1)[0],
            metadata_location=str(folder / "head.db"),
            autoscaling=str(path),
        )
        left = cluster.add_node(num_cpus=1)
        shoal.init(address=left.address, temp_dir=os.path.dirname(left.folder))
        yield cluster
        shoal.shutdown()
        head = cluster.head_node
        assert head is not None
        cluster.remove_node(head)
        end_machines(ProcessNodes("restart", NodeStart(head_address="", credentials_file=""), options))
    shutil.rmtree(folder, ignore_errors=True)


def machines() -> set[str]:
    nodes: list[dict[str, Any]] = shoal.nodes()
    return {
        node["Labels"]["shoal.io/machine"]
        for node in nodes
        if node["Alive"] and "shoal.io/machine" in node["Labels"]
    }


@shoal.remote(num_cpus=2)
def slow(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_machines_outlive_the_head_and_the_next_autoscaler_takes_them_over(cluster: Cluster) -> None:
    ref = slow.remote(8)
    deadline = time.monotonic() + SECONDS
    while not (before := machines()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    request_resources(num_cpus=3)
    head = cluster.head_node
    assert head is not None
    os.kill(head.pid, signal.SIGKILL)
    cluster.restart_head()
    assert shoal.get(ref, timeout=SECONDS)  # its node went on, and nothing was done twice
    # What was requested is known to the new head: the one machine is enough for it, and stays though it is idle.
    deadline = time.monotonic() + 6
    while time.monotonic() < deadline:
        assert machines() == before
        time.sleep(0.2)
    request_resources()
    deadline = time.monotonic() + SECONDS
    while machines():  # the new autoscaler has not launched it, and ends it all the same
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert shoal.get(slow.remote(0), timeout=SECONDS)
