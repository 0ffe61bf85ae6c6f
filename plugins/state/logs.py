"""The log files of a session: of any node, and found by task, actor, process or job."""

from __future__ import annotations

import fnmatch
import hashlib
import os
import re
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator

import attrs

from shoal.errors import ConfigError, GetTimeout, describe
from shoal.interfaces.looking import SupportsLooking
from shoal.looking import NodeSeen, SessionSeen, look
from shoal.observe.marks import MarkReader
from shoal.state.failures import ServerUnavailable, StateApiError
from shoal.state.records import StateResource, remove_ansi_escape_codes
from shoal.state.sources import engine_of_session
from shoal.state.tables import Tables

_POLL_SECONDS = 0.1
_PIECE = 1 << 18
_LOST = "is not there, or its node is dead; see list_logs()"


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: float = 30,
) -> dict[str, list[str]]:
    """Return the names of log files by kind ("worker", "daemon", ...), those that match `glob_filter`.

    `node_id` (hexadecimal) or `node_ip` name a node; without them it is the one where this runs, and for the folder of
    another session (`address`) the node whose folder that is. Raises StateApiError if there is no such node, and for an
    engine that keeps no log files.
    """
    seen = _seen(address, timeout)
    node = _node(seen, address, node_id, node_ip)
    kinds: dict[str, list[str]] = {}
    for name, _ in sorted(node.files):
        if glob_filter is None or fnmatch.fnmatch(name, glob_filter):
            kinds.setdefault(re.split(r"[-.]", name)[0], []).append(name)
    return kinds


def get_log(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    filename: str | None = None,
    actor_id: str | None = None,
    task_id: str | None = None,
    pid: int | None = None,
    follow: bool = False,
    tail: int = -1,
    timeout: float = 30,
    suffix: str = "out",
    encoding: str | None = "utf-8",
    errors: str | None = "strict",
    submission_id: str | None = None,
    attempt_number: int = 0,
    _interval: float | None = None,
    filter_ansi_code: bool = False,
) -> Iterator[str]:
    """Yield the last `tail` lines of a log (−1: all), and with `follow` what is added until the session ends.

    Parameters: `filename` is one that `list_logs` gave, on the node that `node_id` or `node_ip` name. In its place one
    of `task_id`, `actor_id` (what that printed, and nothing else), `pid` (of a living worker) and `submission_id` (of a
    job) finds the log on whatever node it is. Standard output and error are in one file, so `suffix` may be "out" or
    "err" and means both. `attempt_number` is taken as the reference does; the lines of all attempts are those of the
    task. `encoding` and `errors` are those of `open`. `_interval` is how often is looked for more, in seconds.

    Raises StateApiError if no log is meant, or what is meant is not known.

    Example: `"".join(get_log(task_id=ref.task_id().hex()))`
    """
    given = {
        "filename": filename,
        "actor_id": actor_id,
        "task_id": task_id,
        "pid": pid,
        "submission_id": submission_id,
    }
    wanted = [name for name, value in given.items() if value is not None]
    if len(wanted) != 1:
        raise StateApiError(
            f"get_log() needs one of {', '.join(given)} and got {', '.join(wanted) or 'none'}; see list_logs()"
        )
    if suffix not in ("out", "err"):
        raise StateApiError(f"suffix must be 'out' or 'err', not {describe(suffix)}")
    seen = _seen(address, timeout)
    if filename is not None:
        source = _by_name(seen, address, node_id, node_ip, filename)
    elif submission_id is not None:
        source = _by_job(seen, address, submission_id)
    else:
        source = _by_process(seen, address, actor_id, task_id, pid)
    decode = (encoding or "utf-8", errors or "strict")
    lines = _picked(source, tail, _interval or _POLL_SECONDS if follow else None, decode, task_id, actor_id)
    return map(remove_ansi_escape_codes, lines) if filter_ansi_code else lines


class _Source(ABC):
    """Where a log is read."""

    @abstractmethod
    def read(self, start: int) -> bytes:
        """Return what comes next, b"" at the end. Raises FileNotFoundError."""

    @property
    @abstractmethod
    def is_live(self) -> bool:
        """Whether more may come."""

    position: int = 0
    rest: bytes = b""

    def now(self) -> Iterator[bytes]:
        """Yield the lines that there are and were not yielded yet, with their ends."""
        while data := self.read(self.position):
            self.position += len(data)
            *whole, self.rest = (self.rest + data).split(b"\n")
            for line in whole:
                yield line + b"\n"
        if self.rest and not self.is_live:
            yield self.rest

    def coming(self, interval: float) -> Iterator[bytes]:
        """Yield the lines that come until the session ends."""
        while True:
            live = self.is_live  # before reading: what came before the end is still read
            yield from self.now()
            if not live:
                return
            time.sleep(interval)


@attrs.define
class _OfNode(_Source):
    """A file of a node of this process's session."""

    engine: SupportsLooking
    node: str
    name: str

    def read(self, start: int) -> bytes:
        try:
            part = self.engine.read_log(self.node, self.name, start, _PIECE, 30)
        except FileNotFoundError:
            return b""  # put aside just now, or its session has ended
        if part.size < start:  # it was put aside, and another one begun
            self.position = 0
            return self.read(0)
        return part.data

    @property
    def is_live(self) -> bool:
        return not self.engine.closed  # type: ignore[attr-defined]


@attrs.define
class _OfFolder(_Source):
    """A file of a session that has ended, or is another program's."""

    path: str

    def read(self, start: int) -> bytes:
        with open(self.path, "rb") as file:
            file.seek(start)
            return file.read(_PIECE)

    @property
    def is_live(self) -> bool:
        return False


def _seen(address: str | None, timeout: float) -> SessionSeen:
    if not _is_own(address):
        try:
            return look(address, timeout=timeout)
        except (ConfigError, GetTimeout) as error:
            raise ServerUnavailable(str(error)) from error
    engine = engine_of_session()
    if not isinstance(engine, SupportsLooking):
        raise StateApiError("this engine keeps no log files: what its tasks print is printed here")
    return engine.look(False, timeout)


def _is_own(address: str | None) -> bool:
    if address is None:
        return True
    try:
        return address in ("auto", engine_of_session().context().address)
    except ServerUnavailable:
        return False


def _node(seen: SessionSeen, address: str | None, node_id: str | None, node_ip: str | None) -> NodeSeen:
    if not _is_own(address):
        return seen.nodes[0]
    wanted = node_id
    if wanted is None and node_ip is not None:
        view = engine_of_session().view()
        addresses = {node.node_id.hex(): node.address for node in view.nodes.values()}
        matching = [
            one for one, where in addresses.items() if where.rpartition(":")[0] == node_ip or where == node_ip
        ]
        if not matching:
            raise StateApiError(
                f"no living node has the address {node_ip}; there are {sorted(addresses.values())}"
            )
        wanted = matching[0]
    if wanted is None:
        wanted = engine_of_session().context().node_id.hex()
    for node in seen.nodes:
        if node.node == wanted:
            return node
    there = ", ".join(node.node for node in seen.nodes)
    raise StateApiError(f"no living node is {wanted}; there are {there}")


def _by_name(
    seen: SessionSeen, address: str | None, node_id: str | None, node_ip: str | None, filename: str
) -> _Source:
    node = _node(seen, address, node_id, node_ip)
    if filename not in dict(node.files):
        raise StateApiError(f"there is no log file {describe(filename)}; see list_logs()")
    return _source(seen, address, node.node, filename)


def _by_job(seen: SessionSeen, address: str | None, submission_id: str) -> _Source:
    ending = f"-{hashlib.sha256(submission_id.encode(errors='replace')).hexdigest()[:8]}.log"
    for node in seen.nodes:
        for name, _ in node.files:
            if name.startswith("job-driver-") and name.endswith(ending):
                return _source(seen, address, node.node, name)
    raise StateApiError(f"the log of job {submission_id!r} {_LOST}")


def _by_process(
    seen: SessionSeen, address: str | None, actor_id: str | None, task_id: str | None, pid: int | None
) -> _Source:
    tables = Tables(seen)
    if pid is not None:
        what, found = f"process {pid}", _of_pid(tables, pid)
    elif task_id is not None:
        what, found = f"task {task_id}", _of_record(tables, "task_id", task_id)
    else:
        what = f"actor {actor_id}"
        found = _of_record(tables, "actor_id", actor_id) or _of_actor(seen, str(actor_id))
    if found is None:
        raise StateApiError(f"{what} is not known, or has not begun")
    worker, on = found
    name = f"worker-{worker}.log"
    for node in seen.nodes:
        if node.node in (on, "") and name in dict(node.files):
            return _source(seen, address, node.node, name)
    raise StateApiError(f"the log of {what} {_LOST}")


# Each returns a worker and its node.


def _of_pid(tables: Tables, pid: int) -> tuple[str, str] | None:
    for worker, one in tables.workers().items():
        if one.get("pid") == pid:
            return worker, str(one.get("node") or "")
    return None


def _of_record(tables: Tables, column: str, wanted: str | None) -> tuple[str, str] | None:
    for record in tables.records(StateResource.TASKS) or ():
        if record[column] == wanted and record["worker_id"]:
            return record["worker_id"], record["node_id"] or ""
    return None


def _of_actor(seen: SessionSeen, actor_id: str) -> tuple[str, str] | None:
    """Return where an actor lives that nobody has called yet."""
    for node in seen.nodes:
        for worker in node.workers:
            if worker["actor"] and worker["actor"].hex() == actor_id:
                return worker["worker"].hex(), node.node
    return None


def _source(seen: SessionSeen, address: str | None, node: str, name: str) -> _Source:
    if _is_own(address):
        engine = engine_of_session()
        assert isinstance(engine, SupportsLooking)
        return _OfNode(engine, node, name)
    return _OfFolder(os.path.join(seen.folder, "logs", name))


def _picked(
    source: _Source,
    tail: int,
    interval: float | None,
    decode: tuple[str, str],
    task_id: str | None,
    actor_id: str | None,
) -> Iterator[str]:
    """Yield lines without the marks, and without what another call printed."""
    reader = MarkReader()

    def pick(lines: Iterable[bytes]) -> Iterator[str]:
        for data in lines:
            line = data.decode(*decode)
            for one in reader.read([line.removesuffix("\n")]):
                if task_id in (None, one.task) and actor_id in (None, one.actor):
                    yield line

    yield from deque(pick(source.now()), maxlen=None if tail < 0 else tail)
    if interval is not None:
        yield from pick(source.coming(interval))
