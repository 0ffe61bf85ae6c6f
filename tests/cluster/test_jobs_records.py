"""The head's records of jobs: who runs, and who has ended how; in `status`, in the state API, after a head's death."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from job_drivers import driver

import shoal
from shoal.cluster_utils import Cluster
from shoal.util.state import list_jobs

pytestmark = pytest.mark.processes
SECONDS = 40.0

WAITS = """
heard()
"""

BUSY = """
@shoal.remote(num_cpus=1)
def slot(folder):
    path = os.path.join(folder, f"slot-{os.getpid()}-{time.monotonic_ns()}")
    open(path, "x").close()
    time.sleep(0.03)
    os.unlink(path)
    return 1

folder = heard()
refs = [slot.remote(folder) for _ in range(200)]
say("busy")
heard()
say("sum", sum(shoal.get(refs, timeout=60)))
more = [slot.remote(folder) for _ in range(20)]
say("more", sum(shoal.get(more, timeout=60)))
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(what: str, check: Callable[[], Any], seconds: float = SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := check()):
        assert time.monotonic() < deadline, f"in {seconds:g} s not: {what}"
        time.sleep(0.01)
    return found


def statuses() -> dict[str | None, str]:
    return {job.name: job.status for job in list_jobs()}


def test_jobs_are_listed_with_their_settings_until_and_after_their_end(three: Any, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"job_priority": 2, "job_share": 1.5, "job_quota": {"CPU": 1.5}}
    with driver(three.cluster, tmp_path, WAITS, job_name="polite", **settings) as polite:
        [job] = [job for job in list_jobs(detail=True) if job.name == "polite"]
        assert (job.status, job.type, job.priority, job.share) == ("RUNNING", "DRIVER", 2, 1.5)
        assert (job.quota, job.used, job.waiting) == ({"CPU": 1.5}, {}, 0)
        assert job.entrypoint.split()[0].endswith("driver_polite.py")
        assert job.driver_info is not None
        assert job.driver_info["pid"] == polite.pid
        assert job.start_time is not None
        assert abs(job.start_time / 1_000 - time.time()) < 60
        polite.tell()
        polite.finish()
        wait_for("it has finished", lambda: statuses()["polite"] == "SUCCEEDED")
    with driver(three.cluster, tmp_path, WAITS, job_name="killed") as killed:
        killed.kill()
        wait_for("it has died", lambda: statuses()["killed"] == "FAILED")
        [job] = [job for job in list_jobs() if job.name == "killed"]
        assert job.message == "its driver ended without shutdown()"


def test_status_shows_jobs(three: Any, tmp_path: Path) -> None:
    with driver(
        three.cluster, tmp_path, WAITS, job_name="shown", job_quota={"CPU": 2}, job_priority=-3
    ) as shown:
        words = [sys.executable, "-m", "shoal.cli.main", "status"]
        where = three.cluster.init_arguments()
        words += ["--address", where["address"], "--temp-dir", where["temp_dir"]]
        done = subprocess.run([*words, "--json"], capture_output=True, text=True, timeout=SECONDS, check=True)
        [job] = [job for job in json.loads(done.stdout)["jobs"] if job["name"] == "shown"]
        assert (job["state"], job["priority"], job["share"], job["quota"]) == ("RUNNING", -3, 1, {"CPU": 2.0})
        text = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, check=True).stdout
        [line] = [line for line in text.splitlines() if "shown" in line]
        assert line.split()[1:5] == ["shown", "RUNNING", "-3", "1"]
        assert "CPU 2" in line
        shown.tell()
        shown.finish()


def test_a_new_head_knows_the_jobs_and_their_quotas(tmp_path: Path) -> None:
    slots = tmp_path / "slots"
    slots.mkdir()
    with Cluster() as cluster:
        cluster.add_node(num_cpus=0, head_port=free_port())
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        left = cluster.worker_nodes[0]
        where = {"address": left.address, "temp_dir": os.path.dirname(left.folder)}
        shoal.init(**where, job_name="watcher")
        try:
            settings = {**where, "job_name": "gone"}
            with driver(cluster, tmp_path, WAITS, **settings) as gone:
                gone.tell()
                gone.finish()
            settings = {**where, "job_name": "bounded", "job_quota": {"CPU": 3}, "job_priority": 4}
            with driver(cluster, tmp_path, BUSY, **settings) as bounded:
                bounded.tell(str(slots))
                bounded.expect("busy")
                wait_for("all of the quota is used", lambda: len(os.listdir(slots)) == 3)
                head = cluster.head_node
                assert head is not None
                os.kill(head.pid, signal.SIGKILL)
                cluster.restart_head()
                bounded.tell()
                most = 0
                deadline = time.monotonic() + 60
                while not bounded.has_said("more"):
                    most = max(most, len(os.listdir(slots)))
                    assert time.monotonic() < deadline, bounded.printed()
                assert most <= 3
                assert (bounded.expect("sum"), bounded.expect("more")) == ([200], [20])
                jobs = {job.name: job for job in list_jobs(detail=True)}
                assert {name: job.status for name, job in jobs.items()} == {
                    "watcher": "RUNNING",
                    "gone": "SUCCEEDED",
                    "bounded": jobs["bounded"].status,
                }
                assert (jobs["bounded"].quota, jobs["bounded"].priority) == ({"CPU": 3.0}, 4)
                bounded.finish()
        finally:
            shoal.shutdown()
