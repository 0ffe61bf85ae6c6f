"""What a session leaves behind, seen from outside: processes, shared memory, folders."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path


def eventually(condition: Callable[[], bool], what: str, seconds: float = 20.0) -> None:
    """Wait until `condition()`, within a bound."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not so within {seconds:g} s: {what}"
        time.sleep(0.01)


def processes_of(session_folder: str) -> list[int]:
    """Return the living processes whose command line or environment of sockets names the session."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            command = (entry / "cmdline").read_bytes()
            state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
        except OSError:
            continue
        if session_folder.encode() in command and state != "Z":
            found.append(int(entry.name))
    return found


def shared_memory_of(session_name: str) -> list[str]:
    """Return what the session has in shared memory."""
    return [name for name in os.listdir("/dev/shm") if session_name in name]


def assert_nothing_left(folder: str, name: str) -> None:
    """No process, no shared memory, no folder but for logs and events."""
    eventually(lambda: not processes_of(folder), "no process is left")
    eventually(lambda: not shared_memory_of(name), "no shared memory is left")
    eventually(
        lambda: not os.path.isdir(folder) or {*os.listdir(folder)} <= {"logs", "events"},
        "the session folder is cleaned",
    )
