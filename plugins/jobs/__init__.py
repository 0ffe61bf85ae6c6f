"""shoal.jobs: programs that are handed to a cluster, run there, and are looked after.

    client = JobSubmissionClient("http://127.0.0.1:8265")
    job = client.submit_job(entrypoint="python train.py", runtime_env={"working_dir": "."})
    for line in client.follow_job_logs(job): ...

See docs/jobs.md.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.jobs.client import JobSubmissionClient
    from shoal.jobs.http import JobServerError
    from shoal.jobs.records import DriverInfo, JobDetails, JobErrorType, JobInfo, JobStatus, JobType

__all__ = [
    "DriverInfo",
    "JobDetails",
    "JobErrorType",
    "JobInfo",
    "JobServerError",
    "JobStatus",
    "JobSubmissionClient",
    "JobType",
]

_HOMES = {"JobServerError": "http", "JobSubmissionClient": "client"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'shoal.jobs' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"shoal.jobs.{_HOMES.get(name, 'records')}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
