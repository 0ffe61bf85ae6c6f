"""`shoal memory`: objects by size, owner and place, and what holds them, over processes and nodes."""

from __future__ import annotations

import json
import os
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.cluster_utils import Cluster

pytestmark = pytest.mark.processes
SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")
SECONDS = 60


def memory(folder: str, *words: str) -> Any:
    done = subprocess.run(
        [SHOAL, "memory", "--json", *words],
        env={**os.environ, "SHOAL_TEMP_DIR": folder},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def of(found: Any, ref: shoal.ObjectRef[Any]) -> Any:
    [one] = [one for one in found["objects"] if one["object"] == ref.hex()]
    return one


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """Two nodes and this process as a driver; returns the folder of their sessions."""
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "resources": {"first": 9}}) as made:
        made.add_node(num_cpus=2, resources={"second": 9})
        assert made.head_node is not None
        folder = os.path.dirname(made.head_node.folder)
        shoal.init(address=made.address, temp_dir=folder, record_call_sites=True)
        made.wait_for_nodes()
        yield folder
        shoal.shutdown()


@shoal.remote(resources={"second": 1})
class Keeper:
    def __init__(self) -> None:
        self.kept: Any = None

    def keep(self, refs: list[shoal.ObjectRef[Any]]) -> bool:
        self.kept = refs
        return True

    def hold_up(self, value: Any, path: str) -> int:
        deadline = time.monotonic() + SECONDS
        while not os.path.exists(path) and time.monotonic() < deadline:
            time.sleep(0.01)
        return len(value)


def test_who_holds_what_and_by_what(cluster: str, tmp_path: Path) -> None:
    large = shoal.put(bytes(3_000_000))
    inside = shoal.put("small")
    outside = shoal.put([inside])
    again = large
    keeper = Keeper.remote()
    assert shoal.get(keeper.keep.remote([large]), timeout=SECONDS)
    go = tmp_path / "go"
    waiting = keeper.hold_up.remote(large, str(go))
    try:
        found = memory(cluster)
        one = of(found, large)
        assert one["size"] >= 3_000_000
        assert one["state"] == "STORED"
        assert one["made_by"] == "put"
        assert Path(__file__).name in one["call_site"]
        assert "test_who_holds_what" in one["call_site"]
        assert one["owner"] == large.binary()[:8].hex()
        assert one["nodes"] == [1, 2]  # the call's argument was fetched there
        mine, other = sorted(one["held"], key=lambda hold: hold["pid"] != os.getpid())
        assert mine["pid"] == os.getpid()
        assert mine["local"] == 1  # two names of one reference
        assert mine["queued"] == 1
        assert other["pid"] not in (0, os.getpid())
        assert of(found, inside)["held"][0]["captured"] == 1
        assert of(found, outside)["size"] < 100_000
        assert of(found, waiting)["state"] == "PENDING"
        assert "hold_up" in of(found, waiting)["made_by"]
        assert found["objects"][0]["object"] == large.hex()  # the largest first
        assert len(found["nodes"]) == 2
        assert all(node["answered"] for node in found["nodes"])
        assert sum(node["store"]["used"] for node in found["nodes"]) >= 6_000_000
    finally:
        go.touch()
    assert shoal.get(waiting, timeout=SECONDS) == 3_000_000
    del again


def test_what_nobody_holds_is_not_there(cluster: str) -> None:
    ref = shoal.put(bytes(1_000_000))
    name = ref.hex()
    assert of(memory(cluster), ref)
    del ref
    assert name not in [one["object"] for one in memory(cluster)["objects"]]


def test_few_are_shown_and_the_others_counted(cluster: str) -> None:
    refs = [shoal.put(number) for number in range(20)]
    found = memory(cluster, "--limit", "5")
    assert len(found["objects"]) == 5
    assert found["omitted"] >= 15
    assert len(refs) == 20


def test_a_process_that_does_not_answer_is_named(cluster: str, tmp_path: Path) -> None:
    import signal

    @shoal.remote(resources={"first": 1})
    def pid_and_wait(path: str) -> int:
        Path(path).write_text(str(os.getpid()))
        time.sleep(3600)
        return 0

    path = tmp_path / "pid"
    ref = pid_and_wait.remote(str(path))
    deadline = time.monotonic() + SECONDS
    while not (path.exists() and path.read_text()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    pid = int(path.read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        found = memory(cluster)
        silent = [
            process["pid"]
            for node in found["nodes"]
            for process in node["processes"]
            if not process["answered"]
        ]
        assert silent == [pid]
    finally:
        os.kill(pid, signal.SIGCONT)
        shoal.cancel(ref, force=True)


def test_for_people_it_is_a_table(cluster: str) -> None:
    ref = shoal.put(bytes(2_000_000))
    done = subprocess.run(
        [SHOAL, "memory"],
        env={**os.environ, "SHOAL_TEMP_DIR": cluster},
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert ref.hex() in done.stdout
    assert "1.9 MiB" in done.stdout
    assert "1 local" in done.stdout
