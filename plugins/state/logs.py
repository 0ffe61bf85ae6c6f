"""The log files of a session on this machine."""

from __future__ import annotations

import fnmatch
import os
import re
import time
from collections import deque
from collections.abc import Iterator

from shoal.errors import describe
from shoal.state.failures import StateApiError
from shoal.state.records import remove_ansi_escape_codes
from shoal.state.sources import engine_of_session

_POLL_SECONDS = 0.1
_FOLDER = "logs"


def list_logs(
    address: str | None = None,
    node_id: str | None = None,
    node_ip: str | None = None,
    glob_filter: str | None = None,
    timeout: float = 30,
) -> dict[str, list[str]]:
    """Return the names of log files by kind ("worker", "daemon", ...), those that match `glob_filter`.

    Raises StateApiError for another node, and for an engine that keeps no log files.
    """
    _only_here(node_id, node_ip)
    kinds: dict[str, list[str]] = {}
    for name in sorted(os.listdir(_folder())):
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
    """Yield the last `tail` lines of a log file (−1: all), and with `follow` what is added until the session ends.

    Parameters: `filename` is one that `list_logs` gave; standard output and error of a process are in one file.
    `encoding` and `errors` are those of `open`. Raises StateApiError for a file that is not there, for another node,
    and if the file is to be found by actor, task, process or job, which is not known yet.
    """
    _only_here(node_id, node_ip)
    given = {"actor_id": actor_id, "task_id": task_id, "pid": pid, "submission_id": submission_id}
    wanted = [name for name, value in given.items() if value is not None]
    if wanted:
        raise StateApiError(f"logs are not found by {', '.join(wanted)} yet; name the file, see list_logs()")
    if filename is None:
        raise StateApiError("get_log() needs a filename, see list_logs()")
    folder = _folder()
    if os.path.basename(filename) != filename or filename not in os.listdir(folder):
        raise StateApiError(f"there is no log file {describe(filename)}; see list_logs()")
    lines = _read(os.path.join(folder, filename), tail, follow, encoding or "utf-8", errors or "strict")
    return map(remove_ansi_escape_codes, lines) if filter_ansi_code else lines


def _read(path: str, tail: int, follow: bool, encoding: str, errors: str) -> Iterator[str]:
    engine = engine_of_session()
    with open(path, encoding=encoding, errors=errors) as file:
        yield from file if tail < 0 else deque(file, maxlen=tail)
        while follow and not engine.closed:
            line = file.readline()
            if line:
                yield line
            else:
                time.sleep(_POLL_SECONDS)


def _folder() -> str:
    folder = os.path.join(engine_of_session().context().session_folder, _FOLDER)
    if not os.path.isdir(folder):
        raise StateApiError("this engine keeps no log files: what its tasks print is printed here")
    return folder


def _only_here(node_id: str | None, node_ip: str | None) -> None:
    engine = engine_of_session()
    here = engine.context().node_id.hex()
    if node_id not in (None, here):
        raise StateApiError(f"logs of other nodes cannot be read yet; this is node {here}, not {node_id}")
    addresses = [node.address for node in engine.view().nodes.values() if node.node_id.hex() == here]
    if node_ip is not None and node_ip not in (*addresses, "127.0.0.1"):
        raise StateApiError(
            f"logs of other nodes cannot be read yet; this node's address is {addresses}, not {node_ip}"
        )
