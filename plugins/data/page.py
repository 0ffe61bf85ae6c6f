"""The dashboard's page of datasets: executions of the session that last longer than a second, and their operators."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.interfaces.routes import Contribution, RouteContext
from shoal.util.reports import Report, read

_IN_DETAIL = 8  # executions whose operators are shown


def routes(context: RouteContext) -> Contribution:
    """Return what the dashboard shows of datasets; registered as `data` of the group `shoal.routes`."""

    def page() -> Mapping[str, Any]:
        reports = read(context.seen().known.get("reports", ()))
        return content([report for report in reports if report.kind == "data"])

    return Contribution(pages={"data": page})


def content(reports: list[Report]) -> Mapping[str, Any]:
    """Return the page's content: running executions first, then the newest.

    Example: `content(told("data"))["tables"][0]["rows"]`
    """
    if not reports:
        return {"title": "Data", "text": "No dataset was executed for longer than a second in this session."}
    ordered = sorted(reports, key=lambda one: (one.facts["state"] != "running", -one.facts["began"]))
    table = {
        "name": "executions",
        "columns": [
            "execution",
            "pipeline",
            "state",
            "rows",
            "seconds",
            "most bytes under way",
            "bottleneck or error",
        ],
        "rows": [
            [
                report.name,
                report.facts["label"],
                report.facts["state"],
                report.facts["rows"],
                round(report.facts["seconds"], 1),
                int(report.facts["peak"]),
                report.facts.get("error") or report.facts["bottleneck"],
            ]
            for report in ordered
        ],
    }
    details = [_operators(report) for report in ordered[:_IN_DETAIL]]
    curves = {
        f"{report.name} {report.facts['label']}"[:60]: report.facts["curve"]
        for report in ordered[:_IN_DETAIL]
    }
    return {
        "title": "Data",
        "tables": [table, *details],
        "charts": [{"name": "rows that have come out", "series": curves}],
    }


def _operators(report: Report) -> Mapping[str, Any]:
    return {
        "name": f"{report.name}: {report.facts['label']}",
        "columns": [
            "operator",
            "tasks",
            "blocks",
            "rows",
            "bytes",
            "seconds of work",
            "rows a second of work",
        ],
        "rows": [
            [
                each["name"],
                each["tasks"],
                each["blocks"],
                each["rows"],
                each["size"],
                round(each["seconds"], 2),
                round(each["rows"] / each["seconds"]) if each["seconds"] else 0,
            ]
            for each in report.facts["operators"]
        ],
    }
