"""What a daemon tells the event log: of its node and workers, and as the head of actors, groups, jobs and nodes."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from shoal.native.daemon import memory
from shoal.observe.eventlog import FOLDER, EventLog
from shoal.observe.eventreader import parse

if TYPE_CHECKING:
    from shoal.death import DeathCertificate
    from shoal.native.daemon.daemon import Daemon
    from shoal.native.daemon.workers import WorkerProcess

_SECONDS = 0.25  # how long events gather
_SAMPLE_SECONDS = 5.0  # between two measurements of the node
_LARGEST_BLOCK = 16 << 20  # bytes
_MOST = 10_000  # events that may gather


class DaemonEvents:
    """One daemon's events. Called with the lock held, in the daemon's loop."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self._facts: list[list[Any]] = []
        self._left_out = 0
        self._armed = False
        self._limit = daemon.config.event_log_max_bytes
        self._ticks: tuple[float, float] | None = None
        session = daemon.session
        identity = {
            "process": daemon.number.to_bytes(4, "big").hex() + "0" * 8,
            "kind": "daemon",
            "pid": os.getpid(),
            "node": session.node_id.hex(),
            "job": session.job_id.hex(),
        }
        self._folder = os.path.join(session.folder, FOLDER)
        self._log = EventLog(self._folder, identity, self._limit)
        self._far: dict[bytes, EventLog] = {}  # of drivers that are not on a node

    def fact(self, kind: str, fields: dict[str, Any]) -> None:
        """Something has happened."""
        if not self._limit:
            return
        if len(self._facts) >= _MOST:
            self._left_out += 1
            return
        self._facts.append([kind, time.time(), fields])
        if not self._armed:
            self._armed = True
            self._daemon.call_later(_SECONDS, self.flush)

    def flush(self) -> None:
        """Write what has gathered."""
        self._armed = False
        if self._facts or self._left_out:
            facts, self._facts = self._facts, []
            left_out, self._left_out = self._left_out, 0
            self._log.append([], facts, left_out)

    def from_afar(self, process: bytes, block: bytes) -> None:
        """A driver that is not on a node tells events. Raises ValueError for what is not one block of its own."""
        if not self._limit:
            return
        found = list(parse(block)) if len(block) <= _LARGEST_BLOCK else []
        if len(found) != 1 or found[0] is None or found[0].process != process.hex():
            raise ValueError(f"{len(block)} bytes that are no block of events of process {process.hex()}")
        log = self._far.get(process)
        if log is None:
            log = self._far[process] = EventLog(self._folder, {"process": process.hex()}, self._limit)
        log.write(block)

    def begin(self) -> None:
        """The node serves."""
        daemon = self._daemon
        self.fact(
            "session",
            {
                "session": daemon.session.name,
                "node": daemon.session.node_id.hex(),
                "number": daemon.number,
                "address": daemon.address,
                "is_head": daemon.head is not None,
                "pid": os.getpid(),
                "total": daemon.scheduling.book.total.to_floats(),
                "labels": dict(daemon.labels),
                "state": "ALIVE",
            },
        )
        if self._limit:
            self._sample()

    def process_started(self, process: bytes, kind: str, pid: int) -> None:
        """A worker or driver is up."""
        fields = {"worker": process, "kind": kind, "pid": pid, "state": "ALIVE"}
        self.fact("process", {**fields, "node": self._daemon.session.node_id.hex()})

    def process_ended(self, process: bytes, kind: str, detail: str = "") -> None:
        """A driver has gone."""
        self.fact("process", {"worker": process, "kind": kind, "state": "DEAD", "detail": detail})
        log = self._far.pop(process, None)
        if log is not None:
            log.close()

    def worker_died(self, worker: WorkerProcess, certificate: DeathCertificate) -> None:
        """A worker has gone, and how."""
        self.fact(
            "process",
            {
                "worker": worker.worker_id,
                "kind": "worker",
                "pid": worker.pid,
                "state": "DEAD",
                "exit": certificate.cause.name,
                "detail": certificate.detail,
                "node": self._daemon.session.node_id.hex(),
            },
        )

    def measure(self) -> dict[str, float]:
        """Return numbers about this node, by the names that its metrics have (see docs/metrics.md)."""
        daemon = self._daemon
        used, total = memory.memory_in_use()
        store = daemon.store.statistics()
        book = daemon.scheduling.book
        workers = Counter(worker.state for worker in daemon.pool.workers.values())
        numbers = {
            "memory_used_bytes": float(used),
            "memory_total_bytes": float(total),
            "load_1m": os.getloadavg()[0],
            "cpu_used_fraction": self._cpu(),
            "store_used_bytes": float(store.used),
            "store_capacity_bytes": float(daemon.session.store_bytes),
            "store_objects": float(store.objects),
            "store_spilled_bytes": float(store.spilled),
            "store_spilled_objects": float(store.spilled_objects),
            "leases_waiting": float(len(book.wants)),
            "workers": float(sum(workers.values())),
            "workers_idle": float(workers["idle"]),
            "processes_connected": float(len(daemon.clients)),
        }
        available = book.available.to_floats()
        for name, amount in book.total.to_floats().items():
            numbers[f"available.{name}"] = available.get(name, 0.0)  # what is used up has no entry
            numbers[f"capacity.{name}"] = amount
        return numbers

    def _cpu(self) -> float:
        """Return which part of the machine's processors was busy since the last time."""
        try:
            with open("/proc/stat", encoding="ascii") as file:
                ticks = [float(word) for word in file.readline().split()[1:9]]
        except (OSError, ValueError):
            return 0.0
        now = (sum(ticks), ticks[3] + ticks[4])
        before, self._ticks = self._ticks, now
        if before is None or now[0] <= before[0]:
            return 0.0
        return max(0.0, 1.0 - (now[1] - before[1]) / (now[0] - before[0]))

    def _sample(self) -> None:
        self.fact("sample", {"node": self._daemon.session.node_id.hex(), **self.measure()})
        self._daemon.call_later(_SAMPLE_SECONDS, self._sample)

    def close(self) -> None:
        """The node ends: write the rest."""
        self.fact("session", {"node": self._daemon.session.node_id.hex(), "state": "DEAD"})
        self.flush()
        for log in (self._log, *self._far.values()):
            log.close()
