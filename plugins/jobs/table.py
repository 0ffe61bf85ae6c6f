"""The jobs of a cluster, in its own key-value store: they survive whatever the head's metadata survives."""

from __future__ import annotations

from collections.abc import Iterator

from shoal.interfaces.current import current
from shoal.interfaces.engine import Engine
from shoal.jobs.records import JobInfo

_NAMESPACE = "shoal.jobs"


def engine() -> Engine:
    """Return the engine of this process, which is connected to the cluster. Raises RuntimeError without one."""
    found = current.engine
    if found is None or found.closed:
        raise RuntimeError("there is no session to have jobs in: call shoal.init() first")
    return found


def add(submission_id: str, info: JobInfo) -> bool:
    """Store a new job; return False if there is one with that identifier."""
    return engine().kv_put(submission_id.encode(), info.to_bytes(), False, _NAMESPACE)


def store(submission_id: str, info: JobInfo) -> None:
    """Store what a job has become."""
    engine().kv_put(submission_id.encode(), info.to_bytes(), True, _NAMESPACE)


def find(submission_id: str) -> JobInfo | None:
    """Return a job, None if there is none with that identifier."""
    stored = engine().kv_get(submission_id.encode(), _NAMESPACE)
    return None if stored is None else JobInfo.from_bytes(stored)


def remove(submission_id: str) -> bool:
    """Forget a job; return whether it was there."""
    return engine().kv_delete(submission_id.encode(), _NAMESPACE)


def count() -> int:
    """Return how many jobs are stored."""
    return len(engine().kv_keys(b"", _NAMESPACE))


def every() -> Iterator[tuple[str, JobInfo]]:
    """Yield all jobs by identifier, in its order."""
    for key in engine().kv_keys(b"", _NAMESPACE):
        submission_id = key.decode()
        info = find(submission_id)
        if info is not None:  # or it was removed just now
            yield submission_id, info
