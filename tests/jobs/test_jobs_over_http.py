"""Jobs as people submit them: through the head's server, by the SDK and the command, on a real cluster."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import free_ports

from shoal.cluster_utils import Cluster
from shoal.errors import ConfigError
from shoal.jobs import JobServerError, JobStatus, JobSubmissionClient, JobType
from shoal.jobs.find import find_server
from shoal.testing.engine_gates import wait_for

pytestmark = pytest.mark.processes
SECONDS = 60.0

PROGRAM = """
import os, sys
import shoal
import beside

shoal.init()

@shoal.remote
def work(number):
    import beside
    return beside.double(number), os.environ.get("COLOUR"), os.path.basename(os.getcwd())

found = shoal.get([work.remote(number) for number in range(3)])
print("found", found, flush=True)
sys.exit(int(sys.argv[1]) if len(sys.argv) > 1 else 0)
"""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "dashboard_port": 0}) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def client(cluster: Cluster) -> JobSubmissionClient:
    assert cluster.head_node is not None
    return JobSubmissionClient(cluster.head_node.folder)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "beside.py").write_text("def double(number):\n    return 2 * number\n")
    return tmp_path


def over(client: JobSubmissionClient, job: str) -> JobStatus:
    wait_for(lambda: client.get_job_status(job).is_terminal(), f"the end of {job}", SECONDS)
    return client.get_job_status(job)


def test_a_program_with_its_folder_and_environment(client: JobSubmissionClient, folder: Path) -> None:
    job = client.submit_job(
        entrypoint="python program.py",
        runtime_env={"working_dir": str(folder), "env_vars": {"COLOUR": "red"}},
        metadata={"team": "a"},
    )
    assert over(client, job) is JobStatus.SUCCEEDED
    assert "found [(0, 'red', 'working_dir'), (2, 'red', 'working_dir'), (4, 'red'" in client.get_job_logs(
        job
    )
    details = client.get_job_info(job)
    assert details.type is JobType.SUBMISSION
    assert details.submission_id == job
    assert details.driver_exit_code == 0
    assert details.metadata == {"team": "a"}
    assert details.job_id is not None
    assert details.driver_info is not None
    assert details.runtime_env is not None
    assert details.runtime_env["working_dir"].startswith("package://")
    assert details.start_time is not None
    assert details.end_time is not None
    assert details.start_time <= details.end_time
    assert job in {one.submission_id for one in client.list_jobs()}


def test_a_program_with_packages_of_its_own(client: JobSubmissionClient, tmp_path: Path) -> None:
    (tmp_path / "program.py").write_text(
        "import shoal, toolz\n"
        "@shoal.remote\n"
        "def version():\n"
        "    import toolz\n"
        "    return toolz.__version__\n"
        "shoal.init()\n"
        "print('found', toolz.__version__, shoal.get(version.remote()), flush=True)\n"
    )
    requirements = tmp_path / "requirements.txt"  # of the client's machine
    requirements.write_text("toolz==0.12.1\n")
    environment = {"working_dir": str(tmp_path), "pip": str(requirements)}
    job = client.submit_job(entrypoint="python program.py", runtime_env=environment)
    assert over(client, job) is JobStatus.SUCCEEDED, client.get_job_logs(job)
    assert "found 0.12.1 0.12.1" in client.get_job_logs(job)
    job = client.submit_job(entrypoint="python -V", runtime_env={"uv": ["toolz==999.0"]})
    assert over(client, job) is JobStatus.FAILED
    details = client.get_job_info(job)
    assert details.message is not None
    assert "toolz==999.0" in details.message


def test_a_program_that_fails(client: JobSubmissionClient, folder: Path) -> None:
    job = client.submit_job(entrypoint="python program.py 7", runtime_env={"working_dir": str(folder)})
    assert over(client, job) is JobStatus.FAILED
    details = client.get_job_info(job)
    assert details.driver_exit_code == 7
    assert str(details.error_type) == "JOB_ENTRYPOINT_COMMAND_ERROR"
    assert details.message is not None
    assert "exit code 7" in details.message
    assert "found [" in details.message


def test_a_command_that_is_not_there(client: JobSubmissionClient) -> None:
    job = client.submit_job(entrypoint="no-such-command --at all")
    assert over(client, job) is JobStatus.FAILED
    details = client.get_job_info(job)
    assert str(details.error_type) == "JOB_ENTRYPOINT_COMMAND_START_ERROR"
    assert "no-such-command" in (details.message or "")


def test_odd_identifiers(client: JobSubmissionClient) -> None:
    for name in ("über mäßig", "50% of #1?&=", "a.b", "…"):
        assert client.submit_job(entrypoint="echo odd", submission_id=name) == name
        assert over(client, name) is JobStatus.SUCCEEDED
        assert client.get_job_logs(name) == "odd\n"
        assert client.delete_job(name)
        with pytest.raises(JobServerError, match="there is no job"):
            client.get_job_info(name)
    with pytest.raises(JobServerError, match="submission_id must be a text"):
        client.submit_job(entrypoint="echo", submission_id="a/b")


def test_stopping_takes_all_that_was_started(client: JobSubmissionClient, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    code = (
        "import os, subprocess, sys, time; "
        "one = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True); "
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{one.pid}}'); print('up', flush=True); time.sleep(600)"
    )
    job = client.submit_job(entrypoint=f'python -c "{code}"')
    wait_for(lambda: "up" in client.get_job_logs(job), "the command", SECONDS)
    assert client.stop_job(job)
    assert over(client, job) is JobStatus.STOPPED
    for pid in map(int, pids.read_text().split()):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert not client.stop_job(job)


def test_a_job_that_must_wait_says_why_and_can_be_stopped(client: JobSubmissionClient) -> None:
    job = client.submit_job(entrypoint="echo never", entrypoint_num_cpus=64)
    wait_for(lambda: "64 CPU" in (client.get_job_info(job).message or ""), "the reason", SECONDS)
    assert client.get_job_status(job) is JobStatus.PENDING
    with pytest.raises(JobServerError, match="cannot be deleted"):
        client.delete_job(job)
    assert client.stop_job(job)
    assert client.get_job_status(job) is JobStatus.STOPPED
    assert client.get_job_logs(job) == ""


def test_following_a_log(client: JobSubmissionClient, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    code = (
        "import os, time; print('first', flush=True)\n"
        f"while not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "print('last', end='')"
    )
    (tmp_path / "slow.py").write_text(code)
    job = client.submit_job(entrypoint="python slow.py", runtime_env={"working_dir": str(tmp_path)})
    seen: list[str] = []

    async def follow() -> None:
        async for line in client.tail_job_logs(job):
            seen.append(line)
            gate.touch()

    asyncio.run(asyncio.wait_for(follow(), SECONDS))
    assert seen == ["first\n", "last"]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"entrypoint": "a && b"}, "means something to a shell only"),
        ({"entrypoint": ""}, "must be a command"),
        ({"entrypoint": "a", "entrypoint_num_cpus": -1}, "entrypoint_num_cpus must be a number"),
        ({"entrypoint": "a", "entrypoint_memory": 0.5}, "whole number of bytes"),
        ({"entrypoint": "a", "entrypoint_resources": {"x": "y"}}, r"entrypoint_resources\['x'\]"),
        ({"entrypoint": "a", "metadata": {"x": 1}}, r"metadata\['x'\] must be a text"),
        ({"entrypoint": "a", "runtime_env": {"env_var": {}}}, "did you mean 'env_vars'"),
        (
            {"entrypoint": "a", "runtime_env": {"working_dir": {"uri": "/etc/passwd", "hash": "0"}}},
            "no package",
        ),
        (
            {"entrypoint": "a", "runtime_env": {"working_dir": f"package://{'0' * 64}.zip"}},
            "was not uploaded",
        ),
    ],
)
def test_what_is_wrong_is_refused_at_once(
    client: JobSubmissionClient, arguments: dict[str, Any], text: str
) -> None:
    before = len(client.list_jobs())
    with pytest.raises(JobServerError, match=text) as refused:
        client.submit_job(**arguments)
    assert refused.value.status == 400
    assert len(client.list_jobs()) == before


def test_a_local_path_that_is_not_there(client: JobSubmissionClient) -> None:
    with pytest.raises(ConfigError, match="does not exist"):
        client.submit_job(entrypoint="a", runtime_env={"working_dir": "/no/such/folder"})


def test_a_second_job_with_the_same_identifier(client: JobSubmissionClient) -> None:
    client.submit_job(entrypoint="echo", submission_id="twice")
    with pytest.raises(JobServerError, match="there is a job 'twice' already") as refused:
        client.submit_job(entrypoint="echo", submission_id="twice")
    assert refused.value.status == 409


def _raw(client: JobSubmissionClient, method: str, path: str, body: bytes, **headers: str) -> tuple[int, Any]:
    found = find_server(client.get_address())
    request = urllib.request.Request(found.url + path, body, headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read())


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff",
        b'{"entrypoint": NaN}',
        b'{"entrypoint": "\\ud800"}',
        b"[" * 100_000,
        b'{"nothing": 1}',
    ],
)
def test_bodies_that_are_no_submission(
    cluster: Cluster, client: JobSubmissionClient, monkeypatch: pytest.MonkeyPatch, body: bytes
) -> None:
    assert cluster.head_node is not None
    token = find_server(cluster.head_node.folder).token
    status, said = _raw(client, "POST", "/api/jobs/", body, authorization=f"Bearer {token}")
    assert status == 400
    assert said["error"]
    assert "Traceback" not in json.dumps(said)


def test_nobody_gets_in_without_the_token(client: JobSubmissionClient) -> None:
    for headers in ({}, {"authorization": "Bearer 0"}):
        assert _raw(client, "GET", "/api/jobs/", b"", **headers)[0] == 401
        assert _raw(client, "POST", "/api/jobs/", b'{"entrypoint": "a"}', **headers)[0] in (401, 403)
    with pytest.raises(JobServerError) as refused:
        JobSubmissionClient(client.get_address(), headers={"Authorization": "Bearer 0"})
    assert refused.value.status == 401


def test_the_command(cluster: Cluster, folder: Path) -> None:
    assert cluster.head_node is not None
    environment = {**os.environ, "SHOAL_ADDRESS": cluster.head_node.folder}

    def shoal(*words: str) -> subprocess.CompletedProcess[str]:
        command = [str(Path(sys.executable).with_name("shoal")), "job", *words]
        return subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=90, check=False
        )

    done = shoal("submit", "--working-dir", ".", "--submission-id", "by hand", "--", "python", "program.py")
    assert done.returncode == 0, done.stderr
    assert "found [(0, None, 'working_dir')" in done.stdout
    assert "SUCCEEDED" in done.stderr
    failed = shoal("submit", "--working-dir", ".", "--", "python program.py 3")
    assert failed.returncode == 1
    assert "exit code 3" in failed.stderr
    [row] = [one for one in json.loads(shoal("list", "--json").stdout) if one["submission_id"] == "by hand"]
    assert row["status"] == "SUCCEEDED"
    assert "found [" in shoal("logs", "by hand").stdout
    assert json.loads(shoal("status", "--json", "by hand").stdout)["driver_exit_code"] == 0
    assert shoal("delete", "by hand").returncode == 0
    missing = shoal("status", "by hand")
    assert missing.returncode == 1
    assert "there is no job 'by hand'" in missing.stderr


def test_a_job_whose_supervisor_is_killed(cluster: Cluster, client: JobSubmissionClient) -> None:
    job = client.submit_job(
        entrypoint="python -c 'import os, time; print(os.getppid(), flush=True); time.sleep(600)'"
    )
    wait_for(lambda: client.get_job_logs(job).strip().isdigit(), "the command", SECONDS)
    guardian = int(client.get_job_logs(job))
    with open(f"/proc/{guardian}/stat") as stat:
        supervisor = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(supervisor, signal.SIGKILL)
    assert over(client, job) is JobStatus.FAILED
    details = client.get_job_info(job)
    assert str(details.error_type) == "JOB_SUPERVISOR_ACTOR_DIED"
    wait_for(lambda: not os.path.exists(f"/proc/{guardian}"), "the end of its processes", SECONDS)


def test_a_job_goes_on_while_the_head_is_away(tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    (tmp_path / "slow.py").write_text(
        f"import os, time\nprint('up', flush=True)\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.01)\n"
        "print('done')"
    )
    with Cluster() as cluster:
        port = free_ports(1)[0]
        cluster.add_node(
            num_cpus=0,
            head_port=free_ports(1)[0],
            dashboard_port=port,
            metadata_location=str(tmp_path / "head.db"),
        )
        cluster.add_node(num_cpus=1, resources={"there": 1})
        assert cluster.head_node is not None
        client = JobSubmissionClient(cluster.head_node.folder)
        job = client.submit_job(
            entrypoint="python slow.py",
            runtime_env={"working_dir": {"path": str(tmp_path), "excludes": ["head.db*"]}},
            entrypoint_resources={"there": 1},
        )
        wait_for(lambda: "up" in client.get_job_logs(job), "the command", SECONDS)
        os.kill(cluster.head_node.pid, signal.SIGKILL)
        head = cluster.restart_head()
        again = JobSubmissionClient(head.folder)
        assert again.get_job_status(job) is JobStatus.RUNNING
        gate.touch()
        assert over(again, job) is JobStatus.SUCCEEDED
        assert again.get_job_logs(job) == "up\ndone\n"
