"""The dashboard's page of experiments: those of this session, their trials, and the best so far."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.interfaces.routes import Contribution, RouteContext
from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers.trial_scheduler import AUTO
from shoal.util.reports import Report, read

__all__ = ["content", "facts_of", "routes"]

_IN_DETAIL = 4  # experiments whose trials are shown
_MOST_TRIALS = 40  # of one experiment
_MOST_CELLS = 6  # parameters and metrics of a trial


def routes(context: RouteContext) -> Contribution:
    """Return what the dashboard shows of experiments; registered as `tune` of the group `shoal.routes`."""

    def page() -> Mapping[str, Any]:
        reports = read(context.seen().known.get("reports", ()))
        return content([report for report in reports if report.kind == "tune"])

    return Contribution(pages={"tune": page})


def facts_of(
    trials: Sequence[Trial],
    metric: Any,
    mode: Any,
    state: str,
    began: float,
    curve: Sequence[tuple[float, float]],
) -> dict[str, Any]:
    """Return what an experiment tells of itself: plain data.

    Example: `tell("tune", "search", facts_of(trials, "loss", "min", "running", time.time(), []))`
    """
    counts = Counter(trial.status for trial in trials)
    rows = []
    last = sorted(trials, key=lambda trial: (trial.is_finished(), -trial.number))[:_MOST_TRIALS]
    for trial in last:
        said = {name: value for name, value in trial.last_result.items() if name not in AUTO}
        rows.append(
            {
                "trial": trial.trial_id,
                "status": trial.status,
                "reports": trial.iteration,
                "config": {name: _plain(value) for name, value in list(trial.config.items())[:_MOST_CELLS]},
                "metrics": {name: _plain(value) for name, value in list(said.items())[:_MOST_CELLS]},
                "error": trial.error.strip().splitlines()[-1][:200] if trial.error.strip() else "",
            }
        )
    return {
        "state": state,
        "began": began,
        "metric": metric if isinstance(metric, str) else "",
        "mode": mode if isinstance(mode, str) else "",
        "counts": dict(counts),
        "trials": rows,
        "curve": [list(point) for point in curve],
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return "nan"
    return value if isinstance(value, (int, float, bool)) else str(value)[:60]


def content(reports: list[Report]) -> Mapping[str, Any]:
    """Return the page's content: running experiments first, then the newest.

    Example: `content(told("tune"))["tables"][0]["rows"]`
    """
    if not reports:
        return {"title": "Tune", "text": "No experiment was run in this session."}
    ordered = sorted(reports, key=lambda one: (one.facts["state"] != "running", -one.facts["began"]))
    table = {
        "name": "experiments",
        "columns": ["experiment", "state", "trials", "ended", "failed", "running", "metric", "best"],
        "rows": [
            [
                report.name,
                report.facts["state"],
                sum(report.facts["counts"].values()),
                report.facts["counts"].get("TERMINATED", 0),
                report.facts["counts"].get("ERROR", 0),
                report.facts["counts"].get("RUNNING", 0),
                f"{report.facts['metric']} {report.facts['mode']}".strip(),
                report.facts["curve"][-1][1] if report.facts["curve"] else "",
            ]
            for report in ordered
        ],
    }
    details = [
        {
            "name": f"{report.name}: trials",
            "columns": ["trial", "status", "reports", "configuration", "metrics", "error"],
            "rows": [
                [
                    row["trial"],
                    row["status"],
                    row["reports"],
                    ", ".join(f"{name}={_short(value)}" for name, value in row["config"].items()),
                    ", ".join(f"{name}={_short(value)}" for name, value in row["metrics"].items()),
                    row["error"],
                ]
                for row in report.facts["trials"]
            ],
        }
        for report in ordered[:_IN_DETAIL]
    ]
    curves = {
        report.name[:60]: report.facts["curve"] for report in ordered[:_IN_DETAIL] if report.facts["curve"]
    }
    charts = [{"name": "the best so far, by seconds", "series": curves}] if curves else []
    return {"title": "Tune", "tables": [table, *details], "charts": charts}


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
