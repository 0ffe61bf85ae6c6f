"""Preemption: tasks of lower priority make room, run again later, and have all their retries left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from job_drivers import driver

import shoal
from shoal.cluster_utils import Cluster

pytestmark = pytest.mark.processes
SECONDS = 40.0
SETTINGS = {"preemption": True, "preemption_grace_seconds": 0.3}

# Tasks that end when a file says so. The name of the file that each writes tells which attempt it is.
LONG = """
@shoal.remote(num_cpus=1, max_retries=1)
def long(folder, number):
    open(os.path.join(folder, f"begun-{number}-{os.getpid()}"), "x").close()
    while not os.path.exists(os.path.join(folder, "go")):
        time.sleep(0.01)
    return number

folder = heard()
refs = [long.remote(folder, number) for number in range(2)]
say("begun")
heard()
print(shoal.get(refs, timeout=60))
say("results", *shoal.get(refs))
"""

URGENT = """
@shoal.remote(num_cpus=1)
def urgent():
    return "done"

say("urgent", shoal.get(urgent.remote(), timeout=60))
"""


def wait_for(what: str, check: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"in {seconds:g} s not: {what}"
        time.sleep(0.01)
    return found


def begun(folder: Path) -> dict[int, int]:
    """Return how often each task has begun."""
    counts: dict[int, int] = {}
    for name in os.listdir(folder):
        if name.startswith("begun-"):
            number = int(name.split("-")[1])
            counts[number] = counts.get(number, 0) + 1
    return counts


@pytest.fixture(scope="module")
def two() -> Iterator[Cluster]:
    """A node with two CPUs, where preemption is on; this process watches."""
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **SETTINGS}) as cluster:
        shoal.init(**cluster.init_arguments(), job_name="watcher")
        yield cluster
        shoal.shutdown()


def preempted(name: str) -> int:
    engine: Any = shoal.api.session.current.engine
    return sum(job["preempted"] for job in engine.jobs() if job["name"] == name)


def test_one_task_makes_room_and_runs_again_without_losing_a_retry(two: Cluster, tmp_path: Path) -> None:
    with (
        driver(two, tmp_path, LONG, job_name="patient") as patient,
    ):
        patient.tell(str(tmp_path))
        patient.expect("begun")
        wait_for("both run", lambda: begun(tmp_path) == {0: 1, 1: 1})
        # Three times, with one retry each: preemption must not use that up.
        for round_ in range(3):
            with driver(two, tmp_path, URGENT, job_name=f"urgent{round_}", job_priority=1) as urgent:
                assert urgent.expect("urgent") == ["done"]
                urgent.finish()
            wait_for("the task runs again", lambda count=round_ + 3: sum(begun(tmp_path).values()) == count)
        assert begun(tmp_path) == {0: 1, 1: 4}, "the newest, and only as many as needed"
        assert preempted("patient") == 3
        (tmp_path / "go").touch()
        patient.tell()
        assert patient.expect("results") == [0, 1]
        patient.finish()
        assert (
            "was ended for a job of higher priority: job urgent0 (priority 1) waits for {CPU: 1}"
            in patient.printed()
        )


@pytest.mark.parametrize(
    "what",
    ["max_retries=0", "job_preemptible=False", "equal priority"],
    ids=lambda text: text.partition("=")[0],
)
def test_what_may_not_be_ended_is_not(two: Cluster, tmp_path: Path, what: str) -> None:
    program = LONG.replace("max_retries=1", "max_retries=0") if what == "max_retries=0" else LONG
    settings = {"job_preemptible": False} if what == "job_preemptible=False" else {}
    with driver(two, tmp_path, program, job_name="firm", **settings) as firm:
        firm.tell(str(tmp_path))
        firm.expect("begun")
        wait_for("both run", lambda: begun(tmp_path) == {0: 1, 1: 1})
        priority = 0 if what == "equal priority" else 1
        with driver(two, tmp_path, URGENT, job_name="urgent", job_priority=priority) as urgent:
            engine: Any = shoal.api.session.current.engine
            waits = lambda: any(job["name"] == "urgent" and job["waiting"] for job in engine.jobs())  # noqa: E731
            wait_for("it waits", waits)
            # Far longer than the grace: looks are taken every 75 ms. What must not happen has no condition to wait for.
            deadline = time.monotonic() + 1.0
            while time.monotonic() < deadline:
                assert waits()
                time.sleep(0.05)
            assert begun(tmp_path) == {0: 1, 1: 1}
            (tmp_path / "go").touch()
            assert urgent.expect("urgent") == ["done"]
            urgent.finish()
        firm.tell()
        assert firm.expect("results") == [0, 1]
        firm.finish()


def test_another_node_makes_room(tmp_path: Path) -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SETTINGS}) as cluster:
        cluster.add_node(num_cpus=2)
        with driver(cluster, tmp_path, LONG, job_name="patient") as patient:
            patient.tell(str(tmp_path))
            patient.expect("begun")
            wait_for("both run", lambda: begun(tmp_path) == {0: 1, 1: 1})
            with driver(cluster, tmp_path, URGENT, job_name="urgent", job_priority=1) as urgent:
                assert urgent.expect("urgent") == ["done"]
                urgent.finish()
            (tmp_path / "go").touch()
            patient.tell()
            assert patient.expect("results") == [0, 1]
            patient.finish()


def test_an_actor_that_the_head_places_finds_room_too(tmp_path: Path) -> None:
    actor = """
    @shoal.remote(num_cpus=1)
    class Urgent:
        def ping(self):
            return "done"

    urgent = Urgent.remote()
    say("urgent", shoal.get(urgent.ping.remote(), timeout=60))
    """
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **SETTINGS}) as cluster:
        cluster.add_node(num_cpus=2)
        with driver(cluster, tmp_path, LONG, job_name="patient") as patient:
            patient.tell(str(tmp_path))
            patient.expect("begun")
            wait_for("both run", lambda: begun(tmp_path) == {0: 1, 1: 1})
            with driver(cluster, tmp_path, actor, job_name="urgent", job_priority=1) as urgent:
                assert urgent.expect("urgent") == ["done"]
                urgent.finish()
            (tmp_path / "go").touch()
            patient.tell()
            assert patient.expect("results") == [0, 1]
            patient.finish()
