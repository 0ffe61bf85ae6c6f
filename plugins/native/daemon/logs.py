"""What workers print: kept in bounded files, sent to the driver, the last lines kept for death certificates."""

from __future__ import annotations

import json
import os
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from shoal.native.process import page
from shoal.native.transport.reactor import Reactor
from shoal.observe.marks import BEGIN, END, MOST_BYTES, PATTERN

if TYPE_CHECKING:
    from shoal.native.daemon.workers import WorkerProcess

_LAST = 10  # lines kept of each worker
_REMEMBERED = 256  # dead workers whose last lines are kept
_LINE_BYTES = 8_192  # a longer line is cut for the driver
_LINES_A_SECOND = 2_000  # to the driver, all workers together
_TELL_SECONDS = 1.0  # how soon the driver hears of lines that it was not sent
_CHUNK = 1 << 18


class LogFile:
    """A file that is rotated at a size: the newest lines are kept, never more than `files` × `limit` bytes."""

    def __init__(self, path: str, limit: int, files: int) -> None:
        self._path = path
        self._limit = limit
        self._files = files
        self._file = -1
        self._size = 0
        self._mark = b""  # whose lines the file's last ones are
        self._is_whole = True  # the last line has ended

    def write_of(self, mark: bytes, data: bytes) -> None:
        """Append what was printed by the call that a mark names."""
        if mark != self._mark:
            self._mark = mark
            data = (b"" if self._is_whole else b"\n") + mark + b"\n" + data
        self._is_whole = data.endswith(b"\n")
        self.write(data)

    def write(self, data: bytes) -> None:
        """Append; a full disk loses lines, not the session."""
        if self._file < 0:
            self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            os.write(self._file, data)
        except OSError:
            return
        self._size += len(data)
        if self._size >= self._limit:
            self._rotate()

    def _rotate(self) -> None:
        os.close(self._file)
        self._file = -1
        self._size = 0
        self._mark = b""
        for number in range(self._files - 1, 0, -1):
            older = self._path if number == 1 else f"{self._path}.{number - 1}"
            if os.path.exists(older):
                os.replace(older, f"{self._path}.{number}")
        if self._files == 1 and os.path.exists(self._path):
            os.unlink(self._path)

    def close(self) -> None:
        """Close the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


class _Pipe:
    """One stream of one worker."""

    __slots__ = ("_begun", "_fd", "_logs", "_rest", "mark", "stream", "worker")

    def __init__(self, logs: LogPipes, worker: WorkerProcess, stream: str, fd: int) -> None:
        self._logs = logs
        self.worker = worker
        self.stream = stream
        self._fd = fd
        self._rest = b""  # of a line
        self._begun = b""  # of a mark
        self.mark = b""  # of the call that prints

    def fileno(self) -> int:
        """Return the pipe's descriptor."""
        return self._fd

    def on_readable(self) -> None:
        """Take what there is."""
        try:
            data = os.read(self._fd, _CHUNK)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
            return
        self._logs.wrote(self, data)

    def parts(self, data: bytes) -> list[bytes]:
        """Return what was printed, each part with the mark of the call that did: mark, data, mark, data, …"""
        if self._begun:
            data, self._begun = self._begun + data, b""
        if BEGIN not in data:
            return [self.mark, data]
        start = data.rfind(BEGIN)
        if END not in data[start:] and len(data) - start < MOST_BYTES:
            data, self._begun = data[:start], data[start:]
        parts = []
        end = 0
        for found in PATTERN.finditer(data):
            parts += [self.mark, data[end : found.start()]]
            self.mark, end = found[0], found.end()
        return [*parts, self.mark, data[end:]]

    def lines(self, data: bytes) -> list[bytes]:
        """Return the lines that are whole now."""
        data = self._rest + data
        *lines, self._rest = data.split(b"\n")
        if len(self._rest) > _LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        return lines

    def take_rest(self) -> list[bytes]:
        """Return the line that was begun and goes on no more, if there is one."""
        rest, self._rest = self._rest, b""
        return [rest] if rest else []

    def close(self) -> None:
        """Take the rest and close."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        self._logs.closed(self, fd)

    def drain(self) -> None:
        """Read until the pipe is empty or closed, within a bound."""
        for _ in range(64):
            if self._fd < 0:
                return
            try:
                data = os.read(self._fd, _CHUNK)
            except BlockingIOError:
                return
            if not data:
                return
            self._logs.wrote(self, data)


class LogPipes:
    """The pipes of all workers of a node. Called by the daemon's loop only."""

    def __init__(
        self,
        reactor: Reactor,
        session_folder: str,
        file_bytes: int,
        files: int,
        session_bytes: int,
        as_json: bool,
        send: Callable[[bytes, int, str, str, list[str]], None],
    ) -> None:
        self._reactor = reactor
        self._folder = os.path.join(session_folder, "logs")
        self._session_folder = session_folder
        self._file_bytes = file_bytes
        self._files = files
        self._session_bytes = session_bytes
        self._as_json = as_json
        self._written = 0
        self._send = send
        self._pipes: dict[bytes, list[_Pipe]] = {}
        self._logs: dict[bytes, LogFile] = {}
        self._last: OrderedDict[bytes, deque[str]] = OrderedDict()
        self._second = 0
        self._sent = 0
        self._untold = 0

    def open(self, worker: WorkerProcess) -> list[int]:
        """Make the two pipes of a worker; return the ends that it writes to, which the caller closes."""
        ends = []
        pipes = []
        for stream in ("stdout", "stderr"):
            read, write = os.pipe2(os.O_CLOEXEC)
            os.set_blocking(read, False)
            pipe = _Pipe(self, worker, stream, read)
            self._reactor.watch(pipe)
            pipes.append(pipe)
            ends.append(write)
        self._pipes[worker.worker_id] = pipes
        path = os.path.join(self._folder, f"worker-{worker.worker_id.hex()}.log")
        self._logs[worker.worker_id] = LogFile(path, self._file_bytes, self._files)
        self._last[worker.worker_id] = deque(maxlen=_LAST)
        return ends

    def wrote(self, pipe: _Pipe, data: bytes) -> None:
        """A worker has printed."""
        parts = pipe.parts(data)
        for number in range(0, len(parts), 2):
            mark, data = parts[number], parts[number + 1]
            lines = pipe.lines(data)
            if number + 2 < len(parts):
                lines += pipe.take_rest()  # what another call prints next is no part of this line
            if self._as_json:
                self._write_json(pipe, mark, lines)
            elif data:
                self._write(pipe, mark, data)
            self.tell(pipe, lines)

    def _write_json(self, pipe: _Pipe, mark: bytes, lines: list[bytes]) -> None:
        if lines:
            found = PATTERN.fullmatch(mark)
            task, actor = found.groups() if found is not None else (b"", b"")
            facts = {
                "time": time.time(),
                "stream": pipe.stream,
                "worker": pipe.worker.worker_id.hex(),
                "pid": pipe.worker.pid,
                "task": task.decode(),
                "actor": actor.decode(),
            }
            said = ({**facts, "line": line.decode("utf-8", "replace")} for line in lines)
            self._write(pipe, b"", b"".join(json.dumps(one).encode() + b"\n" for one in said))

    def _write(self, pipe: _Pipe, mark: bytes, data: bytes) -> None:
        log = self._logs.get(pipe.worker.worker_id)
        if log is not None and self._written < self._session_bytes:
            self._written += len(data)
            log.write_of(mark, data)
            if self._written >= self._session_bytes:
                log.write(
                    b"\n[shoal: the session's logs have reached session_log_max_bytes; nothing more is kept]\n"
                )

    def tell(self, pipe: _Pipe, lines: list[bytes]) -> None:
        """Keep the last lines and send them on, no faster than a person could bear."""
        if not lines:
            return
        worker_id = pipe.worker.worker_id
        last = self._last.get(worker_id)
        if last is not None:
            last.extend(line[:_LINE_BYTES].decode("utf-8", "replace") for line in lines[-_LAST:])
        second = int(time.monotonic())
        if second != self._second:
            self._second = second
            self._sent = 0
        room = max(0, _LINES_A_SECOND - self._sent)
        shown = lines[:room]
        if len(shown) < len(lines):
            if not self._untold:
                self._reactor.call_later(_TELL_SECONDS, lambda: self._tell_untold(pipe.worker))
            self._untold += len(lines) - len(shown)
        self._sent += len(shown)
        if shown:
            if (
                pipe.worker.state == "leased"
            ):  # tasks change faster than leases: the page knows which one runs
                pipe.worker.label = self._running(worker_id) or pipe.worker.label
            texts = [line[:_LINE_BYTES].decode("utf-8", "replace") for line in shown]
            self._send(pipe.worker.worker_id, pipe.worker.pid, pipe.worker.label, pipe.stream, texts)

    def _tell_untold(self, worker: WorkerProcess) -> None:
        note = f"[shoal: {self._untold} lines were not shown; they are in the session's logs folder]"
        self._untold = 0
        self._send(worker.worker_id, worker.pid, worker.label, "stderr", [note])

    def _running(self, worker_id: bytes) -> str:
        return page.read(page.path_of(self._session_folder, worker_id))[1]

    def closed(self, pipe: _Pipe, fd: int) -> None:
        """A pipe is at its end."""
        self._reactor.unwatch(fd)
        os.close(fd)
        rest = pipe.take_rest()
        if rest and self._as_json:
            self._write_json(pipe, pipe.mark, rest)
        self.tell(pipe, rest)

    def drain(self) -> None:
        """Take what every worker has printed up to now."""
        for pipes in list(self._pipes.values()):
            for pipe in pipes:
                pipe.drain()

    def last_lines(self, worker_id: bytes) -> tuple[str, ...]:
        """Return what a worker printed last, dead or alive."""
        for pipe in self._pipes.get(worker_id, ()):
            pipe.drain()
        return tuple(self._last.get(worker_id, ()))

    def close(self, worker: WorkerProcess) -> None:
        """A worker is gone."""
        for pipe in self._pipes.pop(worker.worker_id, []):
            pipe.drain()
            pipe.close()
        log = self._logs.pop(worker.worker_id, None)
        if log is not None:
            log.close()
        while len(self._last) > _REMEMBERED + len(self._pipes):
            oldest = next(iter(self._last))
            if oldest in self._pipes:
                self._last.move_to_end(oldest)
                break
            del self._last[oldest]
