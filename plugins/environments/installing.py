"""Running installers: bounded in time, with their own words in the error."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import site
import subprocess
import sys
from collections.abc import Mapping, Sequence

from shoal.errors import RuntimeEnvSetup
from shoal.interfaces.environment import seconds_left

_MOST_SHOWN = 20_000  # characters of an installer's output: its end

# Installers hold locks of their own, so one whose node has died must not go on: the kernel ends it with its parent. A
# program of its own sets that, since a process with threads should run nothing between fork and exec.
_WITH_PARENT = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(1)
os.execvp(sys.argv[2], sys.argv[2:])
"""

# What uv does not read of pip's settings, by the names that it gives them.
_AS_PIP = {
    "PIP_INDEX_URL": "UV_DEFAULT_INDEX",
    "PIP_EXTRA_INDEX_URL": "UV_INDEX",
    "PIP_FIND_LINKS": "UV_FIND_LINKS",
    "PIP_CERT": "SSL_CERT_FILE",
}


def run(command: Sequence[str], what: str, folder: str, variables: Mapping[str, str] | None = None) -> str:
    """Run an installer in a folder and return what it printed.

    Raises RuntimeEnvSetup with what it printed if it fails, is not there, or is not ready in time; then it has ended,
    and what it started with it.
    """
    left = seconds_left()
    program = shutil.which(command[0])
    if program is None:
        raise RuntimeEnvSetup(f"{what} could not be started: there is no program {command[0]!r}")
    with_parent = [sys.executable, "-I", "-S", "-c", _WITH_PARENT, str(os.getpid()), program, *command[1:]]
    try:
        process = subprocess.Popen(
            with_parent,
            cwd=folder,
            env={**_environment(), **(variables or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    except OSError as error:
        raise RuntimeEnvSetup(f"{what} could not be started: {_shown(command)}: {error}") from error
    with process:
        try:
            printed, _ = process.communicate(timeout=None if left == float("inf") else left)
        except subprocess.TimeoutExpired:
            _end(process)
            printed, _ = process.communicate()
            raise RuntimeEnvSetup(
                f"{what} was not ready within {left:.0f} s (runtime_env['config']['setup_timeout_seconds']) and was "
                f"ended:\n$ {_shown(command)}\n{_text(printed)}"
            ) from None
        except BaseException:
            _end(process)
            raise
    text = _text(printed)
    if process.returncode:
        raise RuntimeEnvSetup(f"{what} failed (exit code {process.returncode}):\n$ {_shown(command)}\n{text}")
    return text


def find_uv() -> str | None:
    """Return the program uv, if it is installed: beside this interpreter, or anywhere on PATH."""
    beside = os.path.join(os.path.dirname(sys.executable), "uv")
    return beside if os.access(beside, os.X_OK) else shutil.which("uv")


def make_venv(folder: str, uv: str | None, with_pip: bool) -> str:
    """Make a virtual environment of this interpreter below `folder`; return its own interpreter.

    Raises RuntimeEnvSetup.
    """
    place = os.path.join(folder, "env")
    if uv is not None:
        seed = ["--seed"] if with_pip else []
        command = [uv, "venv", "--quiet", "--no-project", *seed, "--python", sys.executable, place]
    else:
        command = [sys.executable, "-m", "venv", *([] if with_pip else ["--without-pip"]), place]
    run(command, "the virtual environment", folder)
    return os.path.join(place, "bin", "python")


def show_node(prefix: str) -> None:
    """Have the interpreter of an environment find the node's packages, after its own, in whatever process it runs.

    A worker's own start sees to itself; this is for programs that it starts, such as a job's.
    """
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    place = os.path.join(prefix, "lib", version, "site-packages")
    if not os.path.isdir(place):
        raise RuntimeEnvSetup(f"the environment {prefix} is not of {version}, which the node runs")
    folders = [*site.getsitepackages(), *([site.getusersitepackages()] if site.ENABLE_USER_SITE else [])]
    with open(os.path.join(place, "_node_packages.pth"), "w", encoding="utf-8") as file:
        file.write("".join(f"import site; site.addsitedir({folder!r})\n" for folder in folders))


def _environment() -> dict[str, str]:
    found = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH")}
    for theirs, ours in _AS_PIP.items():
        if theirs in found:
            # Where pip has spaces between several, uv has commas between folders of files.
            value = ",".join(found[theirs].split()) if ours == "UV_FIND_LINKS" else found[theirs]
            found.setdefault(ours, value)
    return found


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _shown(command: Sequence[str]) -> str:
    return shlex.join(command)


def _text(printed: bytes) -> str:
    text = printed.decode("utf-8", "replace").strip()
    return text if len(text) <= _MOST_SHOWN else "…" + text[-_MOST_SHOWN:]
