"""Nodes die, are drained, are stopped: what goes on, and what a program is told."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal
from shoal import exceptions
from shoal.death import Cause

pytestmark = pytest.mark.processes
SECONDS = 40


@shoal.remote
def where() -> str:
    return str(shoal.get_runtime_context().get_node_id())


@shoal.remote
class Place:
    def where(self) -> str:
        return str(shoal.get_runtime_context().get_node_id())


def call_until_it_fails(actor: Any) -> None:
    """A worker may answer once more before it notices that its daemon is gone."""
    deadline = time.monotonic() + SECONDS
    while time.monotonic() < deadline:
        shoal.get(actor.where.remote(), timeout=SECONDS)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not come"
        time.sleep(0.01)


def test_tasks_of_a_dead_node_run_elsewhere(mortal: Any, tmp_path: Path) -> None:
    @shoal.remote(num_cpus=1, max_retries=3)
    def work(number: int) -> int:
        mark = tmp_path / f"{number}-{shoal.get_runtime_context().get_node_id()}"
        mark.write_text("begun")
        time.sleep(0.2)
        return number

    refs = [work.remote(number) for number in range(15)]
    deadline = time.monotonic() + SECONDS
    while not list(tmp_path.glob(f"*-{mortal.left.node_id}")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(mortal.left.pid, signal.SIGKILL)
    assert shoal.get(refs, timeout=SECONDS) == list(range(15))
    deadline = time.monotonic() + SECONDS
    while len(shoal.nodes()) != 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    assert {node["NodeID"] for node in shoal.nodes()} == {mortal.head.node_id, mortal.right.node_id}


def test_a_task_that_may_not_run_again_tells_that_its_node_died(mortal: Any, tmp_path: Path) -> None:
    begun = tmp_path / "begun"

    @shoal.remote(max_retries=0, resources={"left": 1})
    def work() -> None:
        begun.write_text("")
        time.sleep(SECONDS)

    ref = work.remote()
    wait_for(begun)
    os.kill(mortal.left.pid, signal.SIGKILL)
    with pytest.raises(exceptions.WorkerCrashed) as caught:
        shoal.get(ref, timeout=SECONDS)
    assert caught.value.cause is not None
    assert caught.value.cause.cause is Cause.NODE_DIED
    assert mortal.left.node_id in str(caught.value)


def test_an_actor_restarts_on_another_node(mortal: Any) -> None:
    soft = shoal.NodeAffinitySchedulingStrategy(node_id=mortal.left.node_id, soft=True)
    actor = Place.options(max_restarts=1, max_task_retries=3, scheduling_strategy=soft).remote()
    assert shoal.get(actor.where.remote(), timeout=SECONDS) == mortal.left.node_id
    os.kill(mortal.left.pid, signal.SIGKILL)
    # A worker may answer once more before it notices that its daemon is gone.
    deadline = time.monotonic() + SECONDS
    while (place := shoal.get(actor.where.remote(), timeout=SECONDS)) == mortal.left.node_id:
        assert time.monotonic() < deadline
    assert place in (mortal.head.node_id, mortal.right.node_id)


def test_an_actor_without_restarts_dies_with_its_node(mortal: Any) -> None:
    actor = Place.options(resources={"left": 1}).remote()
    assert shoal.get(actor.where.remote(), timeout=SECONDS) == mortal.left.node_id
    os.kill(mortal.left.pid, signal.SIGKILL)
    with pytest.raises(exceptions.ActorDied) as caught:
        call_until_it_fails(actor)
    assert caught.value.cause is not None
    assert caught.value.cause.cause is Cause.NODE_DIED


def test_what_processes_of_a_dead_node_created_elsewhere_ends(mortal: Any) -> None:
    @shoal.remote(num_cpus=0, resources={"left": 1}, lifetime="detached")
    class Parent:
        def make(self) -> int:
            self.child = Place.options(num_cpus=0, resources={"right": 1}).remote()
            pid: int = shoal.get(self.child.__shoal_call__.remote(lambda child: os.getpid()))
            return pid

    parent = Parent.remote()
    child = shoal.get(parent.make.remote(), timeout=SECONDS)
    assert os.path.exists(f"/proc/{child}")
    os.kill(mortal.left.pid, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while os.path.exists(f"/proc/{child}"):
        assert time.monotonic() < deadline, "the child outlives the process that created it"
        time.sleep(0.02)


def test_a_lost_object_is_made_again_or_taken_from_a_copy(mortal: Any) -> None:
    @shoal.remote(max_retries=2)
    def make() -> Any:
        return np.arange(300_000)

    soft = shoal.NodeAffinitySchedulingStrategy(node_id=mortal.left.node_id, soft=True)
    ref = make.options(scheduling_strategy=soft).remote()
    shoal.wait([ref], timeout=SECONDS)
    os.kill(mortal.left.pid, signal.SIGKILL)
    assert int(shoal.get(ref, timeout=SECONDS).sum()) == int(np.arange(300_000).sum())


def test_a_lost_put_is_an_object_lost(mortal: Any) -> None:
    @shoal.remote(max_retries=0, resources={"left": 1})
    def make() -> Any:
        return np.arange(300_000)

    ref = make.remote()
    shoal.wait([ref], timeout=SECONDS, fetch_local=False)
    os.kill(mortal.left.pid, signal.SIGKILL)
    with pytest.raises(exceptions.ObjectLost):
        shoal.get(ref, timeout=SECONDS)


def test_a_placement_group_heals(mortal: Any) -> None:
    group = shoal.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
    assert group.wait(SECONDS)
    before = shoal.placement_group_table(group)["bundles_to_node_id"]
    victim = mortal.left if mortal.left.node_id in before.values() else mortal.right
    os.kill(victim.pid, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while True:
        table = shoal.placement_group_table(group)
        places = table["bundles_to_node_id"]
        if table["state"] == "CREATED" and victim.node_id not in places.values():
            break
        assert time.monotonic() < deadline, table
        time.sleep(0.02)
    assert len(set(places.values())) == 2
    for index, node in places.items():
        inside = shoal.PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
        assert shoal.get(where.options(scheduling_strategy=inside).remote(), timeout=SECONDS) == node


def test_a_node_that_is_stopped_says_goodbye(mortal: Any) -> None:
    mortal.cluster.remove_node(mortal.right)
    mortal.cluster.wait_for_nodes(timeout=5)
    assert shoal.get(where.remote(), timeout=SECONDS) in (mortal.head.node_id, mortal.left.node_id)


def test_a_node_that_joins_serves_what_waits(mortal: Any) -> None:
    ref = where.options(resources={"late": 1}).remote()
    actor = Place.options(resources={"late": 1}).remote()
    called = actor.where.remote()
    assert shoal.wait([ref], timeout=0.3)[0] == []
    late = mortal.cluster.add_node(num_cpus=2, resources={"late": 2})
    assert shoal.get([ref, called], timeout=SECONDS) == [late.node_id] * 2


def test_a_dead_head_is_an_error_and_no_hang(mortal: Any) -> None:
    @shoal.remote
    def sleep() -> None:
        time.sleep(SECONDS)

    ref = sleep.options(resources={"middle": 1}).remote()
    os.kill(mortal.head.pid, signal.SIGKILL)
    with pytest.raises((exceptions.NodeDied, exceptions.WorkerCrashed)):
        shoal.get(ref, timeout=SECONDS)


CREATE = """
import sys
import shoal
address, temp_dir, folder = sys.argv[1:]
shoal.init(address=address, temp_dir=temp_dir, namespace="kept")

@shoal.remote(num_cpus=0, max_restarts=-1, max_task_retries=-1, lifetime="detached", name="reader",
              resources={"right": 1}, runtime_env={"working_dir": folder})
class Reader:
    def read(self):
        return open("data.txt").read(), shoal.get_runtime_context().get_node_id()

print(shoal.get(Reader.remote().read.remote(), timeout=60)[0])
"""


def test_a_detached_actor_keeps_its_files_when_the_node_that_had_them_is_gone(
    mortal: Any, tmp_path: Path
) -> None:
    (tmp_path / "data.txt").write_text("kept")
    temp_dir = os.path.dirname(mortal.left.folder)
    line = [sys.executable, "-c", CREATE, mortal.left.address, temp_dir, str(tmp_path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.stdout == "kept\n", done.stderr
    kept = Path(mortal.head.folder, "env", "packages")
    deadline = time.monotonic() + SECONDS
    while not list(kept.glob("*.zip")):
        assert time.monotonic() < deadline, "the head's node has not fetched the package"
        time.sleep(0.01)
    mortal.cluster.remove_node(mortal.left, allow_graceful=False)
    mortal.cluster.remove_node(mortal.right, allow_graceful=False)
    other = mortal.cluster.add_node(num_cpus=1, resources={"right": 1})
    reader = shoal.get_actor("reader", namespace="kept")
    assert shoal.get(reader.read.remote(), timeout=SECONDS) == ("kept", other.node_id)
    shoal.kill(reader)
