"""What ran, where and when, as a trace in Chrome's format (which Perfetto reads).

A process of the trace is a node; its threads are the node's processes. An owner's arrow leads from where a call was
submitted to where it ran. Calls of one process that overlap (async actors) get lanes of their own, since the format
wants the slices of a thread to nest.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Any

from shoal.looking import FAILED
from shoal.state.tables import Tables, text, times

_UNKNOWN = "unknown"


class _Names:
    """Numbers for what the trace calls processes and threads, with the events that name them."""

    def __init__(self) -> None:
        self._pids: dict[str, int] = {}
        self._tids: dict[tuple[str, str, int], int] = {}
        self.events: list[dict[str, Any]] = []

    def pid(self, node: str) -> int:
        if node not in self._pids:
            number = self._pids[node] = len(self._pids) + 1
            self._say("process_name", number, 0, f"node {node}")
        return self._pids[node]

    def tid(self, node: str, process: str, lane: int, kind: str) -> int:
        key = (node, process, lane)
        if key not in self._tids:
            number = self._tids[key] = len(self._tids) + 1
            more = f" ({lane + 1})" if lane else ""
            self._say("thread_name", self.pid(node), number, f"{kind} {process}{more}")
        return self._tids[key]

    def _say(self, what: str, pid: int, tid: int, name: str) -> None:
        self.events.append({"ph": "M", "name": what, "pid": pid, "tid": tid, "ts": 0, "args": {"name": name}})


def trace(tables: Tables) -> list[dict[str, Any]]:
    """Return the events of a trace: ph "M" (names), "X" (calls), "s" and "f" (arrows). Times are in microseconds.

    Example: `json.dump(trace(Tables(look())), file)`
    """
    names = _Names()
    workers = tables.workers()
    lanes: dict[str, list[tuple[float, int]]] = {}  # process: when its lanes are free again
    events: list[dict[str, Any]] = []
    for number, (started, ended, owner, owner_node, call) in enumerate(_by_start(tables)):
        process = text(call[3])
        known = workers.get(process, {})
        node = text(known.get("node")) or owner_node or _UNKNOWN
        free = lanes.setdefault(process, [])
        lane = _lane(free, started, ended)
        pid, tid = names.pid(node), names.tid(node, process, lane, str(known.get("kind", "worker")))
        begin = round(started * 1e6)
        length = max(0, round(ended * 1e6) - begin)
        facts: dict[str, Any] = {
            "task_id": f"{owner}{call[7]:016x}",
            "attempt": call[1],
            "failed": call[6] == FAILED,
        }
        if call[2]:
            facts["actor_id"] = text(call[2])
        if call[10]:
            facts["error"] = call[10]
        category = "actor" if call[2] else "task"
        events.append(
            {"ph": "X", "name": call[0], "cat": category, "pid": pid, "tid": tid, "ts": begin, "dur": length}
            | {"args": facts}
        )
        submitter = names.tid(owner_node, owner, 0, str(workers.get(owner, {}).get("kind", "driver")))
        arrow = {"name": "submit", "cat": "flow", "id": number}
        created = min(round(call[8] * 1e6), begin)
        events.append({"ph": "s", **arrow, "pid": names.pid(owner_node), "tid": submitter, "ts": created})
        events.append({"ph": "f", "bp": "e", **arrow, "pid": pid, "tid": tid, "ts": begin})
    return names.events + events


def _by_start(tables: Tables) -> Iterable[tuple[float, float, str, str, Any]]:
    found = [
        (started, ended, block.process, str(block.identity["node"]), call)
        for block in tables.blocks
        for call, started, ended in times(block)
        if call[3]  # it ran somewhere
    ]
    return sorted(found, key=lambda one: one[:2])


def _lane(free: list[tuple[float, int]], started: float, ended: float) -> int:
    """Return the lane of a process that a call runs in: one that is free by then, or a new one."""
    if free and free[0][0] <= started + 1e-6:
        _, lane = heapq.heappop(free)
    else:
        lane = len(free)
    heapq.heappush(free, (ended, lane))
    return lane
