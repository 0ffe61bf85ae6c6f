"""A dashboard for Grafana, made of the table of metrics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from shoal.observe.metrics import METRICS, MetricSpec

_WIDTH = 12  # of Grafana's 24 columns
_HEIGHT = 8


def dashboard(metrics: Iterable[MetricSpec] = METRICS) -> dict[str, Any]:
    """Return a dashboard that Grafana imports: a row for each group, a panel for each metric.

    Example: `json.dump(dashboard(), file)`
    """
    panels: list[dict[str, Any]] = []
    top = 0
    groups: dict[str, list[MetricSpec]] = {}
    for metric in metrics:
        groups.setdefault(metric.group, []).append(metric)
    for title, members in groups.items():
        place = {"x": 0, "y": top, "w": 24, "h": 1}
        panels.append({"id": len(panels) + 1, "type": "row", "title": title, "gridPos": place, "panels": []})
        top += 1
        for index, metric in enumerate(members):
            left = _WIDTH * (index % 2)
            place = {"x": left, "y": top + _HEIGHT * (index // 2), "w": _WIDTH, "h": _HEIGHT}
            panels.append(_panel(len(panels) + 1, metric, place))
        top += _HEIGHT * (-(-len(members) // 2))
    return {
        "uid": "shoal",
        "title": "Shoal",
        "tags": ["shoal"],
        "schemaVersion": 39,
        "version": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-30m", "to": "now"},
        "templating": {
            "list": [
                {
                    "name": "datasource",
                    "type": "datasource",
                    "query": "prometheus",
                    "label": "Data source",
                },
                _variable("session", "label_values(shoal_processes_connected, session)"),
                _variable("node", 'label_values(shoal_processes_connected{session=~"$session"}, node)'),
            ]
        },
        "panels": panels,
    }


def expression(metric: MetricSpec) -> str:
    """Return the query of a metric's panel: a counter is shown as how fast it grows."""
    chosen = metric.name + '{session=~"$session", node=~"$node"}'
    by = ", ".join(metric.labels or ("node",))
    inner = f"rate({chosen}[$__rate_interval])" if metric.kind == "counter" else chosen
    return f"sum by ({by}) ({inner})"


def _panel(number: int, metric: MetricSpec, place: dict[str, int]) -> dict[str, Any]:
    legend = " ".join("{{" + name + "}}" for name in (metric.labels or ("node",)))
    source = {"type": "prometheus", "uid": "${datasource}"}
    title = metric.name.removeprefix("shoal_").removesuffix("_total").replace("_", " ")
    return {
        "id": number,
        "type": "timeseries",
        "title": title + (" a second" if metric.kind == "counter" else ""),
        "description": metric.text,
        "datasource": source,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": metric.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": [{"refId": "A", "datasource": source, "expr": expression(metric), "legendFormat": legend}],
    }


def _variable(name: str, query: str) -> dict[str, Any]:
    return {
        "name": name,
        "type": "query",
        "label": name.capitalize(),
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "includeAll": True,
        "multi": True,
        "refresh": 2,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    }
