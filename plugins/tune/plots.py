"""Pictures of an experiment, by matplotlib, and a report of them: curves, parallel coordinates, importances."""

from __future__ import annotations

import base64
import io
import math
import os
from collections.abc import Sequence
from html import escape
from typing import Any

from shoal.errors import ConfigError
from shoal.tune.analysis import ExperimentAnalysis, flat

__all__ = [
    "importances",
    "plot_importances",
    "plot_learning_curves",
    "plot_parallel_coordinates",
    "write_report",
]

_MOST_CURVES = 100


def _figure(title: str, width: float = 8, height: float = 4.5) -> tuple[Any, Any]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("pictures need the package matplotlib: pip install matplotlib") from error
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _metric_of(analysis: ExperimentAnalysis, metric: str | None) -> tuple[str, str]:
    metric = metric or (analysis.default_metric if isinstance(analysis.default_metric, str) else None)
    if not metric:
        raise ConfigError("which metric is to be drawn? Give metric")
    return metric, analysis.default_mode if isinstance(analysis.default_mode, str) else "min"


def plot_learning_curves(analysis: ExperimentAnalysis, metric: str | None = None) -> Any:
    """Return a figure with the metric of each trial over its reports, the best one drawn strong.

    Raises ConfigError without a metric or matplotlib.

    Example: `plot_learning_curves(ExperimentAnalysis(path), "loss").savefig("curves.png")`
    """
    metric, mode = _metric_of(analysis, metric)
    figure, axes = _figure(f"{metric} by report")
    best = analysis.get_best_trial(metric, mode)
    for trial in analysis.trials[:_MOST_CURVES]:
        rows = [row for row in analysis.reports(trial) if metric in row]
        if rows:
            strong = trial is best
            axes.plot(
                [row["training_iteration"] for row in rows],
                [row[metric] for row in rows],
                alpha=1.0 if strong else 0.35,
                linewidth=2.5 if strong else 1,
                marker="." if len(rows) < 3 else None,
                label=trial.trial_id if strong else None,
            )
    if best is not None:
        axes.legend()
    axes.set_xlabel("report")
    axes.set_ylabel(metric)
    return figure


def _columns(analysis: ExperimentAnalysis, metric: str) -> tuple[dict[str, list[Any]], list[float]]:
    """Return what differs between the trials' configurations, by parameter, and the metric."""
    rows, values = [], []
    for trial in analysis.trials:
        value = trial.last_result.get(metric)
        if isinstance(value, (int, float)) and math.isfinite(value):
            rows.append(flat(trial.config))
            values.append(float(value))
    names = list(dict.fromkeys(name for row in rows for name in row))
    columns = {name: [row.get(name) for row in rows] for name in names}
    return {name: column for name, column in columns.items() if len(set(map(repr, column))) > 1}, values


def _numbers(column: Sequence[Any]) -> tuple[list[float], list[str]]:
    """Return a column as numbers, and its labels if it has no numbers of its own."""
    if all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in column):
        return [float(each) for each in column], []
    labels = sorted(set(map(str, column)))
    return [float(labels.index(str(each))) for each in column], labels


def plot_parallel_coordinates(analysis: ExperimentAnalysis, metric: str | None = None) -> Any:
    """Return a figure with a line for each trial through its parameters to its metric; the better, the brighter.

    Raises ConfigError without a metric or matplotlib.
    """
    metric, mode = _metric_of(analysis, metric)
    columns, values = _columns(analysis, metric)
    figure, axes = _figure(f"parameters and {metric}", width=2 + 1.6 * (len(columns) + 1))
    names = [*columns, metric]
    scaled = []
    for at, name in enumerate(names):
        numbers, labels = _numbers(columns[name]) if name in columns else (values, [])
        if not numbers:
            continue
        log = not labels and min(numbers) > 0 and max(numbers) / min(numbers) > 50
        shown = [math.log10(each) for each in numbers] if log else numbers
        low, high = min(shown), max(shown)
        scaled.append([(each - low) / (high - low) if high > low else 0.5 for each in shown])
        ends = (labels[0], labels[-1]) if labels else (f"{min(numbers):.3g}", f"{max(numbers):.3g}")
        axes.text(at, -0.05, ends[0], ha="center", va="top", fontsize=8)
        axes.text(at, 1.03, ends[1], ha="center", va="bottom", fontsize=8)
        axes.axvline(at, color="0.8", linewidth=1)
    from matplotlib import colormaps

    colours = colormaps["viridis"]
    for index in range(len(values)):
        line = [column[index] for column in scaled]
        good = line[-1] if mode == "max" else 1 - line[-1]
        axes.plot(range(len(line)), line, color=colours(good), alpha=0.3 + 0.6 * good)
    axes.set_xticks(range(len(names)), names, rotation=20)
    axes.tick_params(axis="x", pad=14)
    axes.set_yticks([])
    axes.set_ylim(-0.15, 1.15)
    return figure


def importances(analysis: ExperimentAnalysis, metric: str | None = None) -> dict[str, float]:
    """Return how much of the metric's variance each parameter explains by itself, the most first.

    A parameter's trials are put into at most eight groups of like values; its share is the variance between the groups'
    means, less what chance would give them.

    Example: `importances(ExperimentAnalysis(path), "loss")  # {"lr": 0.8, "layers": 0.1}`
    """
    metric, _ = _metric_of(analysis, metric)
    columns, values = _columns(analysis, metric)
    count = len(values)
    mean = sum(values) / count if count else 0.0
    total = sum((each - mean) ** 2 for each in values)
    found: dict[str, float] = {}
    for name, column in columns.items():
        numbers, _ = _numbers(column)
        order = sorted(set(numbers))
        if len(order) > 8:
            ranked = sorted(numbers)
            edges = [ranked[count * part // 8] for part in range(1, 8)]
            keys = [sum(each >= edge for edge in edges) for each in numbers]
        else:
            keys = [order.index(each) for each in numbers]
        groups: dict[int, list[float]] = {}
        for key, value in zip(keys, values, strict=True):
            groups.setdefault(key, []).append(value)
        within = sum(
            sum((each - sum(group) / len(group)) ** 2 for each in group) for group in groups.values()
        )
        free = count - len(groups)
        noise = within / free if free > 0 else total / max(count - 1, 1)
        between = total - within - (len(groups) - 1) * noise
        found[name] = max(0.0, between / total) if total > 0 else 0.0
    return dict(sorted(found.items(), key=lambda each: -each[1]))


def plot_importances(analysis: ExperimentAnalysis, metric: str | None = None) -> Any:
    """Return a figure of `importances`. Raises ConfigError without a metric or matplotlib."""
    metric, _ = _metric_of(analysis, metric)
    found = importances(analysis, metric)
    figure, axes = _figure(f"what {metric} depends on", height=1.5 + 0.4 * len(found))
    axes.barh(list(found), list(found.values()))
    axes.invert_yaxis()
    axes.set_xlabel("share of the variance")
    return figure


def write_report(analysis: ExperimentAnalysis, folder: str, metric: str | None = None) -> list[str]:
    """Write pictures and `report.html`, which has them inside, to a folder; return the paths.

    Raises ConfigError without a metric or matplotlib.

    Example: `write_report(ExperimentAnalysis(path), "report", "loss")`
    """
    os.makedirs(folder, exist_ok=True)
    metric, mode = _metric_of(analysis, metric)
    written = []
    parts = []
    for name, draw in (
        ("learning_curves", plot_learning_curves),
        ("parallel_coordinates", plot_parallel_coordinates),
        ("importances", plot_importances),
    ):
        figure = draw(analysis, metric)
        path = os.path.join(folder, f"{name}.png")
        figure.savefig(path, dpi=110)
        written.append(path)
        held = io.BytesIO()
        figure.savefig(held, format="png", dpi=110)
        text = base64.b64encode(held.getvalue()).decode()
        parts.append(f'<img alt="{name}" src="data:image/png;base64,{text}">')
    best = analysis.get_best_trial(metric, mode)
    head = (
        f"<h1>{escape(os.path.basename(analysis.experiment_path))}</h1><p>{len(analysis.trials)} trials.</p>"
    )
    if best is not None:
        config = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(str(value))}</td></tr>"
            for name, value in flat(best.config).items()
        )
        head += (
            f"<p>Best {escape(metric)}: {best.last_result[metric]:.6g}, of {escape(best.trial_id)}.</p>"
            f"<table>{config}</table>"
        )
    path = os.path.join(folder, "report.html")
    with open(path, "w", encoding="utf-8") as file:
        file.write(
            "<!doctype html><meta charset='utf-8'><title>Experiment</title>"
            "<style>body{font:15px system-ui;margin:2em}td{padding:0 1em}</style>" + head + "".join(parts)
        )
    return [*written, path]
