"""What comes out beside the results: the Pareto front, files of loggers, tables, the older way to run."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import Trial
from shoal.tune.logger import CSVLoggerCallback, JsonLoggerCallback, pretty_print
from shoal.tune.pareto import front
from shoal.tune.progress_reporter import CLIReporter, JupyterNotebookReporter


@given(st.integers(0, 2**32), st.integers(1, 3))
def test_the_front_is_what_nothing_beats(seed: int, dimensions: int) -> None:
    rng = random.Random(seed)
    names = [f"m{index}" for index in range(dimensions)]
    modes = {name: rng.choice(["max", "min"]) for name in names}
    rows = [{name: rng.randrange(5) for name in names} for _ in range(30)]

    def beats(one: dict[str, int], other: dict[str, int]) -> bool:
        signs = [(1 if modes[name] == "max" else -1) * (one[name] - other[name]) for name in names]
        return all(sign >= 0 for sign in signs) and any(sign > 0 for sign in signs)

    expected = [index for index, row in enumerate(rows) if not any(beats(other, row) for other in rows)]
    assert front(rows, modes) == expected
    with pytest.raises(ConfigError, match="must be 'max' or 'min'"):
        front(rows, {"m0": "most"})


@pytest.mark.usefixtures("session")
def test_loggers_write_what_was_reported(run_config: Any) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(3):
            tune.report(loss=config["x"] + step, size=-config["x"])

    results = tune.Tuner(
        train,
        param_space={"x": tune.grid_search([1, 2])},
        run_config=run_config(callbacks=[CSVLoggerCallback(), JsonLoggerCallback()]),
    ).fit()
    for result in results:
        folder = Path(result.path)
        with (folder / "progress.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [float(row["loss"]) for row in rows] == [result.config["x"] + step for step in range(3)]
        lines = [json.loads(line) for line in (folder / "result.json").read_text().splitlines()]
        assert [line["training_iteration"] for line in lines] == [1, 2, 3]
        assert json.loads((folder / "params.json").read_text()) == result.config
    chosen = results.get_pareto_front({"loss": "min", "size": "min"})
    assert [result.config["x"] for result in chosen] == [1, 2]


@pytest.mark.usefixtures("session")
def test_the_older_way_to_run(tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        if config["x"] == 3:
            raise ValueError("three")
        tune.report(loss=config["x"])

    options: dict[str, Any] = {"metric": "loss", "mode": "min", "storage_path": str(tmp_path), "verbose": 0}
    analysis = tune.run(train, config={"x": tune.grid_search([2, 1])}, name="good", **options)
    assert analysis.best_config == {"x": 1}
    with pytest.raises(TuneError, match="1 of 2 trials failed"):
        tune.run(train, config={"x": tune.grid_search([3, 1])}, name="bad", **options)
    again = tune.run(
        train,
        config={"x": tune.grid_search([3, 1])},
        name="bad",
        resume=True,
        raise_on_failed_trial=False,
        **options,
    )
    assert [trial.status for trial in again.trials] == ["ERROR", "TERMINATED"]
    with pytest.raises(ConfigError, match="no experiment"):
        tune.run(train, config={"x": 1}, name="never", resume=True, **options)


def trials() -> list[Trial]:
    first = Trial("a", 0, {"lr": 0.123456, "kind": "x"}, status="RUNNING")
    first.update_last_result({"loss": 0.5, "training_iteration": 2})
    second = Trial("b", 1, {"lr": 0.2, "kind": "y"}, status="ERROR", error="Traceback\nValueError: no")
    second.update_last_result({"loss": 0.25, "training_iteration": 1})
    return [first, second]


def test_a_table_shows_what_runs_and_what_is_best(capsys: pytest.CaptureFixture[str]) -> None:
    reporter = CLIReporter(metric="loss", mode="min", sort_by_metric=True)
    columns, rows = reporter.table(trials())
    assert columns == ["trial", "status", "lr", "kind", "iter", "loss"]
    assert rows == [["b", "ERROR", "0.2", "y", "1", "0.25"], ["a", "RUNNING", "0.12346", "x", "2", "0.5"]]
    assert "best loss 0.25 of b" in reporter.summary(trials())
    assert not reporter.should_report(trials())  # the output of tests is no terminal
    reporter.report(trials(), True)
    said = capsys.readouterr().out
    assert "1 RUNNING, 1 ERROR" in said
    assert "b failed: ValueError: no" in said
    html = JupyterNotebookReporter(metric_columns={"loss": "<Loss>"}).html(trials())
    assert "<th>&lt;Loss&gt;</th>" in html
    assert pretty_print({"a": 1, "b": None, "c": {"d": 2}, "e": 3}, {"e"}) == 'a: 1\nc: {"d": 2}\n'
