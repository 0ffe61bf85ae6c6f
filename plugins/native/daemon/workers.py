"""The worker processes of a node: forked by the zygote, idle, leased, ended; and how each died."""

from __future__ import annotations

import contextlib
import functools
import itertools
import os
import signal
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs
import msgspec

from shoal.death import Cause, DeathCertificate
from shoal.native.process import page
from shoal.native.transport.connection import Connection
from shoal.native.transport.reactor import Reactor
from shoal.native.wire.nodes import worker_id

if TYPE_CHECKING:
    from shoal.interfaces.environment import WorkerChanges
    from shoal.machines.leases import Lease
    from shoal.native.daemon.logs import LogPipes
    from shoal.native.process.session import Session

_EXIT_GRACE_SECONDS = 2.0  # from EXIT to SIGKILL
_DEATH_SECONDS = 1.0  # how long to wait for the second of (connection closed, exit status)
_FORKS_AT_ONCE = 8


@attrs.define(eq=False)
class WorkerProcess:
    """One worker as its daemon knows it."""

    worker_id: bytes
    environment_key: bytes
    started_at: float
    pid: int = 0
    connection: Connection | None = None
    state: str = "starting"  # starting, idle, leased, actor, ending
    lease: Lease | None = None
    actor_id: bytes = b""
    driver: bytes = b""  # of its program: gets what it prints
    label: str = ""  # what it runs: the prefix of its log lines
    variables: dict[str, str] = attrs.field(factory=dict)  # devices it has seen
    idle_since: float = 0.0
    blocks: int = 0
    ending: DeathCertificate | None = None  # why it was told to end
    status: int | None = None  # of waitpid
    gone: bool = False  # its connection has closed
    buried: bool = False
    retriable: bool = True
    leased_at: float = 0.0
    front: int = (
        0  # what was forked, if that only stands before the worker (a container's command); 0: nothing does
    )

    def forked(self, pid: int) -> None:
        """The zygote has forked it, as this process."""
        if self.pid and self.pid != pid:
            self.front = pid
        else:
            self.pid = pid

    def runs_as(self, pid: int) -> None:
        """It has told which process it is: another one than was forked, if its environment has a command."""
        if self.pid and self.pid != pid:
            self.front = self.pid
        self.pid = pid


class _ZygoteLink:
    """Reads the zygote's messages."""

    __slots__ = ("_pool", "sock")

    def __init__(self, pool: WorkerPool, sock: socket.socket) -> None:
        sock.setblocking(False)
        self.sock = sock
        self._pool = pool

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def on_readable(self) -> None:
        """Handle every message that is there."""
        while True:
            try:
                data = self.sock.recv(1 << 16)
            except (BlockingIOError, InterruptedError):
                return
            except OSError:
                data = b""
            if not data:
                self._pool.zygote_lost()
                return
            self._pool.on_zygote(msgspec.msgpack.decode(data))


class WorkerPool:
    """Starts, keeps and ends workers. Single-threaded: the daemon's loop calls everything here."""

    def __init__(
        self,
        reactor: Reactor,
        session: Session,
        zygote: socket.socket,
        logs: LogPipes,
        on_death: Callable[[WorkerProcess, DeathCertificate, int], None],
        on_zygote_lost: Callable[[], None],
        start_seconds: float,
        max_workers: int | None,
    ) -> None:
        self._reactor = reactor
        self._session = session
        self._zygote = zygote
        self._logs = logs
        self._on_death = on_death
        self._start_seconds = start_seconds
        self._max_workers = max_workers
        self.zygote_lost = on_zygote_lost
        self.workers: dict[bytes, WorkerProcess] = {}
        self._idle: dict[bytes, list[WorkerProcess]] = {}
        self._to_fork: deque[tuple[WorkerProcess, dict[str, Any]]] = deque()
        self._forking = 0
        self._counter = itertools.count(1)
        reactor.watch(_ZygoteLink(self, zygote))

    # Starting

    def start(
        self,
        environment_key: bytes,
        changes: WorkerChanges,
        job: dict[str, Any] | None,
    ) -> None:
        """Fork one more worker; it registers when it is up. `job` says whose program it serves, None: the session's."""
        name = worker_id(self._session.number, next(self._counter))
        worker = WorkerProcess(name, environment_key, time.monotonic())
        self.workers[worker.worker_id] = worker
        request = {
            "worker": worker.worker_id,
            "variables": dict(changes.variables),
            "path": list(changes.path),
            "folder": changes.working_folder,
            "programs": list(changes.programs),
            "command": list(changes.command),
            "hooks": list(changes.hooks),
            "preload": [] if changes.command else list(changes.preload),
            "job": job,
        }
        worker.driver = self._session.driver if job is None else job["driver"]
        self._to_fork.append((worker, request))
        self._fork_more()

    def has_room(self) -> bool:
        """Tell whether one worker more may be started."""
        return self._max_workers is None or len(self.workers) < self._max_workers

    def _check_started(self, worker: WorkerProcess) -> None:
        if worker.state == "starting" and not worker.buried:
            detail = f"it did not come up within {self._start_seconds:g} s (worker_start_timeout_seconds)"
            self.kill(worker, DeathCertificate(what="worker", cause=Cause.EXITED, detail=detail))

    def _fork_more(self) -> None:
        while self._to_fork and self._forking < _FORKS_AT_ONCE:
            worker, request = self._to_fork.popleft()
            self._forking += 1
            self._reactor.call_later(self._start_seconds, functools.partial(self._check_started, worker))
            descriptors = self._logs.open(worker)
            try:
                socket.send_fds(self._zygote, [msgspec.msgpack.encode(request)], descriptors)
            except OSError:
                self.zygote_lost()
                return
            finally:
                for descriptor in descriptors:
                    os.close(descriptor)

    def on_zygote(self, message: list[Any]) -> None:
        """The zygote has forked a worker, or buried one."""
        if message[0] == "forked":
            _, worker_id, pid = message
            worker = self.workers.get(worker_id)
            if worker is not None:
                worker.forked(pid)
                if worker.ending is not None:
                    self._signal(worker, signal.SIGKILL)
            return
        _, pid, status = message
        for worker in list(self.workers.values()):
            if pid == (worker.front or worker.pid):
                worker.status = status
                if worker.state == "starting":
                    self._started(worker)
                self._bury_soon(worker)
                return

    def registered(self, worker_id: bytes, connection: Connection) -> WorkerProcess | None:
        """A worker is up."""
        worker = self.workers.get(worker_id)
        if worker is None:
            return None
        worker.connection = connection
        if worker.state == "starting":
            worker.state = "registered"
            self._started(worker)
        return worker

    def _started(self, worker: WorkerProcess) -> None:
        self._forking = max(0, self._forking - 1)
        self._fork_more()

    def starting(self, environment_key: bytes) -> int:
        """How many workers of an environment are on their way."""
        return sum(
            1 for w in self.workers.values() if w.state == "starting" and w.environment_key == environment_key
        )

    # Idle ones

    def put_idle(self, worker: WorkerProcess) -> None:
        """A worker has nothing to do."""
        worker.state = "idle"
        worker.lease = None
        worker.blocks = 0
        worker.idle_since = time.monotonic()
        self._idle.setdefault(worker.environment_key, []).append(worker)

    def take_idle(self, environment_key: bytes, variables: dict[str, str]) -> WorkerProcess | None:
        """Return an idle worker that has not seen other devices; the latest used is the warmest."""
        idle = self._idle.get(environment_key, [])
        for index in range(len(idle) - 1, -1, -1):
            worker = idle[index]
            if not variables or not worker.variables or worker.variables == variables:
                del idle[index]
                return worker
        return None

    def end_longest_idle(self) -> None:
        """End the worker that was idle longest, to make room for one of another environment."""
        idle = [worker for workers in self._idle.values() for worker in workers]
        if idle and not any(worker.ending is not None for worker in self.workers.values()):
            self.end(min(idle, key=lambda worker: worker.idle_since), None)

    def end_idle(self, keep: int, older_than: float) -> None:
        """End workers that were idle for long, beyond `keep` of them."""
        now = time.monotonic()
        idle = [worker for workers in self._idle.values() for worker in workers]
        idle.sort(key=lambda worker: worker.idle_since)
        for worker in idle[: max(0, len(idle) - keep)]:
            if now - worker.idle_since > older_than:
                self._idle[worker.environment_key].remove(worker)
                self.end(worker, None)

    # Ending

    def end(self, worker: WorkerProcess, certificate: DeathCertificate | None) -> None:
        """Let a worker exit by itself, and kill it if it does not soon."""
        from shoal.native.wire import kinds

        self._mark_ending(worker, certificate)
        if worker.connection is not None and not worker.gone:
            self._reactor.send(worker.connection, [kinds.EXIT])
        self._reactor.call_later(_EXIT_GRACE_SECONDS, lambda: self._signal(worker, signal.SIGKILL))

    def kill(self, worker: WorkerProcess, certificate: DeathCertificate | None) -> None:
        """End a worker at once."""
        self._mark_ending(worker, certificate)
        self._signal(worker, signal.SIGKILL)

    def _mark_ending(self, worker: WorkerProcess, certificate: DeathCertificate | None) -> None:
        idle = self._idle.get(worker.environment_key, [])
        if worker in idle:
            idle.remove(worker)
        if worker.ending is None:
            worker.ending = certificate or DeathCertificate(
                what="worker", cause=Cause.INTENDED_EXIT, detail="it was idle or has served its calls"
            )

    def _signal(self, worker: WorkerProcess, number: int) -> None:
        if worker.pid and worker.status is None:
            # The worker first: a command that stands before it may end with it, and then tells how.
            for pid in filter(None, (worker.pid, worker.front)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)

    def connection_lost(self, worker: WorkerProcess) -> None:
        """A worker's connection has closed."""
        worker.gone = True
        if worker.status is None and worker.ending is None:
            # It closed the connection but may live: a worker without its daemon is of no use.
            self._reactor.call_later(_DEATH_SECONDS, lambda: self._signal(worker, signal.SIGKILL))
        self._bury_soon(worker)

    def _bury_soon(self, worker: WorkerProcess) -> None:
        """Bury a worker when both its exit status and the end of its connection are known, or after a while."""
        if worker.buried:
            return
        if worker.status is not None and (worker.gone or worker.connection is None):
            self._bury(worker)
        elif worker.status is not None or worker.gone:
            self._reactor.call_later(_DEATH_SECONDS, lambda: self._bury(worker))

    def _bury(self, worker: WorkerProcess) -> None:
        if worker.buried:
            return
        worker.buried = True
        self.workers.pop(worker.worker_id, None)
        idle = self._idle.get(worker.environment_key, [])
        if worker in idle:
            idle.remove(worker)
        path = page.path_of(self._session.folder, worker.worker_id)
        started, name = page.read(path)
        if worker.state == "leased":
            worker.label = name or worker.label
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        certificate = self._certificate(worker)
        self._logs.close(worker)
        self._on_death(worker, certificate, started)

    def _certificate(self, worker: WorkerProcess) -> DeathCertificate:
        status = worker.status
        exit_code = os.WEXITSTATUS(status) if status is not None and os.WIFEXITED(status) else None
        number = os.WTERMSIG(status) if status is not None and os.WIFSIGNALED(status) else None
        ending = worker.ending
        cause = (
            Cause.SIGNALLED if number is not None else Cause.EXITED if exit_code is not None else Cause.LOST
        )
        detail = ""
        if ending is not None:
            cause, detail = ending.cause, ending.detail
        elif number == signal.SIGKILL:
            detail = "somebody else sent it SIGKILL: `kill -9`, or the system's own out-of-memory killer"
        return DeathCertificate(
            what="worker",
            identity=worker.worker_id.hex(),
            name=worker.label,
            node=self._session.node_id.hex(),
            process=worker.pid,
            when=time.time(),
            cause=cause,
            exit_code=exit_code,
            signal=number,
            detail=detail,
            last_lines=self._logs.last_lines(worker.worker_id),
        )

    def drain_logs(self) -> None:
        """Send on what workers have printed up to now."""
        self._logs.drain()

    def end_all(self) -> None:
        """Kill every worker: the session is over."""
        for worker in self.workers.values():
            self._signal(worker, signal.SIGKILL)
