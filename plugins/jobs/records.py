"""What is known of a job: its status, what was asked for, and how it ended."""

from __future__ import annotations

import enum
import json
from collections.abc import Mapping
from typing import Any

import attrs


class JobStatus(str, enum.Enum):
    """Where a job is in its life; a string, so that it compares and prints as one.

    Example: `JobStatus("RUNNING").is_terminal()` is False.
    """

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    SUCCEEDED = "SUCCEEDED"
    FAILED = "FAILED"

    def __str__(self) -> str:
        return self.value

    def is_terminal(self) -> bool:
        """Tell whether a job in this status is over."""
        return self in (JobStatus.STOPPED, JobStatus.SUCCEEDED, JobStatus.FAILED)


class JobErrorType(str, enum.Enum):
    """Why a job failed: its environment, its supervisor, or its own command."""

    RUNTIME_ENV_SETUP_FAILURE = "RUNTIME_ENV_SETUP_FAILURE"
    JOB_SUPERVISOR_ACTOR_START_TIMEOUT = "JOB_SUPERVISOR_ACTOR_START_TIMEOUT"
    JOB_SUPERVISOR_ACTOR_START_FAILURE = "JOB_SUPERVISOR_ACTOR_START_FAILURE"
    JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE = "JOB_SUPERVISOR_ACTOR_UNSCHEDULABLE"
    JOB_SUPERVISOR_ACTOR_DIED = "JOB_SUPERVISOR_ACTOR_DIED"
    JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE = "JOB_SUPERVISOR_ACTOR_UNKNOWN_FAILURE"
    JOB_ENTRYPOINT_COMMAND_START_ERROR = "JOB_ENTRYPOINT_COMMAND_START_ERROR"
    JOB_ENTRYPOINT_COMMAND_ERROR = "JOB_ENTRYPOINT_COMMAND_ERROR"

    def __str__(self) -> str:
        return self.value


class JobType(str, enum.Enum):
    """How a program came to the cluster: submitted as a job, or started by somebody and connected."""

    SUBMISSION = "SUBMISSION"
    DRIVER = "DRIVER"

    def __str__(self) -> str:
        return self.value


@attrs.frozen(kw_only=True)
class DriverInfo:
    """The driver of a job: its identifier, its node's address and its process."""

    id: str
    node_ip_address: str
    pid: str


def _plain(record: Any) -> dict[str, Any]:
    return {
        name: str(value) if isinstance(value, enum.Enum) else value
        for name, value in attrs.asdict(record, recurse=False).items()
    }


def _known(cls: type, json_dict: Mapping[str, Any]) -> dict[str, Any]:
    known = attrs.fields_dict(cls)
    return {name: value for name, value in json_dict.items() if name in known}


@attrs.frozen
class JobInfo:
    """A submitted job as the cluster keeps it. Times are milliseconds since the epoch, memory is bytes."""

    status: JobStatus = attrs.field(converter=JobStatus)
    entrypoint: str
    message: str | None = None
    error_type: JobErrorType | None = attrs.field(
        default=None, converter=attrs.converters.optional(JobErrorType)
    )
    start_time: int | None = None
    end_time: int | None = None
    metadata: Mapping[str, str] | None = None
    runtime_env: Mapping[str, Any] | None = None
    entrypoint_num_cpus: float | None = None
    entrypoint_num_gpus: float | None = None
    entrypoint_memory: int | None = None
    entrypoint_resources: Mapping[str, float] | None = None
    driver_agent_http_address: str | None = None
    driver_node_id: str | None = None
    driver_exit_code: int | None = None
    entrypoint_label_selector: Mapping[str, str] | None = None
    supervisor: str | None = None  # its actor's identifier
    submitted_time: int | None = None
    log_start: int = 0  # bytes of the log that are no longer kept

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain data, from which `from_json` makes it again."""
        return _plain(self)

    @classmethod
    def from_json(cls, json_dict: Mapping[str, Any]) -> JobInfo:
        """Make a record of what `to_json` returned; what a later version has added is left out."""
        return cls(**_known(cls, json_dict))

    def to_bytes(self) -> bytes:
        """Return the record as it is stored."""
        return json.dumps(self.to_json(), sort_keys=True).encode()

    @classmethod
    def from_bytes(cls, stored: bytes) -> JobInfo:
        """Make a record of what `to_bytes` returned."""
        return cls.from_json(json.loads(stored))


@attrs.frozen(kw_only=True)
class JobDetails:
    """A job or a driver as lists show it. Times are milliseconds since the epoch.

    `job_id` is the identifier of its driver in the state API, None before that has begun; `submission_id` is None for
    a driver that was not submitted.
    """

    type: JobType = attrs.field(converter=JobType)
    job_id: str | None = None
    submission_id: str | None = None
    driver_info: DriverInfo | None = None
    status: JobStatus = attrs.field(converter=JobStatus)
    entrypoint: str
    message: str | None = None
    error_type: JobErrorType | None = attrs.field(
        default=None, converter=attrs.converters.optional(JobErrorType)
    )
    start_time: int | None = None
    end_time: int | None = None
    metadata: Mapping[str, str] | None = None
    runtime_env: Mapping[str, Any] | None = None
    driver_agent_http_address: str | None = None
    driver_node_id: str | None = None
    driver_exit_code: int | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the record as plain data, from which `from_json` makes it again."""
        found = _plain(self)
        found["driver_info"] = None if self.driver_info is None else attrs.asdict(self.driver_info)
        return found

    @classmethod
    def from_json(cls, json_dict: Mapping[str, Any]) -> JobDetails:
        """Make a record of what `to_json` returned; what a later version has added is left out."""
        found = _known(cls, json_dict)
        if found.get("driver_info") is not None:
            found["driver_info"] = DriverInfo(**found["driver_info"])
        return cls(**found)
