"""What goes wrong in searches: each case says what came, and the others go on."""

from __future__ import annotations

import logging
import math
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.errors import TuneError
from shoal.tune.schedulers import ASHAScheduler
from shoal.tune.search import Searcher
from shoal.tune.state import ExperimentFile

pytestmark = pytest.mark.usefixtures("session")


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture) -> Any:
    """What the experiment says, although tests run it quietly."""
    logger = logging.getLogger("shoal.tune")
    logger.addHandler(caplog.handler)
    yield lambda: "\n".join(record.getMessage() for record in caplog.records)
    logger.removeHandler(caplog.handler)


def _fit(trainable: Any, run_config: Any, space: Any = None, **options: Any) -> Any:
    config = tune.TuneConfig(**options)
    return tune.Tuner(trainable, param_space=space or {}, tune_config=config, run_config=run_config).fit()


class _Points(Searcher):
    """Gives so many points, then nothing for ever; or raises."""

    def __init__(self, many: int, raises: bool = False) -> None:
        super().__init__(metric="loss", mode="min")
        self.left = many
        self.raises = raises

    def set_search_properties(self, metric: Any, mode: Any, config: dict[str, Any], **spec: Any) -> bool:
        return True

    def suggest(self, trial_id: str) -> Any:
        if not self.left:
            if self.raises:
                raise ZeroDivisionError("no model")
            return None
        self.left -= 1
        return {"x": float(self.left)}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
        """It learns nothing."""


def _returns(config: dict[str, Any]) -> dict[str, float]:
    return {"loss": config["x"]}


def test_a_searcher_that_runs_dry_ends_the_experiment_with_what_there_is(run_config: Any, said: Any) -> None:
    results = _fit(_returns, run_config(verbose=1), search_alg=_Points(3), num_samples=10)
    assert sorted(result.metrics["loss"] for result in results) == [0, 1, 2]
    assert "the searcher has nothing more to try" in said()


def test_a_searcher_that_raises_is_named_and_what_was_done_stays(run_config: Any) -> None:
    with pytest.raises(TuneError, match="the searcher _Points raised ZeroDivisionError: no model"):
        _fit(
            _returns,
            run_config(),
            search_alg=_Points(3, raises=True),
            num_samples=10,
            max_concurrent_trials=1,
        )
    made = run_config()
    analysis = tune.ExperimentAnalysis(f"{made.storage_path}/{made.name}")
    assert sum(trial.status == "TERMINATED" for trial in analysis.trials) >= 2


def test_trials_that_never_report_are_told(run_config: Any, said: Any) -> None:
    results = _fit(lambda config: None, run_config(verbose=1), metric="loss", mode="min", num_samples=2)
    assert results.num_terminated == 2
    assert "the metric 'loss' was never reported" in said()
    with pytest.raises(RuntimeError, match="no trial has reported 'loss' as a number"):
        results.get_best_result()


def test_a_metric_that_is_misspelled_says_which_there_are(run_config: Any) -> None:
    with pytest.raises(TuneError, match=r"(?s)'los'.*loss"):
        _fit(_returns, run_config(), {"x": 1}, metric="los", mode="min")


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_finite_number_does_not_win(run_config: Any, bad: float) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(4):
            tune.report({"loss": bad if config["x"] == 0 else config["x"] + step})

    for scheduler in (None, ASHAScheduler(max_t=4, grace_period=1, reduction_factor=2)):
        results = _fit(
            train,
            run_config(),
            {"x": tune.grid_search([0, 1, 2])},
            metric="loss",
            mode="min",
            scheduler=scheduler,
        )
        assert results.num_errors == 0
        assert results.get_best_result().config["x"] == 1


def test_a_trial_that_kills_its_process_fails_alone(run_config: Any) -> None:
    def train(config: dict[str, Any]) -> dict[str, int]:
        if config["x"] == 5:
            os._exit(9)
        return {"x": config["x"]}

    results = _fit(train, run_config(), {"x": tune.grid_search(list(range(20)))})
    assert results.num_errors == 1
    assert [result.config["x"] for result in results if result.error is not None] == [5]
    assert sorted(result.metrics["x"] for result in results if result.error is None) == [
        *range(5),
        *range(6, 20),
    ]


def test_a_trial_that_prints_without_end_does_not_hold_the_others_up(run_config: Any) -> None:
    def train(config: dict[str, Any]) -> dict[str, int]:
        if config["x"] == 0:
            line = "x" * 1023 + "\n"
            for _ in range(50_000):
                sys.stdout.write(line)
        return {"x": config["x"]}

    results = _fit(train, run_config(), {"x": tune.grid_search([0, 1, 2])})
    assert [result.metrics["x"] for result in results] == [0, 1, 2]


def test_a_disk_that_fills_up_ends_the_experiment_and_it_goes_on_later(
    run_config: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    opened = ExperimentFile._open

    def small(self: ExperimentFile) -> Any:
        db = opened(self)
        db.execute("PRAGMA max_page_count = 30")  # SQLite says "full" then, as on a full disk
        return db

    space = {"x": tune.grid_search(list(range(300)))}
    made = run_config(name="full")
    with monkeypatch.context() as patch:
        patch.setattr(ExperimentFile, "_open", small)
        with pytest.raises(TuneError, match=r"cannot be written to .*full"):
            _fit(_returns, made, space)
    results = tune.Tuner.restore(f"{made.storage_path}/full", _returns).fit()
    assert sorted(result.metrics["loss"] for result in results) == list(range(300))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "maximum"}, "mode must be 'max' or 'min', not 'maximum'"),
        ({"metric": ["a", "b"], "mode": ["max"]}, "2 metrics but 1 modes"),
        ({"num_samples": 0}, "num_samples must be at least 1"),
        ({"scheduler": "ashaa"}, "ashaa"),
        ({"search_alg": "optunaa"}, "optunaa"),
    ],
)
def test_an_experiment_that_cannot_be_is_refused(run_config: Any, options: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        _fit(_returns, run_config(), {"x": 1}, **options)
