"""The same seed gives the same decisions, whatever takes long; searchers learn from past experiments."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.schedulers import ASHAScheduler, HyperBandScheduler, PopulationBasedTraining
from shoal.tune.search.bohb import TuneBOHB
from shoal.tune.search.optuna import OptunaSearch
from shoal.tune.state import ExperimentFile
from shoal.tune.stopper import TimeoutStopper

pytestmark = pytest.mark.usefixtures("session")


class _Curve(tune.Trainable):
    """A curve whose steps take as long as chance says, which is another one in each experiment."""

    delays = 0

    def setup(self, config: dict[str, Any]) -> None:
        self.x, self.at = float(config["x"]), 0
        self.chance = random.Random(f"{self.delays} {self.x}")

    def step(self) -> dict[str, Any]:
        time.sleep(self.chance.random() * 0.02)
        self.at += 1
        return {"loss": (self.x - 0.3) ** 2 + 1 / self.at, "done": self.at >= 12}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {"at": self.at}

    def load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.at = checkpoint["at"]


def _decisions(folder: Path, delays: int, scheduler: Any, searcher: Any, seed: int = 5) -> list[Any]:
    """Everything that the experiment has come to, in the order in which it did."""
    made = type("_Curve", (_Curve,), {"delays": delays})
    results = tune.Tuner(
        made,
        param_space={"x": tune.uniform(0, 1)},
        tune_config=tune.TuneConfig(
            metric="loss",
            mode="min",
            num_samples=9,
            max_concurrent_trials=3,
            scheduler=scheduler,
            search_alg=searcher,
            seed=seed,
            deterministic=True,
        ),
        run_config=tune.RunConfig(name=f"d{delays}", storage_path=str(folder), verbose=0),
    ).fit()
    assert results.num_errors == 0
    from shoal.train.storage import Storage, locate

    storage = Storage(*locate(results.experiment_path), patience=5.0)
    with ExperimentFile(storage, create=False, read_only=True) as file:
        reports = [
            (number, result["training_iteration"], result["loss"]) for _, number, result in file.all_reports()
        ]
        trials = [(trial.trial_id, trial.status, trial.config, trial.iteration) for trial in file.trials()]
    return [*trials, *reports]


@pytest.mark.parametrize(
    ("scheduler", "searcher"),
    [
        (lambda: ASHAScheduler(max_t=12, grace_period=1, reduction_factor=3), lambda: None),
        (lambda: HyperBandScheduler(max_t=9, reduction_factor=3), lambda: None),
        (
            lambda: PopulationBasedTraining(
                "training_iteration", perturbation_interval=3, hyperparam_mutations={"x": tune.uniform(0, 1)}
            ),
            lambda: None,
        ),
        (lambda: None, lambda: TuneBOHB()),
        (
            lambda: ASHAScheduler(max_t=12, grace_period=1, reduction_factor=3),
            lambda: pytest.importorskip("optuna") and OptunaSearch(),
        ),
    ],
    ids=["asha", "hyperband", "pbt", "bohb", "asha with optuna"],
)
def test_decisions_do_not_depend_on_how_long_things_take(
    tmp_path: Path, scheduler: Callable[[], Any], searcher: Callable[[], Any]
) -> None:
    found = [_decisions(tmp_path, delays, scheduler(), searcher()) for delays in (1, 2, 3)]
    assert found[0] == found[1] == found[2]
    assert len({entry[0] for entry in found[0][:9]}) == 9
    other = _decisions(tmp_path, 4, scheduler(), searcher(), seed=6)
    assert other != found[0]


def test_what_decides_by_time_is_refused() -> None:
    def tuner(run_config: Any = None, **options: Any) -> Any:
        return tune.Tuner(
            _Curve,
            param_space={"x": 1},
            tune_config=tune.TuneConfig(metric="loss", mode="min", deterministic=True, **options),
            run_config=run_config,
        ).fit()

    mutations = {"x": tune.uniform(0, 1)}
    with pytest.raises(
        ConfigError, match="PopulationBasedTraining counts 'time_total_s', which depends on time"
    ):
        tuner(scheduler=PopulationBasedTraining(hyperparam_mutations=mutations))
    with pytest.raises(ConfigError, match="time_budget_s depends on time"):
        tuner(time_budget_s=3)
    with pytest.raises(ConfigError, match="TimeoutStopper depends on time"):
        tuner(tune.RunConfig(stop=TimeoutStopper(3)))


def test_a_searcher_begins_with_what_past_experiments_found(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    space = {"x": tune.uniform(0, 1)}

    def run(name: str, samples: int, searcher: Any = None, past: Any = None) -> Any:
        return tune.Tuner(
            lambda config: {"loss": abs(config["x"] - 0.7)},
            param_space=space,
            tune_config=tune.TuneConfig(
                metric="loss", mode="min", num_samples=samples, search_alg=searcher, seed=1, warm_start=past
            ),
            run_config=tune.RunConfig(name=name, storage_path=str(tmp_path), verbose=0),
        ).fit()

    past = run("past", 60)
    for given in (str(tmp_path / "past"), past, [past]):
        searcher = OptunaSearch()
        results = run("next", 5, searcher, given)
        assert len(searcher.study.trials) == 65
        assert sum(abs(result.config["x"] - 0.7) < 0.15 for result in results) >= 4
    with pytest.raises(ConfigError, match="grids and chance learn nothing"):
        run("next", 2, None, past)
    with pytest.raises(ConfigError, match="there is no experiment in"):
        run("next", 2, OptunaSearch(), str(tmp_path / "none"))
    with pytest.raises(ConfigError, match="takes experiments' folders or results, not 3"):
        run("next", 2, OptunaSearch(), 3)
