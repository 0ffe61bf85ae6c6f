"""Real nodes that come with work and go without it; and what happens when the autoscaler, the head or a node dies."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import shoal
from shoal.autoscaler import request_resources
from shoal.cluster_utils import AutoscalingCluster
from shoal.interfaces.scaling import ScalingLink
from shoal.scaling import link_to

pytestmark = pytest.mark.processes
SECONDS = 60
TYPES = {
    "pair": {"resources": {"CPU": 2}, "max_workers": 3},
    "special": {"resources": {"CPU": 1, "special": 2}, "max_workers": 1, "labels": {"zone": "b"}},
}


@pytest.fixture
def cluster() -> Iterator[AutoscalingCluster]:
    """A head without CPUs; this process is a driver."""
    with AutoscalingCluster({"CPU": 0}, TYPES, idle_seconds=2, backoff_seconds=0.5) as cluster:
        shoal.init("auto")
        yield cluster
        shoal.shutdown()


@pytest.fixture
def link(cluster: AutoscalingCluster) -> Iterator[ScalingLink]:
    link = link_to(cluster.address, cluster.init_arguments()["temp_dir"])
    yield link
    link.close()


def eventually(holds: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
    return found


def living() -> list[dict[str, Any]]:
    """The nodes beside the head's."""
    return [node for node in shoal.nodes() if node["Alive"] and "shoal.io/machine" in node["Labels"]]


def status(cluster: AutoscalingCluster, *words: str) -> str:
    command = [sys.executable, "-m", "shoal.cli.main", "status", "--address", cluster.address, *words]
    command += ["--temp-dir", cluster.init_arguments()["temp_dir"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=True).stdout


@shoal.remote(num_cpus=2)
def where(seconds: float) -> str:
    time.sleep(seconds)
    return shoal.get_runtime_context().get_node_id()


@shoal.remote(num_cpus=1)
class Keeper:
    def where(self) -> str:
        return str(shoal.get_runtime_context().get_node_id())


def test_tasks_bring_nodes_and_idle_ones_go(cluster: AutoscalingCluster) -> None:
    refs = [where.remote(2) for _ in range(2)]
    assert len(set(shoal.get(refs, timeout=SECONDS))) == 2
    assert len(living()) == 2
    del refs
    eventually(lambda: not living())
    said = status(cluster)
    assert "was idle for" in said
    assert "0/0" in said


def test_an_actor_brings_a_node_of_its_labels_and_keeps_it(cluster: AutoscalingCluster) -> None:
    keeper = Keeper.options(label_selector={"zone": "b"}, resources={"special": 1}).remote()
    assert shoal.get(keeper.where.remote(), timeout=SECONDS)
    [node] = living()
    assert node["Labels"]["shoal.io/node-type"] == "special"
    time.sleep(4)  # twice the time after which an idle node goes: it must not, and nothing else could tell
    assert [one["NodeID"] for one in living()] == [node["NodeID"]]
    shoal.kill(keeper)
    eventually(lambda: not living())


def test_a_placement_group_over_nodes_brings_them(cluster: AutoscalingCluster) -> None:
    group = shoal.placement_group([{"CPU": 1}] * 3, strategy="STRICT_SPREAD")
    shoal.get(group.ready(), timeout=SECONDS)
    assert len(living()) == 3
    shoal.remove_placement_group(group)
    eventually(lambda: not living())


@pytest.mark.slow
def test_what_was_requested_comes_without_work_and_stays(cluster: AutoscalingCluster) -> None:
    request_resources(num_cpus=4)
    eventually(lambda: len(living()) == 2)
    time.sleep(4)
    assert len(living()) == 2
    request_resources()
    eventually(lambda: not living())


def test_status_says_why_a_demand_is_not_met(cluster: AutoscalingCluster) -> None:
    @shoal.remote(num_cpus=64)
    def large() -> None: ...

    ref = large.remote()
    eventually(lambda: "no node type can ever hold it" in status(cluster))
    told = json.loads(status(cluster, "--json"))["autoscaler"]
    [unmet] = told["unmet"]
    assert (unmet["what"], unmet["never"], unmet["demand"]) == ("large", True, {"CPU": 64.0})
    assert living() == []
    shoal.cancel(ref)


def service_pid(cluster: AutoscalingCluster) -> int | None:
    """The process of the autoscaler, found by its command."""
    head = cluster.head.head_node
    assert head is not None
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError), open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
                if "shoal.native.process.companion" in words and head.folder in words:
                    return int(name)
    return None


@pytest.mark.slow
def test_an_autoscaler_that_is_killed_is_started_again_and_takes_over(
    cluster: AutoscalingCluster, link: ScalingLink
) -> None:
    ref = where.remote(6)
    eventually(living)
    before = eventually(lambda: service_pid(cluster))
    os.kill(before, signal.SIGKILL)
    after = eventually(lambda: (pid := service_pid(cluster)) not in (None, before) and pid)
    assert after != before
    assert len({shoal.get(ref, timeout=SECONDS)}) == 1
    # Its predecessor's lease must run out first; then the machine that it has not launched is its own.
    eventually(lambda: not living())
    assert shoal.get(where.remote(0), timeout=SECONDS)


@pytest.mark.slow
def test_a_node_that_is_killed_is_replaced(cluster: AutoscalingCluster) -> None:
    ref = where.remote(4)
    [node] = eventually(living)
    time.sleep(0.5)
    pid = _pid_of(cluster, node["NodeID"])
    os.kill(pid, signal.SIGKILL)
    assert shoal.get(ref, timeout=SECONDS) != node["NodeID"]


def _pid_of(cluster: AutoscalingCluster, node_id: str) -> int:
    folder = cluster.init_arguments()["temp_dir"]
    for name in os.listdir(folder):
        with contextlib.suppress(OSError, ValueError), open(os.path.join(folder, name, "node.json")) as file:
            found = json.load(file)
            if found["node_id"] == node_id:
                return int(found["pid"])
    raise AssertionError(node_id)


@pytest.mark.slow
def test_a_second_autoscaler_stands_by(cluster: AutoscalingCluster, link: ScalingLink) -> None:
    eventually(lambda: link.told() is not None)
    assert not link.lead(b"second", 10, [])
    ref = where.remote(0)
    shoal.get(ref, timeout=SECONDS)
    assert len(living()) == 1


def test_the_file_is_read_again_when_it_changes(cluster: AutoscalingCluster, link: ScalingLink) -> None:
    path = os.path.join(cluster.init_arguments()["temp_dir"], "cluster.json")
    with open(path) as file:
        described = json.load(file)
    described["node_types"]["pair"]["min"] = 1
    with open(path, "w") as file:
        json.dump(described, file)
    eventually(living)
    described["node_types"]["pair"]["min"] = "many"
    with open(path, "w") as file:
        json.dump(described, file)
    told = eventually(lambda: (told := link.told()) and told["problem"] and told)
    assert "node_types.pair.min" in told["problem"]
    assert len(living()) == 1  # the last settings hold


@pytest.mark.slow
def test_launches_that_fail_are_shown_and_tried_again(cluster: AutoscalingCluster, link: ScalingLink) -> None:
    path = os.path.join(cluster.init_arguments()["temp_dir"], "cluster.json")
    with open(path) as file:
        described = json.load(file)
    broken = {
        **described,
        "settings": {"tls_cert": "/no/such/certificate", "tls_key": "/no", "tls_ca": "/no"},
    }
    with open(path, "w") as file:
        json.dump(broken, file)
    ref = where.remote(0)

    def failing() -> Any:
        told = link.told()
        return told and [one for one in told["types"] if one["failures"] > 1]

    [one] = eventually(failing)
    assert one["name"] == "pair"
    assert "cannot be read: /no" in one["error"]  # what the node said
    with open(path, "w") as file:
        json.dump(described, file)
    assert shoal.get(ref, timeout=SECONDS)


def test_names_of_types_and_settings_are_the_references() -> None:
    with pytest.raises(ValueError, match="min_worker"):
        AutoscalingCluster({}, {"a": {"resources": {"CPU": 1}, "min_worker": 1}})
    cluster = AutoscalingCluster({"CPU": 1}, {"a": {"resources": {"CPU": 1}}}, no_such_key=1)
    with pytest.raises(RuntimeError, match="no_such_key"):
        cluster.start()
    cluster.shutdown()
    with pytest.raises(RuntimeError, match="start"):
        _ = cluster.address
