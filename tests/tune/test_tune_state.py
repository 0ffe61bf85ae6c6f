"""What is stored: after a death at any point the experiment goes on; the command line and the dashboard read it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from shoal import tune
from shoal.errors import ConfigError
from shoal.train.storage import Storage, locate
from shoal.tune import TuneConfig, Tuner
from shoal.tune.commands import tune_command
from shoal.tune.errors import TuneError
from shoal.tune.experiment.trial import Trial
from shoal.tune.page import content, facts_of
from shoal.tune.state import FILE, ExperimentFile, decode, encode
from shoal.util.reports import Report

PROGRAM = """
import sys, time
import shoal
from shoal import tune
from shoal.tune.schedulers import ASHAScheduler

where, again = sys.argv[1], sys.argv[2] == "again"


def train(config):
    for step in range(4):
        time.sleep(0.01)
        tune.report(score=config["x"] * (step + 1))
    with open(f"{where}/finished", "a") as file:
        file.write(f"{tune.get_context().get_trial_id()} {config['x']}\\n")


shoal.init(num_cpus=2, log_to_driver=False)
if again:
    tuner = tune.Tuner.restore(f"{where}/search", train)
else:
    tuner = tune.Tuner(
        train,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            num_samples=40, seed=5, scheduler=ASHAScheduler(metric="score", mode="max", max_t=100)
        ),
        run_config=tune.RunConfig(name="search", storage_path=where, verbose=0),
    )
results = tuner.fit()
print(len(results), results.num_errors, [result.config["x"] for result in results])
"""


def start(folder: Path, what: str) -> subprocess.Popen[str]:
    program = folder / "program.py"
    program.write_text(PROGRAM)
    return subprocess.Popen(
        [sys.executable, str(program), str(folder), what],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ended(folder: Path) -> int:
    """Return how many trials are stored as ended."""
    path = folder / "search" / FILE
    if not path.exists():
        return 0
    try:
        with opened(folder / "search") as file:
            return sum(trial.is_finished() for trial in file.trials())
    except ConfigError:
        return 0  # it is being made


def opened(folder: Path) -> ExperimentFile:
    filesystem, inside = locate(str(folder))
    return ExperimentFile(Storage(filesystem, inside), create=False, read_only=True)


@pytest.mark.parametrize("deaths", [1, 3])
def test_an_experiment_goes_on_after_its_program_was_killed_as_often_as_that_happens(
    tmp_path: Path, deaths: int
) -> None:
    kept: dict[str, dict[str, Any]] = {}
    for number in range(deaths):
        process = start(tmp_path, "again" if number else "first")
        wanted = (number + 1) * 8
        deadline = time.monotonic() + 60
        while ended(tmp_path) < wanted and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert process.poll() is None, process.communicate()
        process.send_signal(signal.SIGKILL)
        process.communicate()
        with opened(tmp_path / "search") as file:
            now = {trial.trial_id: trial.config for trial in file.trials() if trial.is_finished()}
        assert kept.items() <= now.items()
        kept = now
        assert len(kept) >= wanted
    process = start(tmp_path, "again")
    said, wrong = process.communicate(timeout=100)
    assert process.returncode == 0, wrong
    assert said.startswith("40 0 ")
    with opened(tmp_path / "search") as file:
        trials = file.trials()
        reports = file.reports_by_trial()
    assert [trial.status for trial in trials] == ["TERMINATED"] * 40
    # The same forty configurations as without any death: the sequence of the seed, none twice, none left out.
    import random

    rng = random.Random(5)
    assert [trial.config["x"] for trial in trials] == [tune.uniform(0, 1).draw(rng) for _ in range(40)]
    for trial in trials:
        assert [row["training_iteration"] for row in reports[trial.number]] == list(
            range(1, trial.iteration + 1)
        )
    # What was stored as ended has run its end once; what was cut off may have come to its last line and run again.
    counts = Counter(line.split()[0] for line in (tmp_path / "finished").read_text().splitlines())
    assert all(count == 1 for trial_id, count in counts.items() if trial_id in kept)


def test_ten_thousand_trials_are_read_at_once(tmp_path: Path) -> None:
    filesystem, inside = locate(str(tmp_path / "search"))
    with ExperimentFile(Storage(filesystem, inside)) as file:
        for number in range(10_000):
            trial = Trial(f"t_{number:05d}", number, {"x": number / 7, "kind": "a"}, status="TERMINATED")
            trial.update_last_result({"loss": float(number), "training_iteration": 1})
            file.put_trial(trial)
            file.put_report(trial, trial.last_result)
    with opened(tmp_path / "search") as file:
        found = file.trials()
    assert len(found) == 10_000
    assert found[7].config == {"x": 1.0, "kind": "a"}
    assert found[9_999].last_result["loss"] == 9_999.0


def test_what_is_not_committed_is_not_there(tmp_path: Path) -> None:
    filesystem, inside = locate(str(tmp_path / "search"))
    file = ExperimentFile(Storage(filesystem, inside))
    file.put_trial(Trial("a", 0, {"x": 1}))
    file.commit()
    file.put_trial(Trial("b", 1, {"x": 2}))
    with opened(tmp_path / "search") as other:
        assert [trial.trial_id for trial in other.trials()] == ["a"]
    file.close()
    with opened(tmp_path / "search") as other:
        assert [trial.trial_id for trial in other.trials()] == ["a", "b"]


def test_a_full_disk_is_told_and_loses_nothing(tmp_path: Path) -> None:
    filesystem, inside = locate(str(tmp_path / "search"))
    file = ExperimentFile(Storage(filesystem, inside))
    file.put_trial(Trial("a", 0, {"x": 1}))
    file.commit()
    pages = file._db.execute("PRAGMA page_count").fetchone()[0]
    file._db.execute(f"PRAGMA max_page_count={pages + 1}")  # SQLite's own "disk is full"
    file.put_trial(Trial("b", 1, {"x": "y" * 100_000}))
    with pytest.raises(TuneError, match=r"is full.*make room.*Tuner\.restore"):
        file.commit()
    file._db.execute("PRAGMA max_page_count=1000000")
    file.close()  # there is room again: it is written after all
    with opened(tmp_path / "search") as other:
        assert [trial.trial_id for trial in other.trials()] == ["a", "b"]


def test_a_file_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("no database, but long enough to be looked at as one")
    with pytest.raises(ConfigError, match="is no experiment's file"):
        opened(tmp_path)


@pytest.mark.parametrize(
    "value", [{"a": [1, 2.5, None, True, "x"]}, {"t": (1, 2)}, {1: "one"}, ValueError("no")]
)
def test_what_is_stored_comes_back_as_it_was(value: Any) -> None:
    back = decode(encode(value))
    assert type(back) is type(value)
    assert repr(back) == repr(value)


@pytest.mark.usefixtures("session")
def test_changed_code_and_space_are_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, run_config: Any
) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report(a=1)

    def other(config: dict[str, Any]) -> None:
        tune.report(a=2)

    other.__name__ = "train"
    results = Tuner(
        train, param_space={"x": tune.uniform(0, 1), "y": 3}, run_config=run_config(verbose=1)
    ).fit()
    caplog.clear()
    Tuner.restore(
        results.experiment_path, other, param_space={"x": tune.uniform(0, 2), "z": tune.choice([1])}
    )
    text = caplog.text
    assert "the code of train has changed" in text
    assert "x was Float(0, 1), is Float(0, 2)" in text
    assert "y is gone" in text
    assert "z is new" in text

    def else_(config: dict[str, Any]) -> None:
        pass

    with pytest.raises(ConfigError, match="is of the trainable 'train', not 'else_'"):
        Tuner.restore(results.experiment_path, else_)


@pytest.mark.usefixtures("session")
def test_the_command_line_lists_shows_draws_and_removes(tmp_path: Path, run_config: Any) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(3):
            tune.report(loss=config["x"] ** 2 + config["y"] / 100 + 1 / (step + 1))

    results = Tuner(
        train,
        param_space={"x": tune.uniform(-1, 1), "y": tune.choice([1, 2])},
        tune_config=TuneConfig(metric="loss", mode="min", num_samples=12, seed=1),
        run_config=run_config(),
    ).fit()
    best = results.get_best_result()
    runner = CliRunner()
    found = runner.invoke(tune_command, ["ls", str(tmp_path / "runs")])
    assert found.exit_code == 0, found.output
    assert found.output.startswith("search  finished")
    assert "12 TERMINATED" in found.output
    [listed] = json.loads(runner.invoke(tune_command, ["ls", str(tmp_path / "runs"), "--json"]).output)
    assert listed["best"]["value"] == best.metrics["loss"]
    shown = runner.invoke(tune_command, ["show", results.experiment_path])
    assert str(best.config["x"]) in shown.output.splitlines()[1]  # the best comes first
    rows = json.loads(runner.invoke(tune_command, ["show", results.experiment_path, "--json"]).output)["rows"]
    assert len(rows) == 12
    pytest.importorskip("matplotlib")
    drawn = runner.invoke(
        tune_command, ["plot", results.experiment_path, "--json", "--out", str(tmp_path / "out")]
    )
    assert drawn.exit_code == 0, drawn.output
    for path in json.loads(drawn.output):
        assert os.path.getsize(path) > 1000
    assert "Best loss" in (tmp_path / "out" / "report.html").read_text()
    from shoal.tune.plots import importances

    shares = importances(tune.ExperimentAnalysis(results.experiment_path))
    assert set(shares) == {"x", "y"}
    removed = runner.invoke(tune_command, ["rm", results.experiment_path, "--yes", "--json"])
    assert json.loads(removed.output) == {"removed": results.experiment_path}
    assert not os.path.exists(results.experiment_path)
    with pytest.raises(ConfigError, match="shoal tune ls FOLDER"):
        runner.invoke(tune_command, ["show", str(tmp_path)], catch_exceptions=False)


def test_the_page_has_experiments_trials_and_the_best() -> None:
    trial = Trial("a_00000", 0, {"x": 0.25}, status="RUNNING")
    trial.update_last_result({"loss": 0.5, "training_iteration": 2})
    facts = facts_of([trial], "loss", "min", "running", 10.0, [(1.0, 0.5)])
    page = content([Report("tune", "search", 11.0, facts)])
    assert page["tables"][0]["rows"] == [["search", "running", 1, 0, 0, 1, "loss min", 0.5]]
    assert page["tables"][1]["rows"] == [["a_00000", "RUNNING", 2, "x=0.25", "loss=0.5", ""]]
    assert page["charts"][0]["series"] == {"search": [[1.0, 0.5]]}
