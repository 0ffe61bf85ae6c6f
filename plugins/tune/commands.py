"""`shoal tune`: lists, shows, plots and removes experiments in a folder."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from typing import Any

import click

from shoal.errors import ConfigError
from shoal.train.config import DEFAULT_STORAGE
from shoal.train.controller.records import living
from shoal.train.storage import Storage, locate
from shoal.tune.analysis import ExperimentAnalysis, flat
from shoal.tune.state import ExperimentFile


@click.group("tune")
def tune_command() -> None:
    """Look at experiments of shoal.tune."""


def _as_json(function: Any) -> Any:
    return click.option("--json", "as_json", is_flag=True, help="Write JSON, for programs.")(function)


def _experiment(path: str) -> ExperimentAnalysis:
    try:
        return ExperimentAnalysis(os.path.expanduser(path))
    except FileNotFoundError as error:
        raise ConfigError(f"{error}. `shoal tune ls FOLDER` lists those in a folder") from None


def _meta(analysis: ExperimentAnalysis) -> dict[str, Any]:
    with ExperimentFile(analysis.storage, create=False, read_only=True) as file:
        return file.meta()


def _facts(analysis: ExperimentAnalysis) -> dict[str, Any]:
    meta = _meta(analysis)
    status = meta.get("status", "unknown")
    if status == "running" and not living(meta):
        status = "interrupted"
    best = None
    if analysis.default_metric and analysis.default_mode and isinstance(analysis.default_metric, str):
        try:
            trial = analysis.get_best_trial()
        except ValueError:
            trial = None
        best = trial and {"trial": trial.trial_id, "value": trial.last_result.get(analysis.default_metric)}
    return {
        "name": meta.get("name", os.path.basename(analysis.experiment_path)),
        "path": analysis.experiment_path,
        "status": status,
        "trainable": meta.get("trainable", ""),
        "began": meta.get("began"),
        "trials": dict(Counter(trial.status for trial in analysis.trials)),
        "metric": analysis.default_metric,
        "mode": analysis.default_mode,
        "best": best,
    }


@tune_command.command("ls")
@click.argument("folder", default=DEFAULT_STORAGE)
@_as_json
def ls(folder: str, as_json: bool) -> None:
    """List the experiments in FOLDER, newest first."""
    filesystem, inside = locate(os.path.expanduser(folder))
    storage = Storage(filesystem, inside, patience=10.0)
    found = []
    for name in storage.folders():
        try:
            found.append(_facts(ExperimentAnalysis(storage.at(name), storage_filesystem=filesystem)))
        except (FileNotFoundError, ConfigError):
            continue  # of something else
    found.sort(key=lambda each: -(each["began"] or 0))
    if as_json:
        click.echo(json.dumps(found, indent=2, default=str))
        return
    if not found:
        click.echo(f"no experiment is in {folder}")
    for each in found:
        when = time.strftime("%Y-%m-%d %H:%M", time.localtime(each["began"] or 0))
        trials = ", ".join(f"{count} {status}" for status, count in each["trials"].items())
        best = f"; best {each['metric']} {each['best']['value']}" if each["best"] else ""
        click.echo(f"{each['name']}  {each['status']}  {when}  {trials}{best}")


@tune_command.command("show")
@click.argument("experiment")
@click.option("--sort", default=None, help="A metric to sort trials by.")
@_as_json
def show(experiment: str, sort: str | None, as_json: bool) -> None:
    """Show the trials of EXPERIMENT, a folder."""
    analysis = _experiment(experiment)
    metric = sort or (analysis.default_metric if isinstance(analysis.default_metric, str) else None)
    trials = list(analysis.trials)
    if metric:
        sign = -1 if analysis.default_mode == "max" else 1
        trials.sort(key=lambda trial: sign * float(trial.last_result.get(metric, sign * float("inf"))))
    facts = _facts(analysis)
    rows: list[dict[str, Any]] = [
        {
            "trial": trial.trial_id,
            "status": trial.status,
            "reports": trial.iteration,
            "config": trial.config,
            "metrics": trial.last_result,
            "failures": trial.num_failures,
            "error": trial.error.strip().splitlines()[-1] if trial.error.strip() else "",
        }
        for trial in trials
    ]
    if as_json:
        click.echo(json.dumps({**facts, "rows": rows}, indent=2, default=str))
        return
    click.echo(f"{facts['name']}: {facts['status']}, {len(rows)} trials of {facts['trainable']}")
    for row in rows:
        config = ", ".join(f"{name}={value}" for name, value in flat(row["config"]).items())
        value = f"  {metric} {row['metrics'].get(metric, '-')}" if metric else ""
        error = f"  {row['error']}" if row["error"] else ""
        click.echo(f"{row['trial']}  {row['status']}  {row['reports']} reports{value}  {config}{error}")


@tune_command.command("plot")
@click.argument("experiment")
@click.option("--metric", default=None, help="The metric to draw; the experiment's own by default.")
@click.option("--out", default=None, help="The folder for the pictures; the experiment's own by default.")
@_as_json
def plot(experiment: str, metric: str | None, out: str | None, as_json: bool) -> None:
    """Draw learning curves, parallel coordinates and importances of EXPERIMENT, and write a report of them as HTML."""
    from shoal.tune.plots import write_report

    analysis = _experiment(experiment)
    folder = out or analysis.experiment_path
    if not analysis.storage.is_local and out is None:
        raise ConfigError("the experiment's folder is not local: say where the pictures go with --out")
    written = write_report(analysis, folder, metric)
    if as_json:
        click.echo(json.dumps(written))
    else:
        for path in written:
            click.echo(path)


@tune_command.command("rm")
@click.argument("experiment")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_as_json
def rm(experiment: str, yes: bool, as_json: bool) -> None:
    """Remove EXPERIMENT, its trials' folders and checkpoints included."""
    analysis = _experiment(experiment)
    meta = _meta(analysis)
    if meta.get("status") == "running" and living(meta):
        raise ConfigError(f"the experiment in {analysis.experiment_path} goes on; end it first")
    if not yes:
        click.confirm(f"Remove {analysis.experiment_path} with {len(analysis.trials)} trials?", abort=True)
    if analysis.storage.is_local:
        shutil.rmtree(analysis.experiment_path)
    else:
        Storage(analysis.storage.filesystem, os.path.dirname(analysis.experiment_path)).delete(
            os.path.basename(analysis.experiment_path)
        )
    click.echo(
        json.dumps({"removed": analysis.experiment_path})
        if as_json
        else f"removed {analysis.experiment_path}"
    )
