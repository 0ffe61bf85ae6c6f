"""`shoal job`: submit programs to a cluster, and see what becomes of them."""

from __future__ import annotations

import contextlib
import json
import shlex
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from shoal.config import read_toml
from shoal.errors import ConfigError, ShoalError
from shoal.observe.commands import json_option, say
from shoal.observe.render import table

if TYPE_CHECKING:
    from shoal.jobs.client import JobSubmissionClient

F = TypeVar("F", bound=Callable[..., Any])
_POLL_SECONDS = 0.1


@contextlib.contextmanager
def _client(address: str | None, verify: str, headers: str | None) -> Iterator[JobSubmissionClient]:
    # Here, since `shoal --help` imports this module too.
    from shoal.jobs.client import JobSubmissionClient

    trust: str | bool = {"true": True, "false": False}.get(verify.lower(), verify)
    try:
        yield JobSubmissionClient(address, headers=_table(headers, "--headers"), verify=trust)
    except ShoalError as error:
        raise click.ClickException(str(error)) from error


def _table(text: str | None, option: str) -> dict[str, Any]:
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except ValueError as error:
        raise click.UsageError(f"{option} must be JSON: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{option} must be a JSON object, not {text!r}")
    return found


def _reaching(function: F) -> F:
    for option in (
        click.option(
            "--address",
            metavar="ADDRESS",
            help="The dashboard's http://HOST:PORT, or what names a cluster of this machine. Default: "
            "SHOAL_API_SERVER_ADDRESS, SHOAL_ADDRESS, or the only cluster here.",
        ),
        click.option(
            "--verify", default="true", metavar="true|false|FILE", help="How a server with TLS is checked."
        ),
        click.option("--headers", metavar="JSON", help="HTTP headers of each request, by name."),
    ):
        function = option(function)
    return function


@click.group()
def job() -> None:
    """Submit programs to a cluster, and see what becomes of them."""


@job.command()
@_reaching
@click.option(
    "--submission-id", "--job-id", metavar="ID", help="The job's identifier; by default one is made."
)
@click.option(
    "--working-dir", metavar="FOLDER", help="Folder (or .zip) that is sent, and in which the command runs."
)
@click.option("--runtime-env", metavar="FILE", help="File with the environment: .toml, .json or .yaml.")
@click.option("--runtime-env-json", metavar="JSON", help="The environment.")
@click.option("--metadata-json", metavar="JSON", help="Texts by name, for people.")
@click.option("--entrypoint-num-cpus", type=float, help="CPUs that the command itself needs.")
@click.option("--entrypoint-num-gpus", type=float, help="GPUs that the command itself needs.")
@click.option("--entrypoint-memory", type=int, help="Bytes of memory that the command itself needs.")
@click.option("--entrypoint-resources", metavar="JSON", help="Other resources that it needs, by name.")
@click.option("--entrypoint-label-selector", metavar="JSON", help="Labels that its node must have.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the job's end, showing its log.")
@json_option("Print JSON; do not wait.")
@click.argument("entrypoint", nargs=-1, required=True, type=click.UNPROCESSED)
def submit(
    address: str | None,
    verify: str,
    headers: str | None,
    submission_id: str | None,
    working_dir: str | None,
    runtime_env: str | None,
    runtime_env_json: str | None,
    metadata_json: str | None,
    entrypoint_num_cpus: float | None,
    entrypoint_num_gpus: float | None,
    entrypoint_memory: int | None,
    entrypoint_resources: str | None,
    entrypoint_label_selector: str | None,
    no_wait: bool,
    json_: bool,
    entrypoint: tuple[str, ...],
) -> None:
    """Run a command on the cluster: shoal job submit --working-dir . -- python train.py

    The exit code is that of the job: 0 if it succeeded, 1 if not.
    """
    environment = _environment(runtime_env, runtime_env_json, working_dir)
    with _client(address, verify, headers) as client:
        found = client.submit_job(
            entrypoint=entrypoint[0] if len(entrypoint) == 1 else shlex.join(entrypoint),
            submission_id=submission_id,
            runtime_env=environment,
            metadata=_table(metadata_json, "--metadata-json"),
            entrypoint_num_cpus=entrypoint_num_cpus,
            entrypoint_num_gpus=entrypoint_num_gpus,
            entrypoint_memory=entrypoint_memory,
            entrypoint_resources=_table(entrypoint_resources, "--entrypoint-resources") or None,
            entrypoint_label_selector=_table(entrypoint_label_selector, "--entrypoint-label-selector")
            or None,
        )
        quoted = shlex.quote(found)
        hint = (
            f"Job {found} is submitted.\n  its log:   shoal job logs {quoted} --follow\n"
            f"  to end it: shoal job stop {quoted}"
        )
        say({"submission_id": found}, hint, json_)
        if not no_wait and not json_:
            _follow(client, found)


def _environment(file: str | None, text: str | None, working_dir: str | None) -> dict[str, Any]:
    if file is not None and text is not None:
        raise click.UsageError("give --runtime-env or --runtime-env-json, not both")
    found = _table(text, "--runtime-env-json") if file is None else _environment_file(file)
    if working_dir is not None:
        if "working_dir" in found:
            raise click.UsageError("working_dir is given twice: by --working-dir and in the environment")
        found["working_dir"] = working_dir
    return found


def _environment_file(path: str) -> dict[str, Any]:
    try:
        if path.endswith(".toml"):
            return read_toml(Path(path))
        with open(path, encoding="utf-8") as file:
            text = file.read()
        if path.endswith(".json"):
            return _table(text, path)
        import yaml

        found = yaml.safe_load(text)
    except ImportError:
        raise click.UsageError(
            f"{path}: reading YAML needs PyYAML; write the file as .toml or .json"
        ) from None
    except ConfigError as error:
        raise click.UsageError(str(error)) from None
    except (OSError, ValueError) as error:
        raise click.UsageError(f"{path}: {error}") from None
    if not isinstance(found, dict):
        raise click.UsageError(f"{path} must hold a table, not {found!r}")
    return found


def _follow(client: JobSubmissionClient, submission_id: str) -> None:
    for line in client.follow_job_logs(submission_id):
        click.echo(line, nl=False)
    info = client.get_job_info(submission_id)
    while not info.status.is_terminal():  # its last line was printed just now
        time.sleep(_POLL_SECONDS)
        info = client.get_job_info(submission_id)
    click.echo(f"Job {submission_id} {info.status}: {(info.message or '').splitlines()[0]}", err=True)
    if info.status != "SUCCEEDED":
        raise click.exceptions.Exit(1)


@job.command("list")
@_reaching
@json_option("Print JSON.")
def list_jobs(address: str | None, verify: str, headers: str | None, json_: bool) -> None:
    """List jobs, and drivers that were not submitted."""
    with _client(address, verify, headers) as client:
        jobs = client.list_jobs()
    rows = [
        [
            one.submission_id or "",
            one.job_id or "",
            str(one.type),
            str(one.status),
            one.entrypoint,
            ((one.message or "").splitlines() or [""])[0],
        ]
        for one in jobs
    ]
    heads = ["submission", "job", "type", "status", "entrypoint", "message"]
    say([one.to_json() for one in jobs], lambda: table(heads, rows) if rows else "There is no job.", json_)


@job.command()
@_reaching
@json_option("Print JSON.")
@click.argument("job_id")
def status(address: str | None, verify: str, headers: str | None, json_: bool, job_id: str) -> None:
    """Tell how a job stands."""
    with _client(address, verify, headers) as client:
        found = client.get_job_info(job_id)
    say(found.to_json(), f"Job {job_id} is {found.status}. {found.message or ''}", json_)


@job.command()
@_reaching
@click.option("--follow", "-f", is_flag=True, help="Go on with what is printed, until the job is over.")
@json_option("Print one JSON object a line.")
@click.argument("job_id")
def logs(
    address: str | None, verify: str, headers: str | None, follow: bool, json_: bool, job_id: str
) -> None:
    """Show what a job has printed."""
    with _client(address, verify, headers) as client:
        lines = client.follow_job_logs(job_id) if follow else client.get_job_logs(job_id).splitlines(True)
        for line in lines:
            if json_:
                click.echo(json.dumps({"line": line.removesuffix("\n")}, ensure_ascii=False))
            else:
                click.echo(line, nl=False)


@job.command()
@_reaching
@click.option("--no-wait", is_flag=True, help="Do not wait for the job's end.")
@json_option("Print JSON.")
@click.argument("job_id")
def stop(
    address: str | None, verify: str, headers: str | None, no_wait: bool, json_: bool, job_id: str
) -> None:
    """Stop a job: SIGTERM, and SIGKILL some seconds later to all that it has started."""
    with _client(address, verify, headers) as client:
        stopped = client.stop_job(job_id)
        found = client.get_job_info(job_id)
        while stopped and not no_wait and not found.status.is_terminal():
            time.sleep(_POLL_SECONDS)
            found = client.get_job_info(job_id)
    text = f"Job {job_id} is {found.status}." if stopped else f"Job {job_id} was over: {found.status}."
    say({"submission_id": job_id, "stopped": stopped, "status": str(found.status)}, text, json_)


@job.command()
@_reaching
@json_option("Print JSON.")
@click.argument("job_id")
def delete(address: str | None, verify: str, headers: str | None, json_: bool, job_id: str) -> None:
    """Forget a job that is over."""
    with _client(address, verify, headers) as client:
        client.delete_job(job_id)
    say({"submission_id": job_id, "deleted": True}, f"Job {job_id} is forgotten.", json_)
