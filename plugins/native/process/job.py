"""What the settings say of a program as a job."""

from __future__ import annotations

from typing import Any

from shoal.config import Config
from shoal.native.process.environments import JOB
from shoal.spec.jobs import JobSpec
from shoal.spec.resources import to_units


def job_of_settings(config: Config, job_id: bytes) -> JobSpec:
    """Return the description of the job that a program with these settings is. Raises ConfigError."""
    return JobSpec(
        job_id=job_id,
        name=config.job_name or "",
        priority=config.job_priority,
        share=config.job_share,
        quota={name: to_units(name, quantity) for name, quantity in sorted(config.job_quota.items())},
        preemptible=config.job_preemptible,
    )


def job_of_environment(environment: dict[str, Any]) -> JobSpec | None:
    """Return the job whose program an environment is of; None: the session's only one."""
    job = environment.get(JOB)
    return None if job is None else JobSpec.from_wire(job["spec"])
