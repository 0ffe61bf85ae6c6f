"""Looking into a running Python process from outside, by py-spy."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from typing import Any

from shoal.errors import ConfigError

_SECONDS = 30
_RATE = 100  # samples a second
_MOST_STACKS = 20_000


def find_py_spy() -> str:
    """Return the program. Raises ConfigError, saying how to install it."""
    beside_python = os.pathsep.join([os.path.dirname(sys.executable), os.environ.get("PATH", os.defpath)])
    found = shutil.which("py-spy", path=beside_python)
    if found is None:
        raise ConfigError("this needs the program py-spy: install it with `pip install 'shoal[stack]'`")
    return found


def dump(program: str, pid: int, with_locals: bool = False) -> tuple[list[dict[str, Any]], str]:
    """Return the threads of a process, and why they could not be had if that is so."""
    command = [program, "dump", "--json", "--pid", str(pid), *(["--locals"] if with_locals else [])]
    if _stands_still(pid):
        command.append("--nonblocking")  # a process that is stopped already cannot be stopped once more
    done = _run(command, _SECONDS)
    if isinstance(done, str):
        return [], done
    if done.returncode == 0:
        return json.loads(done.stdout), ""
    return [], _why(pid, done.stderr)


def record(program: str, pid: int, seconds: float) -> tuple[list[tuple[str, int]], str]:
    """Look at a process a hundred times a second; return (stack, samples), outermost function first, or why not.

    A stack is its functions, separated by semicolons. The process stands still for a moment at each look.
    """
    command = [program, "record", "--pid", str(pid), "--duration", str(max(1, round(seconds)))]
    command += ["--rate", str(_RATE), "--format", "raw", "--threads"]
    if _stands_still(pid):
        command.append("--nonblocking")
    with tempfile.TemporaryDirectory(prefix="shoal-flame-") as folder:
        path = os.path.join(folder, "stacks")
        done = _run([*command, "--output", path], seconds + _SECONDS)
        if isinstance(done, str):
            return [], done
        if not os.path.exists(path):
            return [], _why(pid, done.stderr)
        with open(path, encoding="utf-8", errors="replace") as file:
            parts = [line.rstrip("\n").rpartition(" ") for line in file]
    found = [(stack, int(count)) for stack, _, count in parts if stack and count.isdecimal()]
    found.sort(key=lambda one: -one[1])
    return found[:_MOST_STACKS], ""


def _run(command: list[str], seconds: float) -> subprocess.CompletedProcess[str] | str:
    try:
        return subprocess.run(
            command, capture_output=True, text=True, timeout=seconds, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        return f"py-spy was not done within {seconds:g} s"


def _why(pid: int, said: str) -> str:
    if not os.path.isdir(f"/proc/{pid}"):
        return "the process has ended"
    why = said.partition("Stack backtrace:")[0].strip().removeprefix("Error: ")
    if "ermission denied" in why or "not permitted" in why:
        why += (
            "\n(this machine lets a user look into child processes only: run it with sudo, or set "
            "kernel.yama.ptrace_scope to 0; a container needs the capability SYS_PTRACE)"
        )
    return why


def _stands_still(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0] in (b"T", b"t")
    except OSError:
        return False
