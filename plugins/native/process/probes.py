"""What is looked up on a node for people who look at a session: stacks, flame graphs, allocations, ends of logs."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from typing import Any

from shoal.errors import ConfigError, SystemFailure
from shoal.observe.marks import BEGIN, MarkReader, with_marks

MOST_SECONDS = 60
_SEARCHED_BYTES = 256 << 20  # of a log: what is older is not searched
_PART_BYTES = 1 << 20  # of a log, in one answer
_LINE = 8192
_PIECE = 1 << 16
_TAIL_BYTES = 16 << 20  # of a larger file only so much is read for its last lines
_MOST_STACKS = 20_000
_ATTACH_SECONDS = 30
_AFTER_SECONDS = 5.0


def stack(pid: int) -> dict[str, Any]:
    """Return the stacks of a process's threads as of now."""
    from shoal.native.process.pyspy import dump, find_py_spy

    threads, why = dump(find_py_spy(), pid)
    if why:
        raise SystemFailure(f"process {pid} could not be read: {why}")
    return {"threads": threads}


def flame(pid: int, seconds: float) -> dict[str, Any]:
    """Return where a process was, at a hundred looks a second."""
    from shoal.native.process.pyspy import find_py_spy, record

    found, why = record(find_py_spy(), pid, seconds)
    if why:
        raise SystemFailure(f"process {pid} could not be read: {why}")
    return {"stacks": found, "unit": "samples"}


def memory(pid: int, seconds: float) -> dict[str, Any]:
    """Return what a process has allocated while it was looked at and still had when that was most, by stack.

    memray is put into the process by a debugger, so its Python must have memray, and this machine gdb or lldb.
    """
    try:
        from memray import FileReader
    except ImportError:
        raise ConfigError(
            "a memory profile needs memray in the workers' environment: `pip install 'shoal[memory]'`"
        ) from None
    with tempfile.TemporaryDirectory(prefix="shoal-memory-") as folder:
        path = os.path.join(folder, "trace.bin")
        length = str(max(1, round(seconds)))
        command = [sys.executable, "-m", "memray", "attach", "--duration", length, "-o", path, str(pid)]
        try:
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                timeout=_ATTACH_SECONDS,
                check=False,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired:
            raise SystemFailure(
                f"memray could not be put into process {pid} within {_ATTACH_SECONDS} s: it is busy in code that "
                "does not let others run"
            ) from None
        if done.returncode != 0:
            why = (done.stdout + done.stderr).strip()[-2000:]
            cure = ". Install gdb (or lldb) on that machine" if "debugger" in why.lower() else ""
            raise ConfigError(f"memray could not be put into process {pid}: {why}{cure}")
        time.sleep(float(length))
        found = _wait_for(path, FileReader)
    return {"stacks": sorted(found.items(), key=lambda one: -one[1])[:_MOST_STACKS], "unit": "bytes"}


def _wait_for(path: str, reader: Callable[[str], Any]) -> Counter[str]:
    """Read what was recorded, once it is whole: the recorder closes its file a moment after its time is over."""
    deadline = time.monotonic() + _AFTER_SECONDS
    size = -1
    while time.monotonic() < deadline and os.path.getsize(path) != size:
        size = os.path.getsize(path)
        time.sleep(0.3)
    found: Counter[str] = Counter()
    try:
        for record in reader(path).get_high_watermark_allocation_records(merge_threads=True):
            frames = [f"{name} ({file}:{line})" for name, file, line in record.stack_trace()]
            found[";".join(reversed(frames)) or "(no Python code)"] += record.size
    except (OSError, RuntimeError, ValueError) as error:  # nothing was allocated, or the process has ended
        raise SystemFailure(f"nothing was recorded: {error}") from error
    return found


def _log_path(folder: str, name: str) -> str:
    if os.path.basename(name) != name or name in ("", ".", ".."):
        raise LookupError(f"{name!r} is no name of a log file")
    return os.path.join(folder, "logs", name)


def log(folder: str, name: str, lines: int, search: str) -> dict[str, Any]:
    """Return the last lines of a session's log file, or the last that hold a text; how far back that was looked for."""
    from shoal.native.commands.log_files import tail

    path = _log_path(folder, name)
    try:
        size = os.path.getsize(path)
    except FileNotFoundError:
        raise LookupError(f"there is no log file {name!r}") from None
    if not search:
        # A mark before a line names the call that has printed it; it is no line of the program's.
        wanted_lines = with_marks(lines)
        last = tail(path, wanted_lines) if size < _TAIL_BYTES else _last(path, size, wanted_lines)
        shown = [line.text[:_LINE] for line in MarkReader().read(last)]
        return {"lines": shown[-lines:], "bytes": size, "searched": 0}
    wanted = search.lower().encode()
    kept: deque[bytes] = deque(maxlen=lines)
    begin = max(0, size - _SEARCHED_BYTES)
    count = 0
    with open(path, "rb") as file:
        file.seek(begin)
        # A line may be as long as the file; it is looked at in pieces then.
        for line in iter(lambda: file.readline(_PIECE), b""):
            if wanted in line.lower() and not line.startswith(BEGIN):
                count += 1
                kept.append(line[:_LINE])
    found = [line.decode("utf-8", "replace").rstrip("\n") for line in kept]
    return {"lines": found, "bytes": size, "searched": size - begin, "matches": count}


def _last(path: str, size: int, lines: int) -> list[str]:
    with open(path, "rb") as file:
        file.seek(size - _TAIL_BYTES)
        data = file.read(_TAIL_BYTES)
    found = data.decode("utf-8", "replace").removesuffix("\n").split("\n")
    return found[1:][-lines:] if len(found) > 1 else found  # the first is but the end of a line


def log_part(folder: str, name: str, start: int, size: int) -> dict[str, Any]:
    """Return bytes of a session's log file from a position on, which if negative counts from the end. Does not wait."""
    path = _log_path(folder, name)
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise LookupError(f"log file {name!r}: {error.strerror}") from None
    try:
        end = os.fstat(file).st_size
        start = max(0, end + start) if start < 0 else min(start, end)
        return {"start": start, "data": os.pread(file, max(0, min(size, _PART_BYTES)), start), "size": end}
    finally:
        os.close(file)


def probe(what: str, folder: str, pid: int, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Do one of these by name. Raises ConfigError, LookupError, SystemFailure."""
    seconds = float(facts.get("seconds", 5))
    if not 0 < seconds <= MOST_SECONDS:
        raise ConfigError(f"seconds must be from 1 to {MOST_SECONDS}, not {seconds:g}")
    if what == "log part":
        return log_part(folder, str(facts["name"]), int(facts["start"]), int(facts["size"]))
    if what == "log":
        return log(folder, str(facts["name"]), int(facts["lines"]), str(facts["search"]))
    if what == "stack":
        return stack(pid)
    if what == "flame":
        return flame(pid, seconds)
    if what == "memory":
        return memory(pid, seconds)
    raise ConfigError(f"there is no errand {what!r}; there are log, log part, stack, flame and memory")
