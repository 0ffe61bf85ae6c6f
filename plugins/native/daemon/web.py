"""The dashboard's socket. The head listens; a process that serves is started when somebody comes, and again if it dies.

While nobody looks this is one watched descriptor, or nothing at all: the port of a program's own session is opened when
the program asks for the address. See docs/decisions/0011-dashboard-on-demand.md.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import sys
import time
from typing import TYPE_CHECKING

import attrs

from shoal.errors import ConfigError
from shoal.interfaces.services import DASHBOARD, GIVE_UP, SETUP_FILE, service_token
from shoal.native.security.policy import is_loopback, loopback, wants_tls
from shoal.native.security.private import write_private

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")
_FIRST_PORT = 8265  # as in the reference system
_PORTS = 100  # that are tried before any free one is taken
_NICE = 10
_WORTH_SECONDS = 60.0  # a process that served so long was no failure
_MOST_FAILURES = 5
_FIRST_PAUSE_SECONDS = 0.5
_END_SECONDS = 2.0
_REAP_SECONDS = 0.05


@attrs.define(eq=False)
class _Visitor:
    """Watches the socket until somebody comes."""

    sock: socket.socket
    on_readable: Callable[[], None]

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()


@attrs.define(eq=False)
class _Process:
    """The process that serves; `lifeline` is its standard input, whose end it notices."""

    pid: int
    lifeline: int
    started: float


class Dashboard:
    """The head's part of the dashboard. Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._sock: socket.socket | None = None
        self._process: _Process | None = None
        self._failures = 0
        self._certificate: Sequence[str] = ()
        self._closed = False
        self._given_up = ""  # why
        self.url = ""

    def begin(self) -> None:
        """Open the port if the settings want it from the beginning. Raises ConfigError if it cannot be had."""
        config, session = self._daemon.config, self._daemon.session
        wanted = config.include_dashboard
        if wanted is None:  # unless it is asked for by a setting, only a cluster, which is no one program's
            asked = config.dashboard_host is not None or config.dashboard_port is not None
            wanted = session.standing or asked
        if wanted:
            self.open()

    def open(self) -> str:
        """Open the port, if it is not, and return the address. Raises ConfigError if it cannot or must not be had."""
        if self._given_up:
            raise ConfigError(self._given_up)
        if self._sock is not None:
            return self.url
        config, session = self._daemon.config, self._daemon.session
        if config.include_dashboard is False:
            raise ConfigError("this session was started without a dashboard: include_dashboard=False")
        host = (config.dashboard_host or loopback()).strip("[]")
        self._certificate = self._credentials(host)
        self._sock = _listen(host, config.dashboard_port)
        port = self._sock.getsockname()[1]
        shown = {"0.0.0.0": socket.gethostname(), "::": socket.gethostname()}.get(host, host)
        scheme = "https" if self._certificate else "http"
        self.url = f"{scheme}://{f'[{shown}]' if ':' in shown else shown}:{port}"
        plain = {"url": self.url, "token": service_token(session.token), "session": session.name}
        path = os.path.join(session.folder, SETUP_FILE)
        write_private(path, json.dumps(plain).encode())
        self._wait_for_visitors()
        return self.url

    def _credentials(self, host: str) -> Sequence[str]:
        """Return the files of authority, certificate and key; none on loopback. Raises ConfigError."""
        session = self._daemon.session
        if session.tls and not is_loopback(host):
            return session.tls
        if not wants_tls(self._daemon.config, [host], False):
            return ()
        from shoal.native.security.bundle import credentials_of, make_bundle

        folder = os.path.join(session.folder, "web_tls")
        os.mkdir(folder, 0o700)
        names = [name for name in (host, socket.gethostname(), "localhost") if name not in ("0.0.0.0", "::")]
        made = credentials_of(make_bundle(with_authority=True), folder, names)
        return attrs.astuple(made)

    def _wait_for_visitors(self) -> None:
        if self._sock is not None and not self._closed and self._process is None:
            self._daemon.reactor.watch(_Visitor(self._sock, self._visited))

    def _visited(self) -> None:
        assert self._sock is not None
        self._daemon.reactor.unwatch(self._sock.fileno())
        try:
            self._process = self._spawn(self._sock)
        except OSError as error:
            _log.error("the dashboard cannot be started: %s", error)
            self._ended()
            return
        self._watch()

    def _spawn(self, sock: socket.socket) -> _Process:
        session = self._daemon.session
        theirs, ours = os.pipe()  # not inherited but where it is said
        authority, certificate, key = self._certificate or ("", "", "")
        cluster = ""
        if session.standing:
            cluster = self._daemon.cluster.head_address if self._daemon.cluster is not None else ""
        setup = {
            "session": session.name,
            "folder": session.folder,
            "is_live": True,
            "url": self.url,
            "token": service_token(session.token),
            "cluster": cluster,
            "certificate": certificate,
            "key": key,
            "authority": authority,
        }
        errors = os.path.join(session.folder, "logs", "dashboard.err")
        module = "shoal.native.process.serve"
        command = [sys.executable, "-P" if sys.version_info >= (3, 11) else "-u", "-m", module, DASHBOARD]
        try:
            os.write(ours, json.dumps(setup).encode() + b"\n")
            pid = os.posix_spawn(
                sys.executable,
                [*command, str(_NICE)],
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_DUP2, theirs, 0),
                    (os.POSIX_SPAWN_OPEN, 1, errors, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                    (os.POSIX_SPAWN_DUP2, sock.fileno(), 3),
                ],
            )
        except BaseException:
            os.close(ours)
            raise
        finally:
            os.close(theirs)
        return _Process(pid, ours, time.monotonic())

    def _watch(self) -> None:
        """Notice its end: looked for, since a descriptor of a process is not to be had on every kernel."""
        process = self._process
        if process is None or self._closed:
            return
        status = 0
        with contextlib.suppress(ChildProcessError):
            pid, status = os.waitpid(process.pid, os.WNOHANG)
            if pid == 0:
                self._daemon.call_later(_FIRST_PAUSE_SECONDS, self._watch)
                return
        os.close(process.lifeline)
        self._process = None
        if time.monotonic() - process.started > _WORTH_SECONDS:
            self._failures = 0
        self._ended(os.waitstatus_to_exitcode(status) == GIVE_UP)

    def _ended(self, for_good: bool = False) -> None:
        self._failures += 1
        errors = os.path.join(self._daemon.session.folder, "logs", "dashboard.err")
        if for_good or self._failures > _MOST_FAILURES:
            said = errors.removesuffix("err") + "log"
            what = "cannot be served" if for_good else f"has ended {self._failures} times and is given up"
            self._given_up = f"the dashboard {what}: see {said} and {errors}"
            _log.error("%s", self._given_up)
            if self._sock is not None:
                self._sock.close()  # who comes is refused at once, and does not wait for nobody
            return
        pause = _FIRST_PAUSE_SECONDS * 2 ** (self._failures - 1)
        _log.warning("the dashboard has ended; it can be started again in %.1f s; see %s", pause, errors)
        self._daemon.call_later(pause, self._wait_for_visitors)

    def close(self) -> None:
        """End it with the session: asked first, killed after a moment."""
        self._closed = True
        process, self._process = self._process, None
        if process is not None:
            os.close(process.lifeline)
            deadline = time.monotonic() + _END_SECONDS
            with contextlib.suppress(ChildProcessError, ProcessLookupError):
                while os.waitpid(process.pid, os.WNOHANG)[0] == 0:
                    if time.monotonic() > deadline:
                        os.kill(process.pid, signal.SIGKILL)
                        os.waitpid(process.pid, 0)
                        break
                    time.sleep(_REAP_SECONDS / 10)
        if self._sock is not None:
            self._sock.close()


def _listen(host: str, port: int | None) -> socket.socket:
    """Listen at a port, or where none is given at the first that is free. Raises ConfigError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    tried = [*range(_FIRST_PORT, _FIRST_PORT + _PORTS), 0] if port is None else [port]
    why: OSError | None = None
    for number in tried:
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, number))
            sock.listen(128)
        except OSError as error:
            sock.close()
            why = error
            continue
        return sock
    raise ConfigError(
        f"the dashboard cannot listen at {host}:{tried[-1]}: {why.strerror if why else ''}. Give another "
        "dashboard_host or dashboard_port, leave the port out for a free one, or set include_dashboard=False"
    )
