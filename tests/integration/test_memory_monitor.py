"""The memory monitor: whom it ends, with real processes that use memory, and what their callers are told."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

import shoal
from shoal.death import Cause
from shoal.errors import OutOfMemory
from shoal.machines.leases import Lease
from shoal.native.daemon.memory import choose_victim, resident
from shoal.native.daemon.workers import WorkerProcess
from shoal.spec.resources import ResourceSet

pytestmark = pytest.mark.processes
MIB = 1 << 20
Start = Callable[[str, int], WorkerProcess]

_USES = "import sys; held = b'x' * int(sys.argv[1]); print('up', flush=True); sys.stdin.read()"


@pytest.fixture
def start() -> Iterator[Start]:
    """Start processes that hold memory, and describe each as a worker that a job has leased."""
    processes: list[subprocess.Popen[bytes]] = []

    def begin(job: str, mebibytes: int) -> WorkerProcess:
        words = [sys.executable, "-c", _USES, str(mebibytes * MIB)]
        process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        number = len(processes)
        lease = Lease(number, b"holder00", b"class", None, ResourceSet(), {}, 0, job.encode())
        return WorkerProcess(
            b"worker%02d" % number, b"", 0.0, process.pid, None, "leased", lease, leased_at=float(number)
        )

    yield begin
    for process in processes:
        process.communicate()


def shares(**weights: float) -> Callable[[bytes], float]:
    return lambda job: weights.get(job.decode(), 1.0)


def test_the_newest_task_of_the_job_with_most_memory_for_its_share(start: Start) -> None:
    hog = [start("hog", 60), start("hog", 5), start("hog", 5)]
    modest = [start("modest", 20), start("modest", 5)]
    assert resident(hog[0].pid) > 60 * MIB
    workers = [*hog, *modest]
    assert choose_victim(workers, shares()) is hog[2], "not the largest: the newest of the job"
    hog[2].retriable = False
    assert choose_victim(workers, shares()) is hog[1]
    # With eight times the share the hog has less than its part, and the other job more.
    assert choose_victim(workers, shares(hog=8)) is modest[1]


def test_what_cannot_be_run_again_comes_last_and_actors_after_tasks(start: Start) -> None:
    hog, modest, actor = start("hog", 40), start("modest", 5), start("hog", 5)
    actor.state = "actor"
    hog.retriable = False
    workers = [hog, modest, actor]
    assert choose_victim(workers, shares()) is modest, "the only one that is run again"
    modest.retriable = False
    assert choose_victim(workers, shares()) is hog
    assert choose_victim([actor], shares()) is actor
    actor.state = "idle"
    assert choose_victim([actor], shares()) is None


def test_a_task_that_may_not_run_again_fails_with_who_used_the_memory() -> None:
    @shoal.remote(max_retries=0)
    def greedy() -> None:
        time.sleep(60)

    with shoal.init(num_cpus=1, memory_usage_threshold=0.0, memory_monitor_interval_seconds=0.2):
        with pytest.raises(OutOfMemory, match="ran out of memory") as caught:
            shoal.get(greedy.remote(), timeout=30)
        assert caught.value.cause is not None
        assert caught.value.cause.cause is Cause.OUT_OF_MEMORY
        assert "memory_usage_threshold=0; the largest workers: " in caught.value.cause.detail
