"""Durable actors of a cluster: they come back on other nodes, through dead heads, and past processes are kept out."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal import exceptions
from shoal.cluster_utils import Cluster, ClusterNode
from shoal.metadata.sqlite import SqliteMetadata

pytestmark = pytest.mark.processes
SECONDS = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A head that runs no work, a node for the driver, and two others."""
    with Cluster() as cluster:
        cluster.add_node(num_cpus=0, head_port=free_port(), node_timeout_seconds=2)
        for side in ("driver", "left", "right"):
            cluster.add_node(num_cpus=1, resources={side: 10, **({} if side == "driver" else {"side": 10})})
        near = cluster.worker_nodes[0]
        shoal.init(address=near.address, temp_dir=os.path.dirname(near.folder), namespace="kept")
        cluster.wait_for_nodes()
        yield cluster
        shoal.shutdown()


@shoal.remote(durable=True, exactly_once=True, num_cpus=0, resources={"side": 1})
class Ledger:
    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    def add(self, caller: str, number: int) -> int:
        self.entries.append((caller, number))
        return len(self.entries)

    def all(self) -> list[tuple[str, int]]:
        return self.entries

    def where(self) -> tuple[str, int]:
        return shoal.get_runtime_context().get_node_id(), os.getpid()


def node_of(cluster: Cluster, actor: Any) -> ClusterNode:
    node_id, _ = shoal.get(actor.where.remote(), timeout=SECONDS)
    return next(node for node in cluster.worker_nodes if node.node_id == node_id)


def mine(entries: list[tuple[str, int]], caller: str) -> list[int]:
    return [number for name, number in entries if name == caller]


def metadata_of(head: ClusterNode) -> str:
    port = head.head_address.rpartition(":")[2]
    return os.path.join(os.path.dirname(head.folder), f"cluster-{port}.db")


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_node_dies_and_the_actor_comes_back_on_another(cluster: Cluster) -> None:
    ledger = Ledger.remote()
    assert shoal.get([ledger.add.remote("a", number) for number in range(50)], timeout=SECONDS)[-1] == 50
    first = node_of(cluster, ledger)
    refs = [ledger.add.remote("a", number) for number in range(50, 2000)]
    cluster.remove_node(first, allow_graceful=False)
    assert shoal.get(refs, timeout=SECONDS) == list(range(51, 2001))
    assert node_of(cluster, ledger).node_id != first.node_id
    head = cluster.head_node
    assert head is not None
    told = subprocess.run(
        [str(Path(sys.executable).parent / "shoal"), "status", "--address", head.head_address],
        env={**os.environ, "SHOAL_TEMP_DIR": os.path.dirname(head.folder)},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    ).stdout
    (line,) = [line for line in told.splitlines() if line.startswith("Ledger ")]
    assert re.search(r"ALIVE +20\d\d-.* from 20\d\d-", line), line
    logs = "".join(path.read_text() for path in Path(head.folder, "logs").iterdir())
    assert re.search(r"actor \w+ \(Ledger\) goes on with its state of 20\d\d-", logs)
    assert mine(shoal.get(ledger.all.remote(), timeout=SECONDS), "a") == list(range(2000))


def test_a_head_dies_and_answers_wait_until_their_effect_is_saved(cluster: Cluster) -> None:
    ledger = Ledger.remote()
    assert shoal.get(ledger.add.remote("a", 0), timeout=SECONDS) == 1
    _, pid = shoal.get(ledger.where.remote(), timeout=SECONDS)
    head = cluster.head_node
    assert head is not None
    os.kill(head.pid, signal.SIGKILL)
    refs = [ledger.add.remote("a", number) for number in range(1, 200)]
    assert shoal.wait(refs, num_returns=1, timeout=1)[0] == [], "answered although nothing can be saved"
    os.kill(pid, signal.SIGKILL)
    cluster.restart_head()
    assert shoal.get(refs, timeout=SECONDS) == list(range(2, 201))
    assert mine(shoal.get(ledger.all.remote(), timeout=SECONDS), "a") == list(range(200))


def test_a_process_that_was_cut_off_saves_and_answers_nothing(cluster: Cluster, tmp_path: Path) -> None:
    """Its daemon is stopped: the head gives the node up, another process takes over, and the old one wakes again."""
    ledger = Ledger.remote()
    for number in range(10):
        shoal.get(ledger.add.remote("a", number), timeout=SECONDS)
    first = node_of(cluster, ledger)
    _, old = shoal.get(ledger.where.remote(), timeout=SECONDS)
    with stopped(first.pid):
        refs = [ledger.add.remote("a", number) for number in range(10, 300)]
        assert shoal.get(refs, timeout=SECONDS) == list(range(11, 301))
        second, new = shoal.get(ledger.where.remote(), timeout=SECONDS)
        assert second != first.node_id
        assert new != old
        assert os.path.exists(f"/proc/{old}"), "the old process still lives, and must be kept out"
    more = [ledger.add.remote("a", number) for number in range(300, 400)]
    assert shoal.get(more, timeout=SECONDS) == list(range(301, 401))
    deadline = time.monotonic() + SECONDS
    while os.path.exists(f"/proc/{old}"):
        assert time.monotonic() < deadline, "the old process lives on"
        time.sleep(0.05)
    assert mine(shoal.get(ledger.all.remote(), timeout=SECONDS), "a") == list(range(400))


def test_a_detached_one_outlives_every_node_and_what_is_dead_leaves_nothing(cluster: Cluster) -> None:
    kept = Ledger.options(name="kept", lifetime="detached").remote()
    lost = Ledger.remote()
    shoal.get([actor.add.remote("a", 1) for actor in (kept, lost)], timeout=SECONDS)
    head = cluster.head_node
    assert head is not None
    path = metadata_of(head)
    os.kill(head.pid, signal.SIGKILL)
    shoal.shutdown()
    for node in cluster.worker_nodes:
        cluster.remove_node(node, allow_graceful=False)
    cluster.restart_head()
    near = cluster.add_node(num_cpus=1, resources={"side": 10})
    shoal.init(address=near.address, temp_dir=os.path.dirname(near.folder), namespace="kept")
    again = shoal.get_actor("kept")
    assert shoal.get(again.add.remote("b", 2), timeout=SECONDS) == 2
    assert [tuple(entry) for entry in shoal.get(again.all.remote(), timeout=SECONDS)] == [("a", 1), ("b", 2)]
    store = SqliteMetadata(path)
    try:
        wait_for_states(store, 1)
        shoal.kill(again)
        with pytest.raises(exceptions.ActorDied):
            shoal.get(again.all.remote(), timeout=SECONDS)
        wait_for_states(store, 0)
    finally:
        store.close()


def wait_for_states(store: SqliteMetadata, count: int) -> None:
    deadline = time.monotonic() + SECONDS
    while (found := [len(store.items(f"shoal:durable{part}")) for part in ("", ":pieces")]) != [count, count]:
        assert time.monotonic() < deadline, found
        time.sleep(0.05)
