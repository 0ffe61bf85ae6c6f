"""JobSubmissionClient: submits programs to a cluster from anywhere that reaches its head's server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any
from urllib.parse import quote

from shoal.errors import ConfigError, describe
from shoal.jobs.find import find_server
from shoal.jobs.http import JobServerError, Server
from shoal.jobs.packages import pack_environment
from shoal.jobs.records import JobDetails, JobStatus


class JobSubmissionClient:
    """Submits jobs, and asks how they stand.

    Parameters: `address` is the dashboard's (`http://HOST:PORT`), or names a cluster of which a node runs here ("auto",
    HOST:PORT, a session's folder); None takes SHOAL_API_SERVER_ADDRESS, SHOAL_ADDRESS, or the only cluster here.
    `metadata` is laid under that of each job. `headers` and `cookies` go with each request; the token is found for
    clusters of this machine, and else taken from SHOAL_DASHBOARD_TOKEN or a header `Authorization: Bearer TOKEN`.
    `verify` is a file with the authorities that a server with TLS is checked by, False to trust any.

    Raises ConfigError if no server is found, JobServerError if it cannot be reached or refuses the token.

    Example: `JobSubmissionClient("http://127.0.0.1:8265").submit_job(entrypoint="python train.py")`
    """

    def __init__(
        self,
        address: str | None = None,
        create_cluster_if_needed: bool = False,
        cookies: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        verify: str | bool | None = True,
        **kwargs: Any,
    ) -> None:
        if kwargs:
            raise ConfigError(f"JobSubmissionClient has no argument {sorted(kwargs)[0]!r}")
        if create_cluster_if_needed:
            raise ConfigError(
                "create_cluster_if_needed=True: jobs are submitted to a cluster that runs; start one with `shoal start "
                "--head`, or with `shoal up`"
            )
        found = find_server(address)
        self._address = found.url
        self._metadata = dict(metadata or {})
        trust: str | bool = True if verify is None else verify
        if trust is True and found.authority:
            trust = found.authority
        self._server = Server(found.url, found.token, headers or {}, cookies or {}, trust)
        self.get_version()

    def get_address(self) -> str:
        """Return the server's address."""
        return self._address

    def get_version(self) -> str:
        """Return the version of Shoal that the server is of."""
        return str(self._server.json("GET", "/api/version")["version"])

    def submit_job(
        self,
        *,
        entrypoint: str,
        job_id: str | None = None,
        runtime_env: Mapping[str, Any] | None = None,
        metadata: Mapping[str, str] | None = None,
        submission_id: str | None = None,
        entrypoint_num_cpus: float | None = None,
        entrypoint_num_gpus: float | None = None,
        entrypoint_memory: int | None = None,
        entrypoint_resources: Mapping[str, float] | None = None,
        entrypoint_label_selector: Mapping[str, str] | None = None,
    ) -> str:
        """Start a job; return its identifier. Does not wait for its beginning.

        Parameters: `entrypoint` is a command, run without a shell in the environment's `working_dir`. `runtime_env` is
        that of the command and of all that the program calls; its local folders are packed and sent. `submission_id`
        (`job_id` is its older name) is any printable text; None makes one. `metadata` are texts by name, for people.
        `entrypoint_num_cpus`, `entrypoint_num_gpus`, `entrypoint_memory` (bytes), `entrypoint_resources` and
        `entrypoint_label_selector` are what the command itself needs of its node.
        Raises ConfigError for a local path that is not there, JobServerError for what the server refuses.

        Example: `client.submit_job(entrypoint="python train.py", runtime_env={"working_dir": "./code"})`
        """
        if job_id is not None and submission_id is not None and job_id != submission_id:
            raise ConfigError("job_id is the older name of submission_id: give one of them")
        if runtime_env is not None and not isinstance(runtime_env, Mapping):
            raise ConfigError(f"runtime_env must be a mapping, not {describe(runtime_env)}")
        body = {
            "entrypoint": entrypoint,
            "submission_id": submission_id or job_id,
            "runtime_env": pack_environment(runtime_env or {}, self._upload),
            "metadata": {**self._metadata, **(metadata or {})},
            "entrypoint_num_cpus": entrypoint_num_cpus,
            "entrypoint_num_gpus": entrypoint_num_gpus,
            "entrypoint_memory": entrypoint_memory,
            "entrypoint_resources": None if entrypoint_resources is None else dict(entrypoint_resources),
            "entrypoint_label_selector": None
            if entrypoint_label_selector is None
            else dict(entrypoint_label_selector),
        }
        sent = {name: value for name, value in body.items() if value is not None}
        return str(self._server.json("POST", "/api/jobs/", sent)["submission_id"])

    def _upload(self, name: str, path: str) -> None:
        where = f"/api/packages/{name}"
        if not self._server.has(where):
            self._server.send_file(where, path)

    def stop_job(self, job_id: str) -> bool:
        """Ask a job to stop; return whether it was running or waiting. Raises JobServerError if there is none."""
        return bool(self._server.json("POST", _path(job_id) + "/stop")["stopped"])

    def delete_job(self, job_id: str) -> bool:
        """Forget a job that is over; return True. Raises JobServerError if there is none, or it is not over."""
        return bool(self._server.json("DELETE", _path(job_id))["deleted"])

    def get_job_info(self, job_id: str) -> JobDetails:
        """Return how a job stands. Raises JobServerError if there is none."""
        return JobDetails.from_json(self._server.json("GET", _path(job_id)))

    def list_jobs(self) -> list[JobDetails]:
        """Return every job, and every driver that was not submitted."""
        return [JobDetails.from_json(one) for one in self._server.json("GET", "/api/jobs/")]

    def get_job_status(self, job_id: str) -> JobStatus:
        """Return a job's status. Raises JobServerError if there is none."""
        return self.get_job_info(job_id).status

    def get_job_logs(self, job_id: str) -> str:
        """Return what a job has printed, as far as it is kept. Raises JobServerError if there is none."""
        return "".join(self._server.lines(_path(job_id) + "/logs/tail"))

    def follow_job_logs(self, job_id: str) -> Iterator[str]:
        """Yield the lines that a job has printed, and those that come until it is over.

        Raises JobServerError if there is none, or the server goes away.
        """
        return self._server.lines(_path(job_id) + "/logs/tail?follow=true")

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        """Yield the lines that a job has printed, and those that come until it is over, without blocking the loop."""
        lines = self.follow_job_logs(job_id)
        while (line := await asyncio.to_thread(next, lines, None)) is not None:
            yield line


def _path(job_id: Any) -> str:
    if not isinstance(job_id, str) or not job_id:
        raise ConfigError(f"a job's identifier must be a text, not {describe(job_id)}")
    return f"/api/jobs/{quote(job_id, safe='')}"


__all__ = ["JobServerError", "JobSubmissionClient"]
