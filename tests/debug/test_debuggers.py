"""Calls that stand still are found, visited and let go on, by pdb and by debugpy; nobody else gets in."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.debug import set_trace
from shoal.debugging import stopped_calls
from shoal.errors import TaskError, WorkerCrashed
from shoal.testing.engine_gates import wait_for

pytestmark = pytest.mark.processes
SHOAL = str(Path(sys.executable).with_name("shoal"))
SECONDS = 60.0


@shoal.remote
def double(number: int) -> int:
    found = 2 * number
    breakpoint()  # noqa: T100
    found += 0
    return found


@shoal.remote
class Actor:
    def fail(self, number: int) -> None:
        local = number + 5
        raise ValueError(local)

    async def pause(self, number: int) -> int:
        found = 3 * number
        set_trace("by name")
        return found


def _one(folder: str) -> dict[str, Any]:
    wait_for(lambda: len(stopped_calls(folder)) == 1, "a call that stands still", SECONDS)
    return stopped_calls(folder)[0]


def _debug(folder: str, said: str, *words: str) -> str:
    done = subprocess.run(
        [SHOAL, "debug", "--session", folder, *words],
        input=said, capture_output=True, text=True, timeout=SECONDS, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def session(request: pytest.FixtureRequest) -> Iterator[str]:
    settings = {"num_cpus": 2, "debugger_wait_seconds": SECONDS, **getattr(request, "param", {})}
    with shoal.init(**settings) as here:
        yield here["session_dir"]


def test_a_breakpoint_in_a_task(session: str) -> None:
    ref = double.remote(4)
    call = _one(session)
    assert call["function"].endswith("double")
    assert call["file"] == __file__
    assert call["task"] == ref.task_id().hex()
    said = _debug(session, "p found\nfound = 100\nn\np found\nc\n")
    assert "8" in said
    assert "101" not in said
    assert "100" in said
    assert shoal.get(ref, timeout=SECONDS) == 100
    assert stopped_calls(session) == []


def test_a_visitor_who_leaves_lets_the_call_go_on(session: str) -> None:
    ref = double.remote(5)
    _one(session)
    _debug(session, "p found\n")
    assert shoal.get(ref, timeout=SECONDS) == 10


def test_several_are_listed_and_chosen(session: str) -> None:
    refs = [double.remote(number) for number in (1, 2)]
    wait_for(lambda: len(stopped_calls(session)) == 2, "both", SECONDS)
    listed = json.loads(_debug(session, "", "--json"))
    assert len(listed) == 2
    assert "secret" not in listed[0]
    assert "double" in _debug(session, "")
    for call in listed:
        _debug(session, "c\n", call["id"])
    assert shoal.get(refs, timeout=SECONDS) == [2, 4]


def test_an_async_actor_and_a_name(session: str) -> None:
    actor = Actor.remote()
    ref = actor.pause.remote(3)
    call = _one(session)
    assert call["name"] == "by name"
    assert call["actor"]
    _debug(session, "p found\nc\n")
    assert shoal.get(ref, timeout=SECONDS) == 9


@pytest.mark.parametrize("session", [{"post_mortem": True}], indirect=True)
def test_what_raises_stands_still(session: str) -> None:
    ref = Actor.remote().fail.remote(1)
    call = _one(session)
    assert call["error"] == "ValueError: 6"
    assert "raise ValueError(local)" in _debug(session, "p local\nw\n")
    with pytest.raises(TaskError):
        shoal.get(ref, timeout=SECONDS)


def test_who_does_not_know_the_secret_gets_nothing(session: str) -> None:
    ref = double.remote(1)
    call = _one(session)
    for said in (b"\n", b"p found\n", b"x" * 500):
        with socket.create_connection(("127.0.0.1", call["port"])) as link:
            link.settimeout(SECONDS)
            link.sendall(said)
            with contextlib.suppress(ConnectionResetError):  # it had not read all of that
                assert link.recv(100) == b""
    assert os.stat(os.path.join(session, "debug", f"{call['id']}.json")).st_mode & 0o077 == 0
    _debug(session, "c\n")
    assert shoal.get(ref, timeout=SECONDS) == 2


@pytest.mark.parametrize("session", [{"debugger_wait_seconds": 0.2}], indirect=True)
def test_nobody_comes(session: str) -> None:
    assert shoal.get(double.remote(1), timeout=SECONDS) == 2
    assert stopped_calls(session) == []


def test_a_worker_that_is_killed_there_leaves_nothing_to_visit(session: str) -> None:
    ref = double.options(max_retries=0).remote(1)
    call = _one(session)
    os.kill(call["pid"], signal.SIGKILL)
    with pytest.raises(WorkerCrashed):
        shoal.get(ref, timeout=SECONDS)
    wait_for(lambda: not stopped_calls(session), "it is told no more", SECONDS)


class _Editor:
    """The least of an editor: speaks the Debug Adapter Protocol, https://microsoft.github.io/debug-adapter-protocol."""

    def __init__(self, port: int) -> None:
        self._link = socket.create_connection(("127.0.0.1", port), SECONDS)
        self._file = self._link.makefile("rwb")
        self._count = 0

    def send(self, command: str, **arguments: Any) -> None:
        self._count += 1
        body = json.dumps(
            {"seq": self._count, "type": "request", "command": command, "arguments": arguments}
        ).encode()
        self._file.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        self._file.flush()

    def until(self, kind: str, name: str) -> dict[str, Any]:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            size = int(self._file.readline().split(b":")[1])
            self._file.readline()
            message: dict[str, Any] = json.loads(self._file.read(size))
            if message["type"] == kind and message.get("event" if kind == "event" else "command") == name:
                return message
        raise TimeoutError(name)

    def close(self) -> None:
        self._file.close()
        self._link.close()


@pytest.mark.parametrize("session", [{"debugger": "debugpy"}], indirect=True)
def test_an_editor_attaches(session: str) -> None:
    ref = double.remote(4)
    call = _one(session)
    editor = _Editor(call["debugpy"])
    editor.send("initialize", adapterID="test", clientID="test")
    editor.until("response", "initialize")
    editor.send("attach", justMyCode=False)
    editor.until("event", "initialized")
    editor.send("configurationDone")
    thread = editor.until("event", "stopped")["body"]["threadId"]
    editor.send("stackTrace", threadId=thread)
    frames = editor.until("response", "stackTrace")["body"]["stackFrames"]
    assert "double" in {frame["name"] for frame in frames}
    editor.send("continue", threadId=thread)
    editor.until("response", "continue")
    assert shoal.get(ref, timeout=SECONDS) == 8
    editor.send("disconnect")
    editor.close()
