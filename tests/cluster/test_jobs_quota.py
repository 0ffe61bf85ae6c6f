"""Quotas of programs over three nodes: never exceeded, whoever asks and wherever it is granted."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_drivers import driver

import shoal
from shoal.errors import ActorUnschedulable, ConfigError, TaskUnschedulable

pytestmark = pytest.mark.processes
SECONDS = 40.0

# Tasks on all nodes, tasks of tasks, actors that come and go, and a placement group: each is a file while it lives.
BUSY = """
import threading

class Slot:
    def __init__(self, folder):
        self.path = os.path.join(folder, f"slot-{os.getpid()}-{time.monotonic_ns()}")
    def __enter__(self):
        open(self.path, "x").close()
    def __exit__(self, *error):
        os.unlink(self.path)

@shoal.remote(num_cpus=1)
def work(folder):
    with Slot(folder):
        time.sleep(0.02)

@shoal.remote(num_cpus=0)
def parent(folder, count):
    shoal.get([work.remote(folder) for _ in range(count)])

@shoal.remote(num_cpus=1)
class Worker:
    def work(self, folder):
        with Slot(folder):
            time.sleep(0.02)

folder = json.loads(heard())
refs = [work.remote(folder) for _ in range(60)]
refs += [parent.options(resources={side: 1}).remote(folder, 20) for side in ("left", "right")]
actors = [Worker.remote() for _ in range(2)]
refs += [actor.work.remote(folder) for actor in actors for _ in range(5)]
shoal.get(refs[:10])
say("busy")
shoal.get(refs)
del actors
group = shoal.placement_group([{"CPU": 1}, {"CPU": 1}], strategy="STRICT_SPREAD")
shoal.get(group.ready(), timeout=30)
say("reserved")
strategy = shoal.PlacementGroupSchedulingStrategy(placement_group=group)
shoal.get([work.options(scheduling_strategy=strategy).remote(folder) for _ in range(6)])
late = [work.remote(folder) for _ in range(20)]
shoal.get(late)
say("done")
heard()
"""


def wait_for(what: str, check: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"in {seconds:g} s not: {what}"
        time.sleep(0.005)
    return found


def job_named(name: str) -> dict[str, Any]:
    engine: Any = shoal.api.session.current.engine
    return next(dict(job) for job in engine.jobs() if job["name"] == name)


def test_a_quota_is_never_exceeded_over_three_nodes(three: Any, tmp_path: Path) -> None:
    slots = tmp_path / "slots"
    slots.mkdir()
    with driver(three.cluster, tmp_path, BUSY, job_name="bounded", job_quota={"CPU": 3}) as one:
        one.tell(json.dumps(str(slots)))
        most = 0
        deadline = time.monotonic() + SECONDS
        finished = False
        while not finished:
            assert time.monotonic() < deadline, (one.printed(), job_named("bounded"))
            most = max(most, len(os.listdir(slots)))
            finished = one.has_said("done")
        assert 2 <= most <= 3, "what the quota allows was used, and never more"
        one.tell()
        one.finish()


def test_status_says_that_the_quota_is_what_is_waited_for(three: Any, tmp_path: Path) -> None:
    program = """
    @shoal.remote(num_cpus=1)
    class Holder:
        def ping(self):
            return True

    @shoal.remote(num_cpus=1)
    def later():
        return 1

    holders = [Holder.remote() for _ in range(2)]
    shoal.get([holder.ping.remote() for holder in holders])
    waits = [Holder.remote(), later.remote()]
    say("waits")
    heard()
    del holders
    print(shoal.get(waits[1]))
    """
    with driver(three.cluster, tmp_path, program, job_name="tied", job_quota={"CPU": 2}) as one:
        one.expect("waits")
        engine: Any = shoal.api.session.current.engine
        job_id = job_named("tied")["job"]

        def reasons() -> list[str]:
            pending = engine.client.request("pending")
            return [found["reason"] for found in pending if found["job"] == job_id]

        wait_for("both are shown", lambda: len(reasons()) == 2)
        assert set(reasons()) == {"job tied is at its quota of {CPU: 2}"}
        assert job_named("tied")["waiting"] == 2
        one.tell()
        one.finish()


def test_a_demand_beyond_the_quota_is_an_error_where_it_is_made(three: Any, tmp_path: Path) -> None:
    shoal.shutdown()
    shoal.init(**three.cluster.init_arguments(), job_name="small", job_quota={"CPU": 2, "left": 0})

    @shoal.remote(num_cpus=3)
    def large() -> None: ...

    @shoal.remote(resources={"left": 1})
    class Lefty: ...

    with pytest.raises(
        TaskUnschedulable, match=r"needs \{CPU: 3\}, and the quota of job small is \{CPU: 2, left: 0\}"
    ):
        large.remote()
    with pytest.raises(ActorUnschedulable, match="it could never run"):
        Lefty.remote()
    with pytest.raises(ConfigError, match="could never run"):
        shoal.placement_group([{"CPU": 1}] * 3)
