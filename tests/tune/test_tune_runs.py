"""Experiments in real processes: what runs, what is reported, what is stored, and what goes wrong."""

from __future__ import annotations

import os
import pickle
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal import train, tune
from shoal.errors import ConfigError
from shoal.train.errors import SessionMisuseError
from shoal.tune import RunConfig, TuneConfig, Tuner
from shoal.tune.schedulers import ASHAScheduler

pytestmark = pytest.mark.usefixtures("session")

Make = Callable[..., RunConfig]


def square(config: dict[str, Any]) -> None:
    for step in range(config.get("steps", 3)):
        tune.report({"loss": (config["x"] - 2) ** 2 + 1 / (step + 1), "step": step})


def test_a_function_is_tried_with_every_value_of_a_grid(run_config: Make) -> None:
    tuner = Tuner(
        square,
        param_space={"x": tune.grid_search([0, 1, 2, 3])},
        tune_config=TuneConfig(metric="loss", mode="min"),
        run_config=run_config(),
    )
    results = tuner.fit()
    assert len(results) == 4
    assert results.num_errors == 0
    assert results.num_terminated == 4
    best = results.get_best_result()
    assert best.config == {"x": 2}
    assert best.metrics is not None
    assert best.metrics["training_iteration"] == 3
    assert best.metrics_dataframe is not None
    assert list(best.metrics_dataframe["step"]) == [0, 1, 2]
    frame = results.get_dataframe()
    assert sorted(frame["config/x"]) == [0, 1, 2, 3]
    assert os.path.isdir(best.path)
    assert tuner.get_results() is results
    assert results.get_best_result("loss", "min", scope="all").config == {"x": 2}
    assert results.get_best_result("loss", "max", scope="last-5-avg").config == {"x": 0}


def test_what_a_function_returns_or_yields_is_reported(run_config: Make) -> None:
    def returns(config: dict[str, Any]) -> Any:
        return {"double": config["x"] * 2} if config["x"] else 7

    def yields(config: dict[str, Any]) -> Iterator[Any]:
        yield {"a": 1}
        yield {"a": 2}

    found = Tuner(returns, param_space={"x": tune.grid_search([0, 3])}, run_config=run_config()).fit()
    assert found[0].metrics["_metric"] == 7
    assert found[1].metrics["double"] == 6
    [result] = Tuner(yields, run_config=run_config(name="yields")).fit()
    assert result.metrics["a"] == 2
    assert result.metrics["training_iteration"] == 2


def test_the_older_spelling_of_report_and_the_context(run_config: Make) -> None:
    def train() -> None:
        context = tune.get_context()
        tune.report(trial=context.get_trial_id(), folder=context.get_trial_dir(), here=os.getcwd())

    [result] = Tuner(train, run_config=run_config()).fit()
    assert result.metrics["trial"] == result.metrics["trial_id"]
    assert result.metrics["folder"] == result.metrics["here"] == result.path


class Walk(tune.Trainable):
    """Walks a step at a time, and can be stopped and led on."""

    def setup(self, config: dict[str, Any]) -> None:
        self.x = config.get("x", 0)

    def step(self) -> dict[str, Any]:
        self.x += 1
        if self.x == self.config.get("breaks_at") and not os.path.exists("broken"):
            Path("broken").write_text("once")
            raise RuntimeError("it broke")
        return {"x": self.x, "done": self.x >= 8}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any] | None:
        return {"x": self.x}

    def load_checkpoint(self, checkpoint: Any) -> None:
        self.x = checkpoint["x"]


def test_a_class_is_stepped_and_goes_on_from_its_checkpoint_after_a_failure(run_config: Make) -> None:
    results = Tuner(
        Walk,
        param_space={"x": tune.grid_search([0, 4]), "breaks_at": 6},
        run_config=run_config(
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=2, num_to_keep=2),
        ),
    ).fit()
    assert results.num_errors == 0
    assert [result.metrics["x"] for result in results] == [8, 8]
    assert [result.metrics["training_iteration"] for result in results] == [8, 4]
    checkpoint = results[0].checkpoint
    assert checkpoint is not None
    with checkpoint.as_directory() as folder:
        assert pickle.loads((Path(folder) / "trainable.pkl").read_bytes()) == {"x": 8}
    assert len(results[0].best_checkpoints) == 2
    assert sorted(each.name for each in Path(results[0].path).glob("checkpoint_*")) == [
        os.path.basename(checkpoint.path) for checkpoint, _ in results[0].best_checkpoints
    ]
    frame = results[0].metrics_dataframe
    assert frame is not None
    assert list(frame["x"]) == list(range(1, 9))  # no report is lost, none counts twice


def test_a_function_goes_on_from_the_checkpoint_it_reported(run_config: Make, tmp_path: Path) -> None:
    def train(config: dict[str, Any]) -> None:
        step = 0
        checkpoint = tune.get_checkpoint()
        if checkpoint is not None:
            with checkpoint.as_directory() as folder:
                step = int((Path(folder) / "step").read_text())
        while step < 4:
            step += 1
            folder = tmp_path / f"step{step}"
            folder.mkdir(exist_ok=True)
            (folder / "step").write_text(str(step))
            tune.report({"step": step}, checkpoint=tune.Checkpoint.from_directory(folder))
            if step == 2 and not (tmp_path / "died").exists():
                (tmp_path / "died").write_text("")
                os._exit(3)

    [result] = Tuner(train, run_config=run_config(failure_config=tune.FailureConfig(max_failures=1))).fit()
    assert result.error is None
    assert result.metrics["step"] == 4
    assert result.metrics["training_iteration"] == 4
    assert result.metrics["iterations_since_restore"] == 2


def test_trials_that_fail_are_told_and_do_not_end_the_others(run_config: Make) -> None:
    def train(config: dict[str, Any]) -> None:
        tune.report(a=1)
        if config["x"] == 1:
            raise KeyError("lost")
        if config["x"] == 2:
            os._exit(5)

    results = Tuner(train, param_space={"x": tune.grid_search([0, 1, 2, 3])}, run_config=run_config()).fit()
    assert len(results) == 4
    assert results.num_errors == 2
    assert isinstance(results[1].error, KeyError)
    assert "exited by itself (exit code 5)" in str(results[2].error)
    assert results[3].metrics["a"] == 1


def test_fail_fast_ends_the_experiment(run_config: Make) -> None:
    def train(config: dict[str, Any]) -> None:
        raise ValueError("no")

    config = TuneConfig(num_samples=50, max_concurrent_trials=1)
    results = Tuner(
        train, tune_config=config, run_config=run_config(failure_config=tune.FailureConfig(fail_fast=True))
    ).fit()
    assert len(results) < 50
    with pytest.raises(ValueError, match="no"):
        Tuner(
            train,
            tune_config=config,
            run_config=run_config(name="raises", failure_config=tune.FailureConfig(fail_fast="raise")),
        ).fit()


def test_what_is_given_beside_the_configuration_is_stored_once(run_config: Make) -> None:
    def train(config: dict[str, Any], data: list[int]) -> None:
        tune.report(total=sum(data) + config["x"])

    given = tune.with_parameters(train, data=list(range(1000)))
    results = Tuner(given, param_space={"x": tune.grid_search([1, 2])}, run_config=run_config()).fit()
    assert [result.metrics["total"] for result in results] == [499501, 499502]

    class Given(tune.Trainable):
        def setup(self, config: dict[str, Any], data: Any = None) -> None:
            self.data = data

        def step(self) -> dict[str, Any]:
            return {"total": sum(self.data), "done": True}

    [result] = Tuner(tune.with_parameters(Given, data=[1, 2]), run_config=run_config(name="class")).fit()
    assert result.metrics["total"] == 3
    with pytest.raises(ConfigError, match="has no parameter 'dta'; it has config, data"):
        tune.with_parameters(train, dta=1)


@pytest.mark.parametrize("groups", [False, True])
def test_trials_get_what_they_ask_for(run_config: Make, groups: bool) -> None:
    def train(config: dict[str, Any]) -> None:
        begun = time.time()
        child = 0
        if groups:
            child = shoal.get(shoal.remote(lambda: 7).options(num_cpus=1).remote())
        time.sleep(0.4)
        tune.report(begun=begun, ended=time.time(), child=child)

    resources: Any = tune.PlacementGroupFactory([{"CPU": 1}, {"CPU": 1}]) if groups else {"cpu": 2}
    results = Tuner(
        tune.with_resources(train, resources), tune_config=TuneConfig(num_samples=4), run_config=run_config()
    ).fit()
    assert results.num_errors == 0
    spans = [(result.metrics["begun"], result.metrics["ended"]) for result in results]
    together = max(sum(begun <= at < ended for begun, ended in spans) for at, _ in spans)
    assert together <= 2  # of four CPUs
    assert {result.metrics["child"] for result in results} == {7 if groups else 0}


def test_asha_ends_the_worse_ones_early(run_config: Make) -> None:
    def train(config: dict[str, Any]) -> None:
        for step in range(20):
            tune.report(score=config["x"] * (step + 1))

    results = Tuner(
        train,
        param_space={"x": tune.grid_search([9, 8, 7, 6, 5, 4, 3, 2, 1])},
        tune_config=TuneConfig(
            scheduler=ASHAScheduler(metric="score", mode="max", max_t=16, grace_period=2, reduction_factor=2),
            max_concurrent_trials=1,
        ),
        run_config=run_config(),
    ).fit()
    lengths = [result.metrics["training_iteration"] for result in results]
    assert lengths == [16, 2, 2, 2, 2, 2, 2, 2, 2]
    assert results.get_best_result().config == {"x": 9}


def test_a_budget_of_time_ends_what_never_ends(run_config: Make) -> None:
    def train(config: dict[str, Any]) -> None:
        while True:
            tune.report(a=1)
            time.sleep(0.01)

    began = time.monotonic()
    results = Tuner(
        train, tune_config=TuneConfig(num_samples=-1, time_budget_s=1.0), run_config=run_config()
    ).fit()
    assert time.monotonic() - began < 30
    assert results.num_errors == 0
    assert all(result.metrics["a"] == 1 for result in results if "a" in result.metrics)


def test_what_was_stored_is_read_by_another_program(run_config: Make) -> None:
    results = Tuner(
        square,
        param_space={"x": tune.uniform(0, 4)},
        tune_config=TuneConfig(metric="loss", mode="min", num_samples=5, seed=3),
        run_config=run_config(),
    ).fit()
    again = tune.ExperimentAnalysis(results.experiment_path)
    assert again.best_config == results.get_best_result().config
    assert len(again.trial_dataframes) == 5
    assert Tuner.can_restore(results.experiment_path)
    assert not Tuner.can_restore(os.path.dirname(results.experiment_path))


def test_a_restored_experiment_runs_what_had_not_ended_and_nothing_else(
    run_config: Make, tmp_path: Path
) -> None:
    def train(config: dict[str, Any]) -> None:
        with open(tmp_path / "ran", "a") as file:
            file.write(f"{config['x']}\n")
        if config["x"] == 2 and not (tmp_path / "mended").exists():
            raise RuntimeError("not yet")
        tune.report(x=config["x"])

    space = {"x": tune.grid_search([0, 1, 2, 3])}
    results = Tuner(train, param_space=space, run_config=run_config()).fit()
    assert results.num_errors == 1
    (tmp_path / "mended").write_text("")
    again = Tuner.restore(results.experiment_path, train, resume_errored=True)
    assert again.get_results().num_errors == 1
    found = again.fit()
    assert found.num_errors == 0
    assert sorted((tmp_path / "ran").read_text().split()) == ["0", "1", "2", "2", "3"]
    assert [result.metrics["x"] for result in found] == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Tuner(None), "needs a trainable"),
        (lambda: Tuner(3), "must be a function, a class or a trainer"),
        (lambda: Tuner(dict), "no subclass of tune.Trainable"),
        (lambda: Tuner("walk"), "no trainable is named 'walk'"),
        (lambda: Tuner(lambda a, b: None), "takes one argument"),
        (lambda: Tuner(square, param_space=[1]), "param_space must be a mapping"),
        (lambda: Tuner(square, param_space={"x": tune.uniform}), "call it"),
        (lambda: Tuner(square, tune_config={"metric": "x"}), "tune_config must be a TuneConfig"),
        (lambda: TuneConfig(mode="lowest"), "mode must be 'max' or 'min'"),
        (lambda: TuneConfig(num_samples=0), "num_samples must be at least 1"),
        (lambda: TuneConfig(time_budget_s=-1), "more than 0 seconds"),
        (lambda: TuneConfig(metric=["a", "b"], mode=["min"]), "2 metrics but 1 modes"),
        (lambda: Tuner(square, tune_config=TuneConfig(scheduler="ahsa")), "asha"),
        (lambda: Tuner.restore("/nowhere", square), "there is no experiment in /nowhere"),
        (lambda: tune.with_resources(square, {"cpu": -1}), "a number of at least 0"),
        (lambda: tune.with_resources(square, 3), "resources must be a mapping"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def _reports_as_training_functions_do(config: dict[str, Any]) -> None:
    begun = train.get_checkpoint()
    done = 0 if begun is None else int(Path(begun.path, "steps").read_text())
    assert train.get_context().get_world_size() == 1
    for step in range(done + 1, 4):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "steps").write_text(str(step))
            train.report({"step": step, "begun": done}, checkpoint=train.Checkpoint.from_directory(folder))
        if step == 2 and not done:
            raise OSError("once")
    with pytest.raises(SessionMisuseError, match="its other parameters are a trainer's"):
        train.report({"step": 4}, checkpoint_dir_name="here")


def test_what_is_reported_to_training_in_a_trial_is_the_trials(run_config: Make) -> None:
    [result] = tune.Tuner(
        _reports_as_training_functions_do,
        run_config=run_config(failure_config=tune.FailureConfig(max_failures=1)),
    ).fit()
    assert result.error is None
    assert (result.metrics["step"], result.metrics["begun"]) == (3, 2)
    assert Path(result.checkpoint.path, "steps").read_text() == "3"
    with pytest.raises(SessionMisuseError, match="this process is no worker of a run"):
        train.report({"step": 1})
