"""The head dies and another one goes on from its metadata store, while the nodes go on working."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_servers import Etcd, Redis

import shoal
from shoal import exceptions
from shoal.cluster_utils import Cluster, ClusterNode

pytestmark = pytest.mark.processes
SECONDS = 40


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(
    params=[
        "sqlite",
        pytest.param("redis", marks=pytest.mark.slow),
        pytest.param("etcd", marks=pytest.mark.slow),
    ]
)
def metadata(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The settings of a metadata store, for which a server runs if it needs one."""
    if request.param == "sqlite":
        yield {"metadata_location": str(tmp_path / "head.db")}
        return
    server = (Redis if request.param == "redis" else Etcd)(tmp_path)
    server.start()
    try:
        yield {"metadata": request.param, "metadata_location": server.url()}
    finally:
        server.stop()


@pytest.fixture
def cluster(metadata: dict[str, str]) -> Iterator[Cluster]:
    """A head that runs no work, and two nodes; this process is a driver of one of those."""
    with Cluster() as cluster:
        cluster.add_node(num_cpus=0, head_port=free_port(), **metadata)
        for side in ("left", "right"):
            cluster.add_node(num_cpus=2, resources={side: 10})
        head = cluster.head_node
        assert head is not None
        left = cluster.worker_nodes[0]
        shoal.init(address=left.address, temp_dir=os.path.dirname(left.folder), namespace="kept")
        cluster.wait_for_nodes()
        yield cluster
        shoal.shutdown()


@shoal.remote
class Counter:
    def __init__(self) -> None:
        self.value = 0

    def add(self) -> int:
        self.value += 1
        return self.value

    def pid(self) -> int:
        return os.getpid()


@shoal.remote
def slow(number: int) -> int:
    time.sleep(0.1)
    return number


def kill_head(cluster: Cluster) -> ClusterNode:
    head = cluster.head_node
    assert head is not None
    os.kill(head.pid, signal.SIGKILL)
    return head


def test_work_goes_on_and_nothing_that_was_acknowledged_is_lost(cluster: Cluster) -> None:
    kept = Counter.options(name="kept", lifetime="detached", num_cpus=0, resources={"right": 1}).remote()
    mine = Counter.options(num_cpus=0, resources={"left": 1}).remote()
    assert shoal.get([kept.add.remote(), mine.add.remote()], timeout=SECONDS) == [1, 1]
    pid = shoal.get(kept.pid.remote(), timeout=SECONDS)
    group = shoal.placement_group([{"CPU": 0.5}, {"CPU": 0.5}], strategy="STRICT_SPREAD", name="group")
    assert group.wait(SECONDS)
    places = shoal.placement_group_table(group)["bundles_to_node_id"]
    refs = [slow.remote(number) for number in range(40)]
    kill_head(cluster)
    # While there is no head: tasks run, actors answer.
    assert shoal.get(mine.add.remote(), timeout=SECONDS) == 2
    assert shoal.get(kept.add.remote(), timeout=SECONDS) == 2
    cluster.restart_head()
    late = Counter.options(name="late", num_cpus=0).remote()
    assert shoal.get(late.add.remote(), timeout=SECONDS) == 1
    assert shoal.get(refs, timeout=SECONDS) == list(range(40))

    again = shoal.get_actor("kept")
    assert shoal.get([again.add.remote(), again.pid.remote()], timeout=SECONDS) == [3, pid]
    assert shoal.get(mine.add.remote(), timeout=SECONDS) == 3
    assert shoal.placement_group_table(group)["bundles_to_node_id"] == places
    shoal.remove_placement_group(group)
    deadline = time.monotonic() + SECONDS
    while shoal.available_resources().get("CPU") != 4:
        assert time.monotonic() < deadline, shoal.available_resources()
        time.sleep(0.05)
    assert len(shoal.nodes()) == 3
    shoal.kill(again)


def test_what_is_asked_while_there_is_no_head_is_answered_when_it_is_back(cluster: Cluster) -> None:
    kill_head(cluster)
    actor = Counter.options(resources={"right": 1}).remote()
    group = shoal.placement_group([{"CPU": 1}])
    answer = actor.add.remote()
    assert shoal.wait([answer], timeout=0.5)[0] == []
    cluster.restart_head()
    assert shoal.get(answer, timeout=SECONDS) == 1
    assert group.wait(SECONDS)


def test_an_actor_that_dies_while_there_is_no_head_restarts_when_it_is_back(cluster: Cluster) -> None:
    actor = Counter.options(max_restarts=1, max_task_retries=2, resources={"right": 1}).remote()
    pid = shoal.get(actor.pid.remote(), timeout=SECONDS)
    kill_head(cluster)
    os.kill(pid, signal.SIGKILL)
    cluster.restart_head()
    assert shoal.get(actor.pid.remote(), timeout=SECONDS) != pid


def test_a_driver_that_ends_while_there_is_no_head_is_noticed(cluster: Cluster, tmp_path: Path) -> None:
    program = (
        "import shoal, sys, os\n"
        "shoal.init(address=sys.argv[1], temp_dir=sys.argv[2])\n"
        "@shoal.remote(num_cpus=0)\n"
        "class Holder:\n"
        "    def pid(self): return os.getpid()\n"
        "holder = Holder.options(resources={'right': 1}).remote()\n"
        "print(shoal.get(holder.pid.remote()), flush=True)\n"
        "sys.stdin.readline()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    left = cluster.worker_nodes[0]
    command = [sys.executable, "-c", program, left.address, os.path.dirname(left.folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        pid = int(other.stdout.readline())
        kill_head(cluster)
        other.communicate("\n", timeout=SECONDS)
    cluster.restart_head()
    deadline = time.monotonic() + SECONDS
    while os.path.exists(f"/proc/{pid}"):
        assert time.monotonic() < deadline, "the dead driver's actor lives on"
        time.sleep(0.05)


def test_a_second_head_on_one_metadata_store_is_refused(cluster: Cluster, metadata: dict[str, str]) -> None:
    with Cluster() as other, pytest.raises(RuntimeError, match="another head"):
        other.add_node(num_cpus=0, node_timeout_seconds=1, **metadata)
    assert shoal.get(slow.remote(1), timeout=SECONDS) == 1


def test_stopping_the_head_stops_the_cluster(cluster: Cluster) -> None:
    left = cluster.worker_nodes[0]
    head = cluster.head_node
    assert head is not None
    cluster.remove_node(head)
    deadline = time.monotonic() + SECONDS
    while os.path.exists(os.path.join(left.folder, "node.json")):
        assert time.monotonic() < deadline, "a node goes on without its cluster"
        time.sleep(0.05)
    with pytest.raises(exceptions.NodeDied):
        shoal.get(slow.remote(1), timeout=SECONDS)
