"""Gateways: a process for each driver from outside the cluster, started once that has proved the token."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from shoal.native.client.peers import socket_path
from shoal.native.daemon.door import remove_door
from shoal.native.transport.admission import Admission
from shoal.native.transport.connection import Connection, Message
from shoal.native.wire import line as words
from shoal.native.wire.handshake import ServerHandshake
from shoal.native.wire.kinds import PROTOCOL
from shoal.native.wire.nodes import daemon_of, driver_id
from shoal.spec.version import VERSION

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon

_log = logging.getLogger("shoal.daemon")
_MOST = 256
_LONGEST_GRACE = 24 * 3600.0  # seconds
_REAP_SECONDS = 0.02
_SECRETS = ("metadata_location", "metadata_options")  # a store's passwords are in them
_OURS = (
    "folder",
    "job_id",
    "namespace",
    "node_id",
    "number",
    "store_bytes",
    "listen_host",
    "name",
    "observed",
)


@attrs.define(eq=False)
class _GatewayProcess:
    """One gateway. `answer` is told when it serves, or why it does not."""

    pid: int
    lifeline: socket.socket
    identity: bytes
    driver: bytes
    answer: Callable[[str], None]
    on_readable: Callable[[], None] = lambda: None

    def fileno(self) -> int:
        """Return the descriptor of our end of its lifeline."""
        return self.lifeline.fileno()


class Gateways:
    """Lets clients in and keeps their gateways. Called with the lock held."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._admission = Admission(daemon.reactor)
        self._processes: dict[bytes, _GatewayProcess] = {}

    # Clients that come

    def accept(self, sock: socket.socket) -> None:
        """A driver from outside the cluster wants to be let in."""
        daemon = self._daemon
        handshake = ServerHandshake(daemon.session.token, daemon_of(daemon.number))
        connection = daemon.links.accepted(
            sock, handshake, self._on_message, self._on_close, self._admission.discard
        )
        connection.data = connection.fileno()
        daemon.reactor.add_connection(connection)
        self._admission.add(connection)

    def _on_close(self, connection: Connection) -> None:
        self._daemon.reactor.unwatch(connection.data)
        self._admission.discard(connection)

    def _on_message(self, connection: Connection, message: Message) -> None:
        try:
            if message[0] == words.GREET:
                self._greet(connection, message[1])
            elif message[0] == words.LOOK:
                self._say(connection, [words.LIVES, message[1] in self._processes])
            else:
                connection.close()
        except (LookupError, TypeError, ValueError) as error:
            _log.warning("a client said what cannot be: %r", error)
            connection.close()

    def _say(self, connection: Connection, message: Message) -> None:
        self._daemon.reactor.send(connection, message)

    def _greet(self, connection: Connection, facts: dict[str, Any]) -> None:
        wrong = _difference(facts)
        grace = float(facts["grace"])
        if not wrong and not 0 <= grace <= _LONGEST_GRACE:
            wrong = f"client_grace_seconds must be from 0 to {_LONGEST_GRACE:g}, not {grace:g}"
        if not wrong and len(self._processes) >= _MOST:
            wrong = f"this node has {_MOST} clients already; come through another node's door"
        if not wrong and self._daemon.draining:
            wrong = "this node is being drained; come through another node's door"
        if wrong:
            self._say(connection, [words.REFUSED, wrong])
            return
        driver, identity = driver_id(self._daemon.number), driver_id(self._daemon.number)

        def answer(problem: str) -> None:
            if problem:
                self._say(connection, [words.REFUSED, problem])
            else:
                self._say(connection, [words.WELCOME, self._welcome(process)])
            self._daemon.reactor.flush()

        try:
            pid, lifeline = self._spawn(driver, identity, grace)
        except OSError as error:
            self._say(connection, [words.REFUSED, f"no gateway can be started: {error}"])
            return
        process = _GatewayProcess(pid, lifeline, identity, driver, answer)
        process.on_readable = lambda: self._on_word(process)
        self._processes[identity] = process
        self._daemon.reactor.watch(process)

    def _welcome(self, process: _GatewayProcess) -> dict[str, Any]:
        session = self._daemon.session
        fields = attrs.asdict(session)
        return {
            "gateway": process.identity,
            "driver": process.driver,
            "pid": process.pid,
            "labels": dict(self._daemon.labels),
            "number": self._daemon.number,
            "session": {name: fields[name] for name in _OURS},
            "config": {name: value for name, value in session.config.items() if name not in _SECRETS},
        }

    # Their processes

    def _spawn(self, driver: bytes, identity: bytes, grace: float) -> tuple[int, socket.socket]:
        ours, theirs = socket.socketpair()
        theirs.set_inheritable(True)
        folder = self._daemon.session.folder
        command = [
            sys.executable,
            "-P" if sys.version_info >= (3, 11) else "-u",
            "-m",
            "shoal.native.gateway.main",
            folder,
            driver.hex(),
            identity.hex(),
            repr(grace),
            str(theirs.fileno()),
        ]
        errors = os.path.join(folder, "logs", "gateway.err")
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND
        try:
            pid = os.posix_spawn(
                sys.executable,
                command,
                os.environ,
                file_actions=[
                    (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0),
                    (os.POSIX_SPAWN_OPEN, 1, errors, flags, 0o600),
                    (os.POSIX_SPAWN_DUP2, 1, 2),
                ],
            )
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        ours.setblocking(False)
        return pid, ours

    def _on_word(self, process: _GatewayProcess) -> None:
        """It serves, or it has ended."""
        try:
            word = process.lifeline.recv(16)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if word:
            process.answer("")
            process.answer = lambda problem: None
            return
        process.answer(
            f"the gateway ended as it began; see gateway.err in the logs of {self._daemon.session.folder}"
        )
        self._daemon.reactor.unwatch(process.fileno())
        process.lifeline.close()
        self._processes.pop(process.identity, None)
        self._reap(process)

    def _reap(self, process: _GatewayProcess) -> None:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(process.pid, os.WNOHANG)[0] == 0:
                self._daemon.reactor.call_later(_REAP_SECONDS, lambda: self._reap(process))
                return
        # It was perhaps killed: what it listened at, and what it had not sealed.
        folder = self._daemon.session.folder
        remove_door(folder, process.driver)
        remove_door(folder, process.identity)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(socket_path(folder, process.driver))
        self._daemon.store.sweep(process.driver.hex())

    def close(self) -> None:
        """End them all: each notices that its lifeline is gone, and tells its client."""
        for process in self._processes.values():
            process.lifeline.close()
        self._processes.clear()


def python_version() -> str:
    """Return the version of Python that clients must have, too: they exchange pickles with workers."""
    return f"{sys.version_info.major}.{sys.version_info.minor}"


def _difference(facts: dict[str, Any]) -> str:
    """Return in what a client differs that must not, "" for nothing."""
    ours = {"protocol": PROTOCOL, "shoal": VERSION, "python": python_version()}
    names = {"protocol": "protocol", "shoal": "Shoal", "python": "Python"}
    for key, value in ours.items():
        if facts[key] != value:
            return (
                f"the client has {names[key]} {facts[key]}, the cluster {value}: both need the same, since they "
                f"exchange pickles; use {names[key]} {value} there"
            )
    return ""
