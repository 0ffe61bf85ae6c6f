"""What the overview shows: counts as of now, and the last hour as charts."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from shoal.spec.resources import ResourceSet

if TYPE_CHECKING:
    from shoal.dashboard.context import SessionContext
    from shoal.dashboard.model import Model

_CHARTS = ("cpu_used_fraction", "memory_used_bytes", "store_used_bytes", "leases_waiting", "workers")
_SILENT_SECONDS = 30.0  # a node that has told no sample for so long tells nothing about now
_CHART_SECONDS = 3600


def overview(context: SessionContext) -> dict[str, Any]:
    """Return the numbers of now. Raises GetTimeout, SystemFailure."""
    with context.lock:
        context.refresh()
        model = context.model
        seen = model.seen
        assert seen is not None
        known = seen.known
        newest = _newest(model)
        finished = sum(one.finished for one in model.functions.values())
        failed = sum(one.failed for one in model.functions.values())
        return {
            "session": seen.session,
            "is_live": seen.is_live,
            "now": time.time(),
            "version": model.version,
            "nodes": dict(Counter(str(node["state"]) for node in known.get("nodes", ()))),
            "actors": dict(Counter(str(actor["state"]) for actor in known.get("actors", ()))),
            "groups": dict(Counter(str(group["state"]) for group in known.get("groups", ()))),
            "jobs": dict(Counter(str(job["state"]) for job in known.get("jobs", ()))),
            "tasks": {"FINISHED": finished, "FAILED": failed, **model.unfinished()},
            "workers": sum(len(node.workers) for node in seen.nodes),
            "resources": _resources(known.get("nodes", ())) or _last_resources(newest),
            "gauges": _gauges(newest),
            "missing": model.missing(),
        }


def _newest(model: Model) -> dict[str, Mapping[str, Any]]:
    last = {node: samples[-1] for node, samples in model.samples.items() if samples}
    latest = max((when for when, _ in last.values()), default=0.0)
    return {node: fields for node, (when, fields) in last.items() if when > latest - _SILENT_SECONDS}


def _resources(nodes: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what living nodes have and use, as the head knows it now."""
    total, available = ResourceSet(), ResourceSet()
    for node in nodes:
        if node["state"] != "DEAD":
            total = total + ResourceSet(node["total"])
            available = available + ResourceSet(node["available"])
    free = available.to_floats()
    return [
        {"name": name, "total": amount, "used": amount - free.get(name, 0.0)}
        for name, amount in sorted(total.to_floats().items())
    ]


def _last_resources(newest: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return what the nodes of a dead session had, as they told last."""
    totals: dict[str, list[float]] = {}
    for fields in newest.values():
        for name, value in fields.items():
            if name.startswith("capacity."):
                resource = name.removeprefix("capacity.")
                one = totals.setdefault(resource, [0.0, 0.0])
                one[0] += value
                one[1] += value - fields.get(f"available.{resource}", 0.0)
    return [{"name": name, "total": total, "used": used} for name, (total, used) in sorted(totals.items())]


def _gauges(newest: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    names = (
        "memory_used_bytes",
        "memory_total_bytes",
        "store_used_bytes",
        "store_capacity_bytes",
        "store_objects",
        "store_spilled_bytes",
        "leases_waiting",
    )
    found = {name: sum(float(fields.get(name, 0)) for fields in newest.values()) for name in names}
    shares = [float(fields.get("cpu_used_fraction", 0)) for fields in newest.values()]
    found["cpu_used_fraction"] = sum(shares) / len(shares) if shares else 0.0
    return found


def series(context: SessionContext, since: float) -> dict[str, Any]:
    """Return the charts' points later than `since` (seconds since 1970)."""
    with context.lock:
        context.refresh()
        model = context.model
        nodes = {}
        for node, samples in model.samples.items():
            new = [(when, fields) for when, fields in samples if when > since]
            nodes[node] = {"t": [round(when, 3) for when, _ in new]} | {
                name: [fields.get(name, 0) for _, fields in new] for name in _CHARTS
            }
        # The second that goes on is told when it is over: points that were sent do not change much afterwards.
        seconds = sorted(second for second in model.ended if second > since)[-_CHART_SECONDS:]
        ended = [model.ended[second] for second in seconds]
        return {
            "nodes": nodes,
            "tasks": {
                "t": seconds,
                "finished": [one[0] for one in ended],
                "failed": [one[1] for one in ended],
            },
        }


def functions(context: SessionContext) -> dict[str, Any]:
    """Return what became of the calls of each function, the busiest first."""
    with context.lock:
        context.refresh()
        model = context.model
        assert model.seen is not None
        waiting: dict[str, Counter[str]] = {}
        if model.seen.is_live:
            for node in model.seen.nodes:
                for call in node.calls:
                    waiting.setdefault(call["name"], Counter())[call["state"]] += 1
        rows: list[dict[str, Any]] = []
        for name in sorted({*model.functions, *waiting}):
            one = model.functions.get(name)
            states = waiting.get(name, Counter())
            running = states.pop("RUNNING", 0)
            rows.append(
                {
                    "name": name,
                    "is_actor": bool(one and one.is_actor),
                    "finished": one.finished if one else 0,
                    "failed": one.failed if one else 0,
                    "running": running,
                    "waiting": sum(states.values()),
                    "seconds": one.seconds if one else 0.0,
                    "longest": one.longest if one else 0.0,
                    "last": one.last if one else 0.0,
                    "error": one.error if one else "",
                }
            )
        rows.sort(key=lambda row: (-row["running"] - row["waiting"], -row["seconds"]))
        return {"functions": rows, "missing": model.missing()}
