"""What a job's command starts ends with it: also what became a daemon, and when whoever asked for it dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

from shoal.jobs import guardian
from shoal.testing.engine_gates import wait_for

_BOUND = 20.0


def _start(code: str, grace: float = 0.5) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-I",
        guardian.__file__,
        str(grace),
        sys.executable,
        "-c",
        textwrap.dedent(code),
    ]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _facts(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    assert process.stdout is not None
    for line in process.stdout:
        facts.update(json.loads(line))
    return facts


def _finish(process: subprocess.Popen[bytes]) -> tuple[dict[str, Any], bytes]:
    with process:
        facts = _facts(process)
        assert process.stderr is not None
        return facts, process.stderr.read()


def _lives(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            return stat.read().rpartition(b")")[2].split()[0] != b"Z"
    except FileNotFoundError:
        return False


def test_the_exit_code_and_what_was_printed() -> None:
    facts, printed = _finish(_start("import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)"))
    assert facts["exit"] == 7
    assert not facts["stopped"]
    assert facts["left"] == 0
    assert sorted(printed.split()) == [b"err", b"out"]


def test_a_signal_is_a_negative_number() -> None:
    facts, _ = _finish(_start("import os; os.kill(os.getpid(), 11)"))
    assert facts["exit"] == -signal.SIGSEGV


def test_a_command_that_is_not_there() -> None:
    command = [sys.executable, "-I", guardian.__file__, "1", "/nowhere/at-all"]
    done = subprocess.run(command, stdin=subprocess.PIPE, capture_output=True, check=False, timeout=_BOUND)
    assert "FileNotFoundError" in json.loads(done.stdout)["error"]


def test_a_daemon_that_the_command_leaves_is_ended(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"""
        import os, signal, time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                with open({str(pid_file) + ".new"!r}, "w") as file:
                    file.write(str(os.getpid()))
                os.rename({str(pid_file) + ".new"!r}, {str(pid_file)!r})
                time.sleep(600)
            os._exit(0)
        os.wait()
        while not os.path.exists({str(pid_file)!r}):
            time.sleep(0.01)
    """
    facts, _ = _finish(_start(code))
    assert facts["exit"] == 0
    assert facts["left"] == 1
    assert not _lives(int(pid_file.read_text()))


def test_stopping_asks_first_and_then_insists() -> None:
    polite = _start(
        "import signal, sys, time\nsignal.signal(15, lambda *_: sys.exit(3))\nprint('up', flush=True)\ntime.sleep(600)",
        30,
    )
    stubborn = _start(
        "import signal, time\nsignal.signal(15, signal.SIG_IGN)\nprint('up', flush=True)\ntime.sleep(600)",
        0.1,
    )
    for process in (polite, stubborn):
        assert process.stderr is not None
        assert process.stdin is not None
        assert process.stderr.readline() == b"up\n"
        process.stdin.close()
        process.stdin = None
    assert _finish(polite)[0] | {"pid": 0} == {"pid": 0, "exit": 3, "left": 0, "stopped": True}
    assert _finish(stubborn)[0]["exit"] == -signal.SIGKILL


def test_the_command_ends_when_whoever_asked_for_it_is_killed() -> None:
    asker = (
        "import subprocess, sys, time\n"
        f"one = subprocess.Popen([sys.executable, '-I', {guardian.__file__!r}, '0.1', 'sleep', '600'], "
        "stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "print(one.pid, one.stdout.readline().decode(), flush=True)\n"
        "time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", asker], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        watching, _, said = process.stdout.readline().decode().partition(" ")
        command = json.loads(said)["pid"]
        assert _lives(int(watching))
        assert _lives(command)
        os.kill(process.pid, signal.SIGKILL)
    wait_for(lambda: not _lives(command) and not _lives(int(watching)), "the end of both", _BOUND)
