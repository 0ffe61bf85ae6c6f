"""shoal.jobs: programs that are handed to a cluster, run there, and are looked after."""

from __future__ import annotations

from shoal.jobs.records import DriverInfo, JobDetails, JobErrorType, JobInfo, JobStatus, JobType

__all__ = ["DriverInfo", "JobDetails", "JobErrorType", "JobInfo", "JobStatus", "JobType"]
