"""The daemon's process: starting it, which a driver does before it has imported its own half, and ending it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence

from shoal.errors import ConfigError, SystemFailure
from shoal.native.process.folders import make_folders, remove_folders

_DAEMON_END_SECONDS = 5.0
_LOOK_SECONDS = 0.2


class DaemonProcess:
    """The daemon that this process has started. `lifeline` ends it when it closes, however that comes about."""

    def __init__(self, pid: int, lifeline: socket.socket, name: str, folder: str, store_folder: str) -> None:
        self.pid = pid
        self.name = name  # of its session
        self.folder = folder
        self.store_folder = store_folder
        self._lifeline = lifeline
        self._ended = False

    def begin(self) -> None:
        """Tell it that the session's settings are written."""
        with contextlib.suppress(BrokenPipeError):  # it has died: wait_ready tells
            self._lifeline.send(b"B")

    def wait_ready(
        self,
        timeout: float,
        given_up: Callable[[], bool] | None = None,
        on_wait: Callable[[str], None] | None = None,
    ) -> dict[str, str]:
        """Return the node's labels when it serves.

        `given_up` is asked a few times a second whether to end the node instead; `on_wait` is told what it waits for.

        Raises SystemFailure with its own words if it does not come up, ConfigError if a setting is the reason.
        """
        word = b""
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            self._lifeline.settimeout(left if given_up is None else min(left, _LOOK_SECONDS))
            with contextlib.suppress(TimeoutError):
                word = self._lifeline.recv(1 << 16)
                if word[:1] != b"W":
                    break
                if on_wait is not None:
                    on_wait(word[1:].decode("utf-8", "replace"))
                word = b""
            if given_up is not None and given_up():
                self.end()
                raise SystemFailure("the start was given up before the node was up")
        if word[:1] == b"R":
            import msgspec

            labels: dict[str, str] = msgspec.msgpack.decode(word[1:])
            return labels
        self.end()
        if word[:1] == b"C":
            raise ConfigError(word[1:].decode("utf-8", "replace"))
        text = word[1:].decode("utf-8", "replace") if word[:1] == b"F" else ""
        logs = os.path.join(self.folder, "logs")
        raise SystemFailure(
            f"the session's daemon did not come up within {timeout:g} s (logs: {logs})\n{text}"
        )

    def end(self) -> None:
        """End it and everything below it; nothing is left when this returns."""
        if self._ended:
            return
        self._ended = True
        self._lifeline.close()
        deadline = time.monotonic() + _DAEMON_END_SECONDS
        while time.monotonic() < deadline:
            if self._reap():
                break
            time.sleep(0.002)
        else:
            self._kill()
        remove_folders(self.folder, self.store_folder)

    def _reap(self) -> bool:
        try:
            pid, _ = os.waitpid(self.pid, os.WNOHANG)
        except ChildProcessError:
            return True
        return pid != 0

    def _kill(self) -> None:
        try:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
        except (ProcessLookupError, ChildProcessError):
            return


def start_daemon(temp_dir: str | None, preload: Sequence[str]) -> DaemonProcess:
    """Make a session's folders and start its daemon, whose workers import `preload` before they are forked.

    Raises SystemFailure, OSError, and leaves nothing then.
    """
    name, folder, store_folder = make_folders(temp_dir)
    try:
        pid, lifeline = _spawn(folder, preload)
    except BaseException:
        remove_folders(folder, store_folder, keep_logs=False)
        raise
    return DaemonProcess(pid, lifeline, name, folder, store_folder)


def _spawn(folder: str, preload: Sequence[str]) -> tuple[int, socket.socket]:
    """Start the process in a process session of its own, so that a Ctrl-C at the terminal is not for it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # one word a message
    theirs.set_inheritable(True)
    command = [
        sys.executable,
        "-P" if sys.version_info >= (3, 11) else "-u",
        "-m",
        "shoal.native.daemon.main",
        folder,
        str(theirs.fileno()),
        *preload,
    ]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    null = os.open(os.devnull, os.O_RDWR)
    errors = os.open(
        os.path.join(folder, "logs", "daemon.err"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600
    )
    try:
        pid = os.posix_spawn(
            sys.executable,
            command,
            environment,
            file_actions=[
                (os.POSIX_SPAWN_DUP2, null, 0),
                (os.POSIX_SPAWN_DUP2, errors, 1),
                (os.POSIX_SPAWN_DUP2, errors, 2),
            ],
            setsid=True,
        )
    finally:
        os.close(null)
        os.close(errors)
        theirs.close()
    return pid, ours
