"""The directory of jobs: each program that has used a cluster, from its begin to its end.

RUNNING → FINISHED   its driver has said goodbye
   └────→ DIED       its driver was lost
"""

from __future__ import annotations

from collections import OrderedDict

import attrs

from shoal.spec.jobs import JobSpec

_ENDED_KEPT = 1_000  # jobs remembered after their end


@attrs.define(eq=False, kw_only=True)
class JobRecord:
    """One job. Times are seconds since the epoch; what belongs to it may outlive it (detached actors)."""

    spec: JobSpec
    driver: bytes  # worker identifier
    process: int  # of the driver
    entrypoint: str  # how the program was called
    namespace: str
    started: float
    state: str = "RUNNING"
    ended: float = 0.0
    message: str = ""  # why it ended, if not by itself


class JobDirectory:
    """All jobs of a cluster."""

    def __init__(self) -> None:
        self._jobs: OrderedDict[bytes, JobRecord] = OrderedDict()  # in the order they began
        self._ended: OrderedDict[bytes, None] = OrderedDict()

    def begin(self, record: JobRecord) -> bool:
        """A job has begun. Returns False, changing nothing, if it is known (its driver has asked again)."""
        job = record.spec.job_id
        if job in self._jobs:
            return False
        self._jobs[job] = record
        return True

    def restore(self, record: JobRecord) -> None:
        """A job that the last head knew."""
        job = record.spec.job_id
        self._jobs[job] = record
        if record.state != "RUNNING":
            self._ended[job] = None

    def finish(self, job: bytes, now: float) -> JobRecord | None:
        """Its driver has said goodbye. Returns the record if it ran."""
        return self._end(job, "FINISHED", now, "")

    def driver_lost(self, driver: bytes, now: float, message: str) -> JobRecord | None:
        """A driver is gone; if its job ran, it died. Returns the record then."""
        record = next((r for r in self._jobs.values() if r.driver == driver and r.state == "RUNNING"), None)
        return None if record is None else self._end(record.spec.job_id, "DIED", now, message)

    def _end(self, job: bytes, state: str, now: float, message: str) -> JobRecord | None:
        record = self._jobs.get(job)
        if record is None or record.state != "RUNNING":
            return None
        record.state, record.ended, record.message = state, now, message
        self._ended[job] = None
        return record

    def prune(self) -> list[bytes]:
        """Forget the jobs that ended longest ago, beyond those that are kept; return them."""
        over = []
        while len(self._ended) > _ENDED_KEPT:
            job, _ = self._ended.popitem(last=False)
            del self._jobs[job]
            over.append(job)
        return over

    def find(self, job: bytes) -> JobRecord | None:
        """Return a job if it is remembered."""
        return self._jobs.get(job)

    def running(self) -> list[JobRecord]:
        """Return the jobs that run, in the order they began."""
        return [record for record in self._jobs.values() if record.state == "RUNNING"]

    def all(self) -> list[JobRecord]:
        """Return every job that is remembered, in the order they began."""
        return list(self._jobs.values())

    def validate(self) -> None:
        """Raise AssertionError if the directory contradicts itself."""
        for job, record in self._jobs.items():
            assert job == record.spec.job_id
            assert record.state in ("RUNNING", "FINISHED", "DIED")
            assert (record.state != "RUNNING") == (job in self._ended)
            assert (record.state != "RUNNING") == (record.ended > 0)
        assert set(self._ended) <= set(self._jobs)
