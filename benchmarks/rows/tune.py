"""Tuning: what an experiment costs beside what its trials do."""

from __future__ import annotations

import importlib
import logging
import tempfile
import time
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.tune_floors import TRIALS

ROWS = Rows()


def _tune(bench: Bench) -> Any:
    logging.getLogger("ray.tune").setLevel(logging.ERROR)
    return importlib.import_module(f"{bench.api.__name__}.tune")


def _fit(
    tune: Any, trainable: Any, space: dict[str, Any], folder: str, config: Any, name: str = "rows"
) -> float:
    """Run an experiment; return the seconds. Raises RuntimeError if trials failed."""
    tuner = tune.Tuner(
        trainable,
        param_space=space,
        tune_config=config,
        run_config=tune.RunConfig(name=name, storage_path=folder, verbose=0),
    )
    began = time.perf_counter()
    results = tuner.fit()
    seconds = time.perf_counter() - began
    if results.num_errors:
        raise RuntimeError(f"{results.num_errors} trials failed: {results.errors[0]}")
    return seconds


@ROWS.row("tune: 1,000 trivial trials", required=30, floor=TRIALS, share=1.0, seconds=900, once=True)
def trivial(bench: Bench) -> Reading:
    """Trials a second of a function that reports once. Ray runs a twentieth of them: the rest takes as long, each."""
    tune = _tune(bench)
    count = bench.size(1000 if bench.system == "shoal" else 50, 20)

    def train(config: dict[str, float]) -> None:
        tune.report({"loss": config["x"] ** 2 + config["y"]})

    space = {"x": tune.uniform(0, 1), "y": tune.uniform(0, 1)}
    with tempfile.TemporaryDirectory() as folder:
        names = iter(range(1000))
        config = tune.TuneConfig(num_samples=count)
        return bench.rate(lambda: _fit(tune, train, space, folder, config, f"rows{next(names)}"), count)


@ROWS.row(
    "tune: ASHA, 1,000 trials of 100 reports, the scheduler's share",
    unit="%",
    less_is_better=True,
    required=None,
    limit=5.0,
    seconds=600,
    once=True,
    only_ours=True,
)
def asha(bench: Bench) -> Reading:
    """The part of the experiment's time in which ASHA decides; no trial is stopped, so that all reports come."""
    tune = _tune(bench)
    schedulers = importlib.import_module("shoal.tune.schedulers")
    spent = [0.0]

    class Timed(schedulers.ASHAScheduler):  # type: ignore[misc, name-defined]
        def on_trial_result(self, *args: Any) -> Any:
            began = time.perf_counter()
            try:
                return super().on_trial_result(*args)
            finally:
                spent[0] += time.perf_counter() - began

        def choose_trial_to_run(self, *args: Any) -> Any:
            began = time.perf_counter()
            try:
                return super().choose_trial_to_run(*args)
            finally:
                spent[0] += time.perf_counter() - began

    count, reports = bench.size(1000, 20), 100

    def train(config: dict[str, float]) -> None:
        for step in range(reports):
            tune.report({"loss": -config["x"] * step})

    # Each trial is better than those before it at every rung, so that none is stopped.
    space = {"x": tune.grid_search([float(number) for number in range(count)])}
    config = tune.TuneConfig(
        metric="loss", mode="min", scheduler=Timed(max_t=reports, grace_period=1, reduction_factor=3)
    )
    with tempfile.TemporaryDirectory() as folder:
        seconds = _fit(tune, train, space, folder, config)
    return Reading(100 * spent[0] / seconds, {"reports a second": count * reports / seconds})


@ROWS.row(
    "tune: restore of 10,000 trials",
    unit="s",
    less_is_better=True,
    required=None,
    limit=2.0,
    seconds=600,
    once=True,
    only_ours=True,
)
def restore(bench: Bench) -> Reading:
    """Seconds until an experiment whose 10,000 trials have ended is read, checked and ended again."""
    tune = _tune(bench)
    count = bench.size(10_000, 200)

    def train(config: dict[str, float]) -> None:
        tune.report({"loss": config["x"]})

    with tempfile.TemporaryDirectory() as folder:
        _fit(tune, train, {"x": tune.uniform(0, 1)}, folder, tune.TuneConfig(num_samples=count))
        began = time.perf_counter()
        results = tune.Tuner.restore(f"{folder}/rows", train).fit()
        seconds = time.perf_counter() - began
    if len(results) != count:
        raise RuntimeError(f"{len(results)} of {count} trials were there")
    return Reading(seconds)


@ROWS.row(
    "tune: 100 trials at once, reports",
    required=None,
    limit=100.0,
    seconds=300,
    once=True,
    only_ours=True,
)
def at_once(bench: Bench) -> Reading:
    """Reports a second of 100 trials, each in a process of its own on two cores; none is missed."""
    tune = _tune(bench)
    count, reports = bench.size(100, 10), 50

    def train(config: dict[str, int]) -> None:
        import time

        for step in range(reports):
            time.sleep(0.01)
            tune.report({"step": step})

    with tempfile.TemporaryDirectory() as folder:
        tuner = tune.Tuner(
            tune.with_resources(train, {"cpu": 0.02}),
            param_space={"n": tune.grid_search(list(range(count)))},
            tune_config=tune.TuneConfig(reuse_actors=False),
            run_config=tune.RunConfig(name="rows", storage_path=folder, verbose=0),
        )
        began = time.perf_counter()
        results = tuner.fit()
        seconds = time.perf_counter() - began
        seen = [result.metrics["training_iteration"] for result in results]
    if seen != [reports] * count:
        raise RuntimeError(f"{reports * count - sum(seen)} reports were missed")
    return Reading(sum(seen) / seconds)
