"""What ran where and when, for the timeline: slices in lanes."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

from shoal.looking import FAILED
from shoal.state.tables import text, times

if TYPE_CHECKING:
    from shoal.dashboard.context import SessionContext

MOST_SLICES = 10_000


def slices(context: SessionContext, begin: float, end: float, most: int) -> dict[str, Any]:
    """Return the newest `most` calls that ran between two times (seconds since 1970), one lane a process.

    Calls of one process that overlap get rows of their own: a slice is [lane, row, name, begin, end, failed, task],
    with times in seconds after `origin`, and numbers that stand for lanes and names.
    """
    with context.lock:
        context.refresh()
        tables = context.model.tables()
        workers = tables.workers()
        found = []
        for block in tables.blocks:
            for call, started, ended in times(block):
                if call[3] and ended >= begin and started <= end:
                    found.append((ended, started, block.process, call))
    newest = heapq.nlargest(most, found, key=lambda one: one[0])
    newest.sort(key=lambda one: (one[1], one[0]))
    lanes: dict[str, int] = {}
    names: dict[str, int] = {}
    rows: dict[int, list[tuple[float, int]]] = {}
    origin = newest[0][1] if newest else 0.0
    made = []
    for ended, started, owner, call in newest:
        lane = lanes.setdefault(text(call[3]), len(lanes))
        name = names.setdefault(call[0], len(names))
        free = rows.setdefault(lane, [])
        row = heapq.heappop(free)[1] if free and free[0][0] <= started + 1e-6 else len(free)
        heapq.heappush(free, (ended, row))
        made.append(
            [
                lane,
                row,
                name,
                round(started - origin, 6),
                round(ended - origin, 6),
                int(call[6] == FAILED),
                f"{owner}{call[7]:016x}",
            ]
        )
    return {
        "origin": origin,
        "lanes": [
            {
                "worker": worker,
                "node": text(workers.get(worker, {}).get("node")),
                "pid": workers.get(worker, {}).get("pid"),
                "rows": len(rows[number]),
            }
            for worker, number in lanes.items()
        ],
        "names": list(names),
        "slices": made,
        "more": len(found) - len(newest),
    }
