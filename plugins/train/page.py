"""The dashboard's page of training: the session's runs, their metrics' curves, and where their ranks are."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoal.interfaces.routes import Contribution, RouteContext
from shoal.util.reports import Report, read

_IN_DETAIL = 6  # runs whose ranks, words and curves are shown


def routes(context: RouteContext) -> Contribution:
    """Return what the dashboard shows of training; registered as `train` of the group `shoal.routes`."""

    def page() -> Mapping[str, Any]:
        reports = read(context.seen().known.get("reports", ()))
        return content([report for report in reports if report.kind == "train"])

    return Contribution(pages={"train": page})


def content(reports: list[Report]) -> Mapping[str, Any]:
    """Return the page's content: runs that go on first, then the newest.

    Example: `content(told("train"))["tables"][0]["rows"]`
    """
    if not reports:
        return {"title": "Train", "text": "Nothing was trained in this session."}
    ordered = sorted(reports, key=lambda one: (one.facts["state"] != "running", -one.facts["began"]))
    runs = {
        "name": "runs",
        "columns": [
            "run",
            "state",
            "workers",
            "reports",
            "checkpoints",
            "attempts",
            "failures",
            "seconds",
            "last metrics or error",
            "folder",
        ],
        "rows": [
            [
                report.name,
                report.facts["state"],
                report.facts["workers"],
                report.facts["reports"],
                report.facts["checkpoints"],
                report.facts["attempts"],
                report.facts["failures"],
                round(report.facts["seconds"], 1),
                report.facts.get("error") or _in_words(report.facts["metrics"]),
                report.facts["folder"],
            ]
            for report in ordered
        ],
    }
    details = [
        table for report in ordered[:_IN_DETAIL] for table in (_ranks(report), _said(report)) if table["rows"]
    ]
    charts: dict[str, dict[str, Any]] = {}
    for report in ordered[:_IN_DETAIL]:
        for metric, curve in report.facts["curves"].items():
            charts.setdefault(metric, {})[report.name[:60]] = curve
    return {
        "title": "Train",
        "tables": [runs, *details],
        "charts": [{"name": metric, "series": series} for metric, series in charts.items()],
    }


def _ranks(report: Report) -> dict[str, Any]:
    return {
        "name": f"{report.name}: ranks",
        "columns": ["rank", "node", "process", "devices", "reports"],
        "rows": report.facts["ranks"],
    }


def _said(report: Report) -> dict[str, Any]:
    return {
        "name": f"{report.name}: what was said",
        "columns": ["second", "words"],
        "rows": [[round(when - report.facts["began"], 1), text] for when, text in report.facts["said"]],
    }


def _in_words(metrics: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{name} {value:.6g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in list(metrics.items())[:8]
    )
