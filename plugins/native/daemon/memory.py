"""Watching the machine's memory, and choosing whom to end before the system's own killer chooses at random."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from shoal.death import Cause, DeathCertificate

if TYPE_CHECKING:
    from shoal.native.daemon.workers import WorkerProcess

_PAGE = os.sysconf("SC_PAGE_SIZE")


def memory_in_use() -> tuple[int, int]:
    """Return (bytes in use, bytes there are): of the container if it has a limit, else of the machine."""
    total = available = 0
    with open("/proc/meminfo") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if name == "MemTotal":
                total = int(rest.split()[0]) * 1024
            elif name == "MemAvailable":
                available = int(rest.split()[0]) * 1024
                break
    used = total - available
    limit = _read_number("/sys/fs/cgroup/memory.max")
    current = _read_number("/sys/fs/cgroup/memory.current")
    if limit is not None and current is not None and limit < total:
        return max(0, current - _inactive_file()), limit
    return used, total


def _read_number(path: str) -> int | None:
    try:
        with open(path) as file:
            return int(file.read())
    except (OSError, ValueError):  # no cgroup here, or "max"
        return None


def _inactive_file() -> int:
    try:
        with open("/sys/fs/cgroup/memory.stat") as file:
            for line in file:
                if line.startswith("inactive_file "):
                    return int(line.split()[1])
    except OSError:
        return 0
    return 0


def resident(pid: int) -> int:
    """Return a process's own resident bytes, shared memory left out; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/statm") as file:
            fields = file.read().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * _PAGE


def choose_victim(
    workers: Iterable[WorkerProcess], share_of: Callable[[bytes], float]
) -> WorkerProcess | None:
    """Return whom to end: a retriable task's worker, else a task's, else an actor's, else none.

    Among those the job that has most memory on this node for its share (`share_of`) gives, and of it the newest.
    Actors are left alone while there is a task: an actor's state is lost with it. Blocked workers count as tasks.
    """
    busy = [worker for worker in workers if worker.ending is None and worker.pid]
    tasks = [worker for worker in busy if worker.state == "leased"]
    retriable = [worker for worker in tasks if worker.retriable]
    actors = [worker for worker in busy if worker.state == "actor"]
    for group in (retriable, tasks, actors):
        jobs = {_job_of(worker) for worker in group}
        if jobs:
            worst = (
                max(jobs, key=lambda job: _memory_of(job, busy) / share_of(job))
                if len(jobs) > 1
                else jobs.pop()
            )
            return max(
                (worker for worker in group if _job_of(worker) == worst), key=lambda worker: worker.leased_at
            )
    return None


def _job_of(worker: WorkerProcess) -> bytes:
    return b"" if worker.lease is None else worker.lease.job


def _memory_of(job: bytes, workers: list[WorkerProcess]) -> int:
    return sum(resident(worker.pid) for worker in workers if _job_of(worker) == job)


def verdict(used: int, total: int, threshold: float, workers: Iterable[WorkerProcess]) -> DeathCertificate:
    """Return the certificate that says who used the memory."""
    users = sorted(((resident(w.pid), w) for w in workers if w.pid), key=lambda pair: -pair[0])[:5]
    listing = ", ".join(
        f"{w.label or 'idle worker'} (pid {w.pid}) {size / 2**20:.0f} MiB" for size, w in users
    )
    detail = (
        f"memory in use reached {used / 2**30:.2f} of {total / 2**30:.2f} GiB, above memory_usage_threshold="
        f"{threshold:g}; the largest workers: {listing}"
    )
    return DeathCertificate(what="worker", cause=Cause.OUT_OF_MEMORY, detail=detail)
