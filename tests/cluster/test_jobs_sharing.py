"""Several programs on one cluster: who gets how much of it, in slots that are in use at moments when all are."""

from __future__ import annotations

import collections
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from job_drivers import Driver, driver

from shoal.cluster_utils import Cluster

pytestmark = pytest.mark.processes
SECONDS = 40.0

# Floods the cluster with short tasks. Each is a slot that is in use: a file with the job's name while it runs.
FLOOD = """
@shoal.remote(num_cpus=1)
def slot(folder, name):
    path = os.path.join(folder, f"{name}-{os.getpid()}-{time.monotonic_ns()}")
    open(path, "x").close()
    time.sleep(0.05)
    os.unlink(path)

folder, name, count = json.loads(heard())
refs = [slot.remote(folder, name) for _ in range(count)]
say("flooding")
heard()
for ref in refs:
    shoal.cancel(ref)
say("over")
"""


def in_use(folder: Path) -> collections.Counter[str]:
    """Return how many slots each job uses at this moment."""
    return collections.Counter(name.partition("-")[0] for name in os.listdir(folder))


def wait_for(what: str, check: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"in {seconds:g} s not: {what}"
        time.sleep(0.01)
    return found


def saturated(folder: Path, slots: int, count: int) -> list[collections.Counter[str]]:
    """Return what was in use at `count` moments when all slots were."""
    found: list[collections.Counter[str]] = []

    def look() -> bool:
        used = in_use(folder)
        if sum(used.values()) == slots:
            found.append(used)
        return len(found) >= count

    wait_for(f"{count} moments with all {slots} slots in use, {len(found)} seen", look)
    return found


@pytest.fixture(scope="module")
def four() -> Iterator[Cluster]:
    """One node with four CPUs."""
    with Cluster(
        initialize_head=True, head_node_args={"num_cpus": 4, "object_store_bytes": 2**26}
    ) as cluster:
        yield cluster


@pytest.fixture
def slots(tmp_path: Path) -> Path:
    folder = tmp_path / "slots"
    folder.mkdir()
    return folder


def flood(one: Driver, slots: Path, name: str, count: int = 3_000) -> None:
    import json

    one.tell(json.dumps([str(slots), name, count]))
    one.expect("flooding")


def stop(*several: Driver) -> None:
    for one in several:
        one.tell()
    for one in several:
        one.expect("over")
        one.finish()


def test_a_second_driver_gets_its_share_of_what_the_first_has_flooded(
    four: Cluster, tmp_path: Path, slots: Path
) -> None:
    with driver(four, tmp_path, FLOOD, job_name="first") as first:
        flood(first, slots, "first")
        wait_for("all slots are the first's", lambda: in_use(slots)["first"] == 4)
        with driver(four, tmp_path, FLOOD, job_name="second") as second:
            flood(second, slots, "second")
            wait_for("half is the second's", lambda: in_use(slots)["second"] == 2, 5.0)
            moments = saturated(slots, 4, 20)
            together = sum(moments, collections.Counter[str]())
            assert 0.4 <= together["second"] / together.total() <= 0.6, together
            stop(first, second)


def test_shares_of_three_to_one(four: Cluster, tmp_path: Path, slots: Path) -> None:
    with (
        driver(four, tmp_path, FLOOD, job_name="large", job_share=3) as large,
        driver(four, tmp_path, FLOOD, job_name="small", job_share=1) as small,
    ):
        flood(small, slots, "small")
        flood(large, slots, "large")
        wait_for("the large one has three", lambda: in_use(slots)["large"] == 3)
        moments = saturated(slots, 4, 40)
        together = sum(moments, collections.Counter[str]())
        assert 0.65 <= together["large"] / together.total() <= 0.85, together
        stop(small, large)


def test_higher_priority_goes_first_and_what_it_leaves_is_used(
    four: Cluster, tmp_path: Path, slots: Path
) -> None:
    with (
        driver(four, tmp_path, FLOOD, job_name="low") as low,
        driver(four, tmp_path, FLOOD, job_name="high", job_priority=5) as high,
    ):
        flood(low, slots, "low")
        wait_for("all slots are low's", lambda: in_use(slots)["low"] == 4)
        flood(high, slots, "high", 100)
        wait_for("all slots are high's", lambda: in_use(slots)["high"] == 4)
        moments = saturated(slots, 4, 10)
        together = sum(moments, collections.Counter[str]())
        assert together["high"] / together.total() >= 0.9, together
        wait_for("low goes on when high is done", lambda: in_use(slots)["low"] == 4)
        stop(low, high)


ACTOR = """
@shoal.remote(num_cpus=1)
class Late:
    def ping(self):
        return True

folder, name, count = json.loads(heard())
say("flooding")
late = [Late.remote() for _ in range(2)]
shoal.get([one.ping.remote() for one in late], timeout=30)
say("alive")
heard()
say("over")
"""


def test_over_several_nodes_everybody_gets_a_share(tmp_path: Path, slots: Path) -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 0}) as cluster:
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        with driver(cluster, tmp_path, FLOOD, job_name="first") as first:
            flood(first, slots, "first")
            wait_for("all slots are the first's", lambda: in_use(slots)["first"] == 4)
            with driver(cluster, tmp_path, FLOOD, job_name="second") as second:
                flood(second, slots, "second")
                wait_for("half is the second's", lambda: in_use(slots)["second"] == 2, 10.0)
                moments = saturated(slots, 4, 60)
                together = sum(moments, collections.Counter[str]())
                assert 0.35 <= together["second"] / together.total() <= 0.65, together
                stop(second)
            wait_for("the first has all again", lambda: in_use(slots)["first"] == 4)
            with driver(cluster, tmp_path, ACTOR, job_name="actors") as actors:
                flood(actors, slots, "actors")
                assert actors.expect("alive") == [], "actors find a place beside a flood of tasks"
                stop(actors, first)
