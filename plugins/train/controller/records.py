"""What is written down of a run, in its folder: its state, its checkpoints, its metrics."""

from __future__ import annotations

import os
import re
import socket
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shoal.errors import ConfigError
from shoal.train.controller.kept import Kept
from shoal.train.result import METRICS, STATE
from shoal.train.storage import Storage

_BEAT_SECONDS = 10.0
_DEAD_SECONDS = 60.0  # without a beat of a run on another machine
_OURS = re.compile(r"checkpoint_\d{6,}")


class Records:
    """A run's folder. Raises ConfigError at once if another run of that name goes on."""

    def __init__(self, storage: Storage, name: str) -> None:
        self._storage = storage
        self._name = name
        self._checkpoints: list[Kept] = []
        self._rows: list[tuple[int, Mapping[str, Any]]] = []
        self._beaten = 0.0
        self._status = "running"
        self._error = ""
        self._began = time.time()
        self._read()

    def _read(self) -> None:
        state = self._storage.read_json(STATE)
        if not isinstance(state, dict):
            return
        if state.get("status") == "running" and (who := living(state)):
            raise ConfigError(
                f"a run named {self._name!r} goes on in {self._storage.path} ({who}): give this one another name, "
                "or end that one"
            )
        self._checkpoints = [
            Kept(each["index"], each["name"], each["metrics"], each["path"], each.get("data"))
            for each in state["checkpoints"]
        ]
        rows = self._storage.read_json(METRICS) or []
        indices = state.get("reports") or list(range(len(rows)))
        self._rows = list(zip(indices, rows, strict=False))
        last = self._checkpoints[-1].index if self._checkpoints else -1
        self._rows = [each for each in self._rows if each[0] <= last]

    def kept(self) -> list[Kept]:
        """Return the checkpoints that there were when this was made."""
        return list(self._checkpoints)

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Rank 0's metrics of every report."""
        return [dict(row) for _, row in self._rows]

    def add(self, index: int, metrics: Mapping[str, Any]) -> None:
        """Note a report. It is written with the next checkpoint or beat."""
        self._rows.append((index, metrics))

    def begin_again(self, checkpoint: Kept | None, kept: Sequence[Kept]) -> None:
        """Forget what came after the checkpoint that training goes on from."""
        last = -1 if checkpoint is None else checkpoint.index
        self._rows = [each for each in self._rows if each[0] <= last]
        self.clean(kept)

    def save(self, kept: Sequence[Kept]) -> None:
        """Write everything down."""
        self._checkpoints = list(kept)
        self._write()

    def beat(self) -> None:
        """Say that the run is alive, now and then."""
        if time.monotonic() - self._beaten > _BEAT_SECONDS:
            self._write()

    def finish(self, error: Exception | None) -> None:
        """Write down how it ended."""
        self._status = "failed" if error is not None else "finished"
        self._error = "" if error is None else f"{type(error).__name__}: {error}"
        self._write()

    def forget(self, gone: Kept, kept: Sequence[Kept]) -> None:
        """Delete a checkpoint, once it is written down that it is none any more."""
        self.save(kept)
        if gone.path is None:
            self._storage.delete(gone.name)

    def clean(self, kept: Sequence[Kept]) -> None:
        """Delete what failed attempts have left of checkpoints."""
        names = {each.name for each in kept}
        for folder in self._storage.folders():
            if _OURS.fullmatch(folder) and folder not in names:
                self._storage.delete(folder)

    def _write(self) -> None:
        self._beaten = time.monotonic()
        self._storage.write_json(METRICS, [row for _, row in self._rows])
        state = {
            "name": self._name,
            "status": self._status,
            "error": self._error,
            "host": socket.gethostname(),
            "pid": os.getpid(),
            "began": self._began,
            "beat": time.time(),
            "reports": [index for index, _ in self._rows],
            "checkpoints": [attrs.asdict(each) for each in self._checkpoints],
        }
        self._storage.write_json(STATE, state)


def living(state: Mapping[str, Any]) -> str:
    """Return who leads the run of a state that says "running"; empty if nobody does any more."""
    pid, host = state.get("pid", 0), state.get("host", "")
    if host == socket.gethostname():
        if pid == os.getpid():
            return "" if state.get("began", 0.0) < _STARTED else f"in this process, {pid}"
        return f"process {pid}" if _is_alive(pid, state.get("began", 0.0)) else ""
    silent = time.time() - state.get("beat", 0.0)
    return f"process {pid} on {host}, {silent:.0f} s ago" if silent < _DEAD_SECONDS else ""


def _is_alive(pid: int, began: float) -> bool:
    """Whether a process is there that began before the run did: numbers are used again."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            ticks = int(file.read().rpartition(")")[2].split()[19])
        with open("/proc/uptime") as file:
            up = float(file.read().split()[0])
    except (OSError, ValueError, IndexError):
        return False
    return time.time() - up + ticks / os.sysconf("SC_CLK_TCK") <= began + 1.0


_STARTED = time.time()
