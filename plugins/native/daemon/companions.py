"""Companions of the head: processes of their own that are started, watched, and started again when they die."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")

_LOOK_SECONDS = 0.5
_FIRST_WAIT = 0.5  # seconds until one that died is started again; doubles each time
_LONGEST_WAIT = 30.0
_STEADY_SECONDS = 60.0  # who has run for this long is meant to run: its next death counts as the first
_END_SECONDS = 5.0  # that one may take to end


class Companions:
    """Which companion runs in which process. Called in the daemon's loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._address = ""
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._started: dict[str, float] = {}
        self._waits: dict[str, float] = {}

    def begin(self, address: str) -> None:
        """Start what the settings ask for. `address` is the head's."""
        self._address = address
        if self._daemon.config.autoscaling:
            self._start("autoscaler")

    def _start(self, name: str) -> None:
        daemon = self._daemon
        if daemon.ended:
            return
        folder = daemon.session.folder
        command = [sys.executable, "-m", "shoal.native.process.companion", name, folder, self._address]
        try:
            with open(os.path.join(folder, "logs", f"{name}.err"), "ab") as errors:
                process = subprocess.Popen(
                    [*command, str(os.getpid())], stdin=subprocess.DEVNULL, stdout=errors, stderr=errors
                )
        except OSError as error:
            _log.error("the companion %s cannot be started: %s", name, error)
            self._again(name)
            return
        self._processes[name] = process
        self._started[name] = time.monotonic()
        daemon.call_later(_LOOK_SECONDS, functools.partial(self._look, name))

    def _look(self, name: str) -> None:
        process = self._processes.get(name)
        if process is None:
            return
        status = process.poll()
        if status is None:
            self._daemon.call_later(_LOOK_SECONDS, functools.partial(self._look, name))
            return
        del self._processes[name]
        if time.monotonic() - self._started[name] >= _STEADY_SECONDS:
            self._waits.pop(name, None)
        _log.error("the companion %s has ended with status %d; see logs/%s.log", name, status, name)
        self._again(name)

    def _again(self, name: str) -> None:
        wait = self._waits.get(name, _FIRST_WAIT)
        self._waits[name] = min(2 * wait, _LONGEST_WAIT)
        self._daemon.call_later(wait, functools.partial(self._start, name))

    def close(self) -> None:
        """End them all. The loop has ended."""
        for process in self._processes.values():
            process.terminate()
        deadline = time.monotonic() + _END_SECONDS
        for process in self._processes.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            if process.poll() is None:
                process.kill()
                process.wait()
        self._processes.clear()
