"""Submits jobs, tells how they stand, stops and deletes them. It keeps nothing itself: any process may do it."""

from __future__ import annotations

import contextlib
import secrets
import string
import time
from collections.abc import Mapping
from typing import Any

import attrs

import shoal
from shoal.errors import ShoalError
from shoal.interfaces.engine import SupportsJobs
from shoal.interfaces.looking import SupportsLooking
from shoal.jobs import table
from shoal.jobs.entrypoint import split_entrypoint
from shoal.jobs.output import OLDER, log_name
from shoal.jobs.records import DriverInfo, JobDetails, JobErrorType, JobInfo, JobStatus, JobType
from shoal.jobs.supervisor import NAMESPACE, JobSupervisor, supervisor_name
from shoal.jobs.texts import check_id, check_metadata

_ALPHABET = string.ascii_letters + string.digits
_ANSWER_SECONDS = 10.0
_START_SECONDS = 900.0  # how long a job may wait for its resources and its environment
_MOST_JOBS = 10_000
_PIECE = 1 << 20


class JobNotFound(LookupError):
    """There is no job with that identifier."""


class JobConflict(ValueError):
    """A job's state does not allow what is asked for, or its identifier is taken."""


@attrs.frozen(kw_only=True)
class Submission:
    """What somebody asks for. `memory` is bytes."""

    entrypoint: str
    submission_id: str | None = None
    runtime_env: Mapping[str, Any] = attrs.field(factory=dict)
    asked_env: Mapping[str, Any] | None = None  # as it is shown; None: as it is
    metadata: Mapping[str, str] = attrs.field(factory=dict)
    entrypoint_num_cpus: float | None = None
    entrypoint_num_gpus: float | None = None
    entrypoint_memory: int | None = None
    entrypoint_resources: Mapping[str, float] | None = None
    entrypoint_label_selector: Mapping[str, str] | None = None


def submit(asked: Submission) -> str:
    """Start a job; return its identifier. Does not wait for its beginning.

    Raises ConfigError for what is wrong with the submission, JobConflict if the identifier is taken.
    """
    words = split_entrypoint(asked.entrypoint)
    submission_id = (
        new_id() if asked.submission_id is None else check_id(asked.submission_id, "submission_id")
    )
    metadata = check_metadata(asked.metadata)
    config = table.engine().config
    options = _options(asked)
    info = JobInfo(
        status=JobStatus.PENDING,
        entrypoint=asked.entrypoint,
        message="The job waits for its resources and its environment.",
        metadata=metadata,
        runtime_env=dict(asked.runtime_env if asked.asked_env is None else asked.asked_env),
        entrypoint_num_cpus=asked.entrypoint_num_cpus,
        entrypoint_num_gpus=asked.entrypoint_num_gpus,
        entrypoint_memory=asked.entrypoint_memory,
        entrypoint_resources=asked.entrypoint_resources,
        entrypoint_label_selector=asked.entrypoint_label_selector,
        submitted_time=_now(),
    )
    _make_room()
    # Before the record, since this checks the options and the environment: nothing is left of what is wrong.
    supervisor = shoal.remote(JobSupervisor).options(
        name=supervisor_name(submission_id), namespace=NAMESPACE, lifetime="detached", **options
    )
    if not table.add(submission_id, info):
        raise JobConflict(f"there is a job {submission_id!r} already: give another submission_id, or none")
    try:
        handle = supervisor.remote(
            submission_id,
            words,
            {"SHOAL_JOB_NAME": submission_id},
            config.job_stop_seconds,
            config.log_file_max_bytes,
        )
    except BaseException:
        table.remove(submission_id)
        raise
    actor_id = handle._shoal_info.actor_id.hex()
    with contextlib.suppress(ShoalError):  # the supervisor may have told more meanwhile
        current = table.find(submission_id)
        if current is not None and current.status is JobStatus.PENDING:
            table.store(submission_id, attrs.evolve(current, supervisor=actor_id))
    return submission_id


def new_id() -> str:
    """Return an identifier that no job has."""
    return "job_" + "".join(secrets.choice(_ALPHABET) for _ in range(16))


def _options(asked: Submission) -> dict[str, Any]:
    options: dict[str, Any] = {"num_cpus": asked.entrypoint_num_cpus or 0}
    if asked.entrypoint_num_gpus:
        options["num_gpus"] = asked.entrypoint_num_gpus
    if asked.entrypoint_memory:
        options["memory"] = asked.entrypoint_memory
    if asked.entrypoint_resources:
        options["resources"] = dict(asked.entrypoint_resources)
    if asked.entrypoint_label_selector:
        options["label_selector"] = dict(asked.entrypoint_label_selector)
    if asked.runtime_env:
        options["runtime_env"] = dict(asked.runtime_env)
    return options


def info(submission_id: str) -> JobInfo:
    """Return how a job stands. Raises JobNotFound."""
    found = table.find(submission_id)
    if found is None:
        raise JobNotFound(f"there is no job {submission_id!r}; `shoal job list` lists those that there are")
    return found if found.status.is_terminal() else _looked_after(submission_id, found)


def _looked_after(submission_id: str, found: JobInfo) -> JobInfo:
    """Look whether a job that seems to live does; one whose supervisor is gone is told to have failed."""
    actor = _actor_of(submission_id, found)
    state = None if actor is None else actor.state
    if state in ("ALIVE", "RESTARTING") or (state is None and _age(found) < _ANSWER_SECONDS):
        return found
    if state == "PENDING":
        return _waiting(submission_id, found, actor)
    again = table.find(submission_id)  # the supervisor tells how the job ended before it ends itself
    if again is None:
        raise JobNotFound(f"job {submission_id!r} was deleted just now")
    if again.status.is_terminal():
        return again
    why = "" if actor is None else str(table.engine().explain(actor.actor_id))
    error, what = JobErrorType.JOB_SUPERVISOR_ACTOR_DIED, "the job's supervisor died"
    if again.status is JobStatus.PENDING:
        error, what = JobErrorType.JOB_SUPERVISOR_ACTOR_START_FAILURE, "the job's supervisor did not start"
        if "environment" in why.lower() and again.runtime_env:
            error, what = JobErrorType.RUNTIME_ENV_SETUP_FAILURE, "the job's environment could not be made"
    return _failed(submission_id, again, error, f"{what}. {why}".strip())


def _waiting(submission_id: str, found: JobInfo, actor: Any) -> JobInfo:
    why = str(table.engine().explain(actor.actor_id))
    if _age(found) < _START_SECONDS:
        return attrs.evolve(found, message=f"The job waits. {why}")
    with contextlib.suppress(Exception):
        shoal.kill(shoal.get_actor(supervisor_name(submission_id), NAMESPACE))
    return _failed(
        submission_id,
        found,
        JobErrorType.JOB_SUPERVISOR_ACTOR_START_TIMEOUT,
        f"the job did not begin within {_START_SECONDS:g} s. {why}",
    )


def _failed(submission_id: str, found: JobInfo, error: JobErrorType, message: str) -> JobInfo:
    failed = attrs.evolve(found, status=JobStatus.FAILED, error_type=error, message=message, end_time=_now())
    table.store(submission_id, failed)
    return failed


def _actor_of(submission_id: str, found: JobInfo) -> Any:
    name = supervisor_name(submission_id)
    for actor in table.engine().actors():
        if actor.actor_id.hex() == found.supervisor or (actor.name == name and actor.namespace == NAMESPACE):
            return actor
    return None


def details(submission_id: str, found: JobInfo) -> JobDetails:
    """Return a job as lists show it."""
    return _details(submission_id, found, _drivers())


def _details(submission_id: str, found: JobInfo, drivers: Mapping[str, Mapping[str, Any]]) -> JobDetails:
    driver = drivers.get(submission_id)
    return JobDetails(
        type=JobType.SUBMISSION,
        job_id=None if driver is None else driver["job"].hex(),
        submission_id=submission_id,
        driver_info=None if driver is None else _driver(driver),
        status=found.status,
        entrypoint=found.entrypoint,
        message=found.message,
        error_type=found.error_type,
        start_time=found.start_time,
        end_time=found.end_time,
        metadata=found.metadata,
        runtime_env=found.runtime_env,
        driver_node_id=found.driver_node_id,
        driver_exit_code=found.driver_exit_code,
    )


def list_details() -> list[JobDetails]:
    """Return every job, and every driver that was not submitted."""
    drivers = _drivers()
    found = []
    submitted = set()
    for submission_id, one in table.every():
        submitted.add(submission_id)
        current = one if one.status.is_terminal() else _looked_after(submission_id, one)
        found.append(_details(submission_id, current, drivers))
    for name, driver in drivers.items():
        if name not in submitted:
            found.append(
                JobDetails(
                    type=JobType.DRIVER,
                    job_id=driver["job"].hex(),
                    driver_info=_driver(driver),
                    status=_OF_DRIVER[driver["state"]],
                    entrypoint=driver["entrypoint"],
                    message=driver["message"] or None,
                    start_time=int(driver["started"] * 1_000),
                    end_time=int(driver["ended"] * 1_000) or None,
                    driver_node_id=driver["node"],
                )
            )
    return found


_OF_DRIVER = {
    "RUNNING": JobStatus.RUNNING,
    "FINISHED": JobStatus.SUCCEEDED,
    "DIED": JobStatus.FAILED,
}


def _drivers() -> dict[str, Mapping[str, Any]]:
    """Return the drivers that the head knows by their jobs' names; those of one job: the last."""
    engine = table.engine()
    jobs = engine.jobs() if isinstance(engine, SupportsJobs) else []
    own = engine.context().job_id
    return {job["name"] or job["job"].hex(): job for job in jobs if job["job"] != own}


def _driver(job: Mapping[str, Any]) -> DriverInfo:
    addresses = {
        node.node_id.hex(): node.address.rpartition(":")[0] or node.address
        for node in table.engine().view().nodes.values()
    }
    return DriverInfo(
        id=job["job"].hex(), node_ip_address=addresses.get(job["node"], ""), pid=str(job["pid"])
    )


def stop(submission_id: str) -> bool:
    """Ask a job to stop; return whether it was running or waiting. Does not wait for its end. Raises JobNotFound."""
    found = info(submission_id)
    if found.status.is_terminal():
        return False
    actor = _actor_of(submission_id, found)
    if actor is None or actor.state == "PENDING":
        with contextlib.suppress(ValueError, ShoalError):
            shoal.kill(shoal.get_actor(supervisor_name(submission_id), NAMESPACE))
        again = table.find(submission_id)
        if again is None or again.status.is_terminal():
            return False
        message = "The job was stopped before its command began."
        stopped = attrs.evolve(again, status=JobStatus.STOPPED, message=message, end_time=_now())
        table.store(submission_id, stopped)
        return True
    try:
        handle = shoal.get_actor(supervisor_name(submission_id), NAMESPACE)
        return bool(shoal.get(handle.stop.remote(), timeout=_ANSWER_SECONDS))
    except (ValueError, ShoalError):  # it has ended just now
        return False


def delete(submission_id: str) -> None:
    """Forget a job that is over, and its log where that can be reached. Raises JobNotFound, JobConflict."""
    found = info(submission_id)
    if not found.status.is_terminal():
        raise JobConflict(
            f"job {submission_id!r} is {found.status} and cannot be deleted: stop it and wait for its end"
        )
    table.remove(submission_id)


def _make_room() -> None:
    """Bound the table: the jobs that ended first go first."""
    if table.count() < _MOST_JOBS:
        return
    every = list(table.every())
    over = sorted(
        (one.end_time or 0, submission_id) for submission_id, one in every if one.status.is_terminal()
    )
    excess = len(every) - _MOST_JOBS + 1
    if excess > len(over):
        raise JobConflict(f"{_MOST_JOBS:,} jobs wait or run, which is the most; stop some, or wait")
    for _, submission_id in over[: max(0, excess)]:
        table.remove(submission_id)


def _age(found: JobInfo) -> float:
    return (_now() - (found.submitted_time or 0)) / 1_000


def _now() -> int:
    return int(time.time() * 1_000)


@attrs.frozen
class LogPiece:
    """Bytes of a job's log, the position in all of it where they begin, and whether more may come."""

    position: int
    data: bytes
    more: bool


def read_log(submission_id: str, position: int, size: int) -> LogPiece:
    """Return at most `size` bytes of what a job has printed, from a position on.

    What is no longer kept is left out: the piece then begins later. Raises JobNotFound, FileNotFoundError if the node
    that has the log is gone.
    """
    found = info(submission_id)
    if not found.status.is_terminal():
        try:
            handle = shoal.get_actor(supervisor_name(submission_id), NAMESPACE)
            begin, data, more = shoal.get(handle.read_log.remote(position, size), timeout=_ANSWER_SECONDS)
            return LogPiece(begin, data, more)
        except (ValueError, ShoalError):
            found = info(submission_id)
            if not found.status.is_terminal():
                return LogPiece(position, b"", True)  # it waits for its node
    if found.driver_node_id is None:
        return LogPiece(position, b"", False)  # it never began
    return _read_files(found.driver_node_id, log_name(submission_id), position, size, found.log_start)


def _read_files(node: str, name: str, position: int, size: int, start: int) -> LogPiece:
    """Read the log of a job that is over, which is in two files if there was much of it."""
    engine = table.engine()
    assert isinstance(engine, SupportsLooking)
    position = max(position, start)
    try:
        older = engine.read_log(node, name + OLDER, position - start, size, _ANSWER_SECONDS)
        if older.data:
            return LogPiece(position, older.data, True)
        start += older.size
    except FileNotFoundError:
        pass
    part = engine.read_log(node, name, max(0, position - start), size, _ANSWER_SECONDS)
    return LogPiece(position, part.data, position - start + len(part.data) < part.size)


def last_of_log(submission_id: str, most: int) -> tuple[bytes, int]:
    """Return the last bytes of a job's log, whole lines of it, and how many bytes came before them."""
    kept: list[bytes] = []
    size = position = 0
    while True:
        piece = read_log(submission_id, position, _PIECE)
        if not piece.data:
            break
        kept.append(piece.data)
        size += len(piece.data)
        position = piece.position + len(piece.data)
        while size - len(kept[0]) >= most:
            size -= len(kept.pop(0))
    data = b"".join(kept)
    if len(data) > most:
        data = data[-most:].partition(b"\n")[2]
    return data, position - len(data)
