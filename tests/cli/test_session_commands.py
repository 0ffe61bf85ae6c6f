"""`shoal sessions`, `stack` and `logs`, run as processes beside a real session."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from session_process import SessionProcess

from shoal.native.process.node import find_nodes, stop_node

SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")
START_HEAD = """
import os
from shoal.config import load_config
from shoal.native.process.node import start_node
from shoal.native.security.bundle import Bundle
start_node(load_config({"head_port": 0, "num_cpus": 1, "num_gpus": 0}), Bundle(os.urandom(32)))
"""
Run = Callable[..., subprocess.CompletedProcess[str]]
pytestmark = pytest.mark.processes


@pytest.fixture
def temp_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A folder of sessions of this test's own, which its processes inherit; short, as sockets must be."""
    with tempfile.TemporaryDirectory(prefix="shoal-") as folder:
        monkeypatch.setenv("SHOAL_TEMP_DIR", folder)
        yield folder


@pytest.fixture
def session(temp_dir: str, tmp_path: Path) -> Iterator[SessionProcess]:
    with SessionProcess(tmp_path) as process:
        yield process


@pytest.fixture
def shoal(temp_dir: str, tmp_path: Path) -> Run:
    """Run the command line as a user does."""

    def run(*words: str, status: int = 0) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [SHOAL, *words], capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path
        )
        assert done.returncode == status, done.stdout + done.stderr
        return done

    return run


@pytest.fixture
def may_look() -> None:
    """Skip where the machine forbids looking into processes that are not children."""
    scope = Path("/proc/sys/kernel/yama/ptrace_scope")
    if os.geteuid() != 0 and scope.is_file() and scope.read_text().strip() != "0":
        pytest.skip("kernel.yama.ptrace_scope forbids py-spy to look into processes here")


def eventually(condition: Callable[[], object], seconds: float = 30) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def test_without_a_session_each_command_says_so(shoal: Run) -> None:
    assert shoal("sessions").stdout == "No session lives.\n"
    assert json.loads(shoal("sessions", "--json").stdout) == []
    assert "no session lives: start one" in shoal("stack", status=1).stderr
    assert "no session is there" in shoal("logs", status=1).stderr


def test_sessions_lists_what_lives(shoal: Run, session: SessionProcess) -> None:
    session.tell("put", 64 << 20)
    [row] = shoal("sessions").stdout.splitlines()[1:]
    assert row.split()[:2] == [session.name, str(session.driver_pid)]
    assert row.endswith("session_program.py")
    [found] = json.loads(shoal("sessions", "--json").stdout)
    assert (found["name"], found["folder"]) == (session.name, session.folder)
    assert found["objects_bytes"] >= 64 << 20
    assert 10 << 20 < found["memory_bytes"] < 4 << 30
    assert abs(found["since"] - time.time()) < 300
    by_role = {process["role"]: process for process in found["processes"]}
    assert by_role["driver"]["pid"] == session.driver_pid
    assert {"daemon", "zygote", "worker"} <= by_role.keys()
    workers = {one["worker"]: one for one in found["processes"] if one["role"] == "worker"}
    assert workers[session.worker]["pid"] == session.pid
    session.end()
    assert shoal("sessions").stdout == "No session lives.\n"


def test_looking_disturbs_nothing(shoal: Run, session: SessionProcess) -> None:
    for _ in range(3):
        shoal("sessions")
    session.tell("say", "still here")
    logs = Path(session.folder, "logs")
    assert "Traceback" not in "".join(path.read_text() for path in logs.iterdir())


@pytest.mark.usefixtures("may_look")
def test_stack_shows_where_every_process_is(shoal: Run, session: SessionProcess, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    session.tell("hold", gate)
    try:
        found = eventually(lambda: held_task(shoal("stack", "--json").stdout))
        text = shoal("stack").stdout
        local = shoal("stack", "--worker", str(found["pid"]), "--locals").stdout
    finally:
        gate.touch()
    assert found["role"] == "worker"
    assert "stand_still_in_a_task" in found["doing"]
    for role in ("driver", "daemon", "zygote"):
        assert f"{role} " in text
    assert "stand_still_in_a_task (" in text
    assert "session_program.py" in text
    assert 'local_of_the_task = "seen from outside"' in local
    assert "daemon (process" not in local


def held_task(printed: str) -> Any:
    for process in json.loads(printed)["processes"]:
        frames = [frame["name"] for thread in process["threads"] for frame in thread["frames"]]
        if "stand_still_in_a_task" in frames:
            return process
    return None


@pytest.mark.usefixtures("may_look")
def test_stack_reads_a_process_that_hangs(shoal: Run, session: SessionProcess) -> None:
    os.kill(session.pid, signal.SIGSTOP)
    try:
        done = shoal("stack", "--worker", session.worker[-8:])
    finally:
        os.kill(session.pid, signal.SIGCONT)
    assert f"worker {session.worker} (process {session.pid})" in done.stdout
    session.tell("say", "alive again")


def test_a_worker_that_is_not_there_is_named(shoal: Run, session: SessionProcess) -> None:
    assert f"session {session.name} has no worker 'zz'" in shoal("stack", "--worker", "zz", status=1).stderr
    assert "it has no worker 'zz'" in shoal("logs", "--worker", "zz", status=1).stderr


@pytest.mark.usefixtures("may_look")
def test_one_of_several_sessions_must_be_named(shoal: Run, session: SessionProcess, tmp_path: Path) -> None:
    (tmp_path / "second").mkdir()
    with SessionProcess(tmp_path / "second") as second:
        for verb in ("stack", "logs"):
            words = shoal(verb, status=1).stderr
            assert "2 sessions live; name one with --session:" in words
            assert session.name in words
            assert second.name in words
        for named in (second.name, second.name[-4:], str(second.driver_pid)):
            assert json.loads(shoal("stack", "--session", named, "--json").stdout)["session"] == second.name
        assert (
            "no session named 'odd' lives; there are:" in shoal("stack", "--session", "odd", status=1).stderr
        )
        second.tell("say", "words of the second")
        assert "words of the second" in shoal("logs", "--session", second.name).stdout
        assert "words of the second" not in shoal("logs", "--session", session.name).stdout


def test_logs_shows_what_workers_printed(shoal: Run, session: SessionProcess) -> None:
    session.tell("say", "second words")
    lines = [f"worker {session.worker}: {words}" for words in ("first words", "second words")]
    eventually(lambda: set(lines) <= set(shoal("logs").stdout.splitlines()))
    for named in (session.worker, session.worker[8:], str(session.pid)):
        assert shoal("logs", "--worker", named).stdout.splitlines() == lines
    assert shoal("logs", "--worker", session.worker, "--tail", "1").stdout.splitlines() == lines[1:]
    rows = [
        json.loads(line) for line in shoal("logs", "--json", "--worker", session.worker).stdout.splitlines()
    ]
    first = rows[0]
    assert (first["from"], first["worker"], first["line"]) == ("worker", session.worker, "first words")
    assert shoal("logs", "--grep", "^second").stdout.splitlines() == lines[1:]
    assert shoal("logs", "--task", first["task"][4:]).stdout.splitlines() == lines[:1]
    assert shoal("logs", "--actor", "no such").stdout == ""
    assert "no regular expression" in shoal("logs", "--grep", "(", status=2).stderr
    assert "worker" not in shoal("logs", "--daemon").stdout


def test_logs_outlive_their_session(shoal: Run, session: SessionProcess) -> None:
    session.end()
    assert f"worker {session.worker}: first words" in shoal("logs").stdout
    assert "first words" in shoal("logs", "--session", session.name[-4:]).stdout
    assert "first words" in shoal("logs", "--session", session.folder).stdout
    assert "no session named 'odd' is there; there are:" in shoal("logs", "--session", "odd", status=1).stderr


def test_logs_follows_until_the_session_ends(shoal: Run, session: SessionProcess) -> None:
    command = [SHOAL, "logs", "--follow", "--worker", session.worker]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        who = f"worker {session.worker}"
        assert following.stdout.readline() == f"{who}: first words\n"
        session.tell("say", "later words")
        assert following.stdout.readline() == f"{who}: later words\n"
        session.end()
        assert following.stdout.read() == ""
        assert following.wait(30) == 0


def test_ctrl_c_ends_following_with_its_own_status(shoal: Run, session: SessionProcess) -> None:
    command = [SHOAL, "logs", "--follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        assert following.stderr is not None
        assert "first words" in following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.stderr.read().strip() == "Interrupted."
        assert following.wait(30) == 130


def test_the_shell_completes_the_names_of_sessions(session: SessionProcess) -> None:
    variables = {"_SHOAL_COMPLETE": "bash_complete", "COMP_WORDS": "shoal logs --session ", "COMP_CWORD": "3"}
    done = subprocess.run(
        [SHOAL], capture_output=True, text=True, timeout=60, env={**os.environ, **variables}
    )
    assert done.stdout == f"plain,{session.name}\n"


def test_a_node_of_a_cluster_is_seen_with_its_drivers(shoal: Run, temp_dir: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", START_HEAD], check=True, timeout=60)
    [node] = find_nodes(temp_dir)
    try:
        with SessionProcess(tmp_path, address=node.head_address) as driver:
            [found] = json.loads(shoal("sessions", "--json").stdout)
            assert (found["folder"], found["driver_pid"]) == (node.folder, 0)
            assert found["program"] == f"head of {node.head_address}"
            roles = {process["pid"]: process["role"] for process in found["processes"]}
            assert roles[node.pid] == "daemon"
            assert roles[driver.driver_pid] == "driver"
            assert roles[driver.pid] == "worker"
            assert f"worker {driver.worker}: first words" in shoal("logs").stdout
    finally:
        stop_node(node)
    assert shoal("sessions").stdout == "No session lives.\n"
