"""The contracts, over every searcher and scheduler whose library is here; wrappers; and what libraries cannot do."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from shoal import tune
from shoal.errors import ConfigError, PluginNotFound
from shoal.tune.schedulers import (
    PB2,
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    ResourceChangingScheduler,
    TrialScheduler,
)
from shoal.tune.search import ConcurrencyLimiter, Repeater, SearchGenerator
from shoal.tune.search.bohb import TuneBOHB
from shoal.tune.search.searcher import Searcher
from shoal.tune.testing import SchedulerContract, SearcherContract


class TestOptuna(SearcherContract):
    def make(self, **options: Any) -> Searcher:
        pytest.importorskip("optuna")
        from shoal.tune.search.optuna import OptunaSearch

        return OptunaSearch(seed=3, **options)


class TestHyperOpt(SearcherContract):
    def make(self, **options: Any) -> Searcher:
        pytest.importorskip("hyperopt")
        from shoal.tune.search.hyperopt import HyperOptSearch

        return HyperOptSearch(random_state_seed=3, n_initial_points=10, **options)


class TestBayesOpt(SearcherContract):
    numbers_only = True

    def make(self, **options: Any) -> Searcher:
        pytest.importorskip("bayes_opt")
        from shoal.tune.search.bayesopt import BayesOptSearch

        return BayesOptSearch(random_state=3, **options)


class TestNevergrad(SearcherContract):
    def make(self, **options: Any) -> Searcher:
        pytest.importorskip("nevergrad")
        from shoal.tune.search.nevergrad import NevergradSearch

        return NevergradSearch("TwoPointsDE", **options)

    learns = False  # forty points are a first generation


class TestBohb(SearcherContract):
    def make(self, **options: Any) -> Searcher:
        return TuneBOHB(seed=4, bohb_config={"random_fraction": 0.1}, **options)


class TestAx(SearcherContract):
    def make(self, **options: Any) -> Searcher:
        pytest.importorskip("ax")
        from shoal.tune.search.ax import AxSearch

        return AxSearch(**options)


class TestLimiter(SearcherContract):
    def make(self, **options: Any) -> Searcher:
        return ConcurrencyLimiter(TuneBOHB(seed=4, **options), max_concurrent=4)

    learns = False


class TestRepeater(SearcherContract):
    def make(self, **options: Any) -> Searcher:
        return Repeater(TuneBOHB(seed=4, **options), repeat=2)

    learns = False


class TestFifo(SchedulerContract):
    def make(self) -> TrialScheduler:
        return FIFOScheduler()


class TestAsha(SchedulerContract):
    def make(self) -> TrialScheduler:
        return ASHAScheduler(metric="score", mode="max", max_t=16, reduction_factor=2)


class TestHyperBand(SchedulerContract):
    def make(self) -> TrialScheduler:
        return HyperBandScheduler(metric="score", mode="max", max_t=9)


class TestHyperBandForBohb(SchedulerContract):
    def make(self) -> TrialScheduler:
        return HyperBandForBOHB(metric="score", mode="max", max_t=9)


class TestMedian(SchedulerContract):
    def make(self) -> TrialScheduler:
        return MedianStoppingRule("training_iteration", "score", "max", grace_period=2)


class TestPausingMedian(SchedulerContract):
    def make(self) -> TrialScheduler:
        return MedianStoppingRule("training_iteration", "score", "max", grace_period=2, hard_stop=False)


class TestPbt(SchedulerContract):
    def make(self) -> TrialScheduler:
        return PopulationBasedTraining(
            "training_iteration", "score", "max", 3, hyperparam_mutations={"x": tune.uniform(0, 1)}, seed=1
        )


class TestPb2(SchedulerContract):
    def make(self) -> TrialScheduler:
        return PB2("training_iteration", "score", "max", 3, hyperparam_bounds={"x": [0, 1]}, seed=1)


class TestResourceChanging(SchedulerContract):
    def make(self) -> TrialScheduler:
        return ResourceChangingScheduler(ASHAScheduler(metric="score", mode="max", max_t=16))


def test_a_limiter_keeps_to_its_bound_and_tells_batches() -> None:
    limiter = ConcurrencyLimiter(TuneBOHB(seed=1), max_concurrent=2, batch=True)
    limiter.set_search_properties("loss", "min", {"x": tune.uniform(0, 1)})
    assert limiter.suggest("a") is not None
    assert limiter.suggest("b") is not None
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("a", {"loss": 1.0, "training_iteration": 1})
    assert limiter.suggest("c") is None
    limiter.on_trial_complete("b", {"loss": 2.0, "training_iteration": 1})
    assert limiter.suggest("c") is not None


def test_a_repeater_tells_the_mean() -> None:
    class Told(Searcher):
        def __init__(self) -> None:
            super().__init__("loss", "min")
            self.told: list[tuple[str, float]] = []

        def suggest(self, trial_id: str) -> Any:
            return {"x": len(self.told)}

        def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:
            self.told.append((trial_id, result["loss"]))

    inner = Told()
    repeater = Repeater(inner, repeat=3)
    configs = [repeater.suggest(f"t{number}") for number in range(4)]
    assert [config["__trial_index__"] for config in configs] == [0, 1, 2, 0]
    for number, loss in enumerate([1.0, 2.0, 6.0]):
        repeater.on_trial_complete(f"t{number}", {"loss": loss})
    assert inner.told == [("t0", 3.0)]


def test_optuna_defines_by_running_and_seeks_several_objectives() -> None:
    pytest.importorskip("optuna")
    from shoal.tune.search.optuna import OptunaSearch

    def space(trial: Any) -> dict[str, Any]:
        if trial.suggest_categorical("kind", ["a", "b"]) == "a":
            trial.suggest_float("x", 0, 1)
        return {"constant": 3}

    searcher = OptunaSearch(space, metric=["a", "b"], mode=["min", "max"], seed=1)
    seen = set()
    for number in range(20):
        config = searcher.suggest(f"t{number}")
        seen.add(frozenset(config))
        searcher.on_trial_complete(f"t{number}", {"a": number, "b": number})
    assert seen == {frozenset({"kind", "x", "constant"}), frozenset({"kind", "constant"})}
    assert len(searcher.study.best_trials) == 20  # each beats every other one in one objective
    learned = OptunaSearch({"x": tune.uniform(0, 1)}, "loss", "min", seed=1)
    learned.add_evaluated_point({"x": 0.5}, 3.0)
    assert [trial.value for trial in learned.study.trials] == [3.0]


def test_bohb_takes_a_configspace() -> None:
    spaces = pytest.importorskip("ConfigSpace")
    space = spaces.ConfigurationSpace({"x": (0.5, 2.5), "n": (1, 5), "kind": ["a", "b"]}, seed=1)
    searcher = TuneBOHB(space, metric="loss", mode="min", seed=1)
    for number in range(20):
        config = searcher.suggest(str(number))
        assert 0.5 <= config["x"] <= 2.5
        assert config["n"] in range(1, 6)
        assert config["kind"] in ("a", "b")


@pytest.mark.parametrize(
    ("name", "module", "package", "options"),
    [
        ("ax", "ax", "ax-platform", {}),
        ("hebo", "hebo", "HEBO", {}),
        ("zoopt", "zoopt", "zoopt", {"budget": 10}),
    ],
)
def test_a_library_that_is_missing_is_named_with_its_versions(
    name: str, module: str, package: str, options: dict[str, Any]
) -> None:
    if importlib.util.find_spec(module) is not None:
        pytest.skip("it is here")
    with pytest.raises(ConfigError, match=rf"needs the package {package} \(>=\d"):
        tune.create_searcher(name, **options)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: TuneBOHB(mode="best"), "mode must be"),
        (lambda: TuneBOHB(bohb_config={"top": 1}), "bohb_config has no top"),
        (lambda: TuneBOHB({"x": tune.uniform(0, 1)}).suggest("a"), "needs metric and mode"),
        (lambda: TuneBOHB({}, metric="a", mode="min").suggest("a"), "needs a search space"),
        (lambda: TuneBOHB({"x": 3}, metric="a", mode="min").suggest("a"), "nothing to search for"),
        (
            lambda: TuneBOHB({"x": tune.grid_search([1])}, metric="a", mode="min").suggest("a"),
            "goes through no grids",
        ),
        (
            lambda: TuneBOHB({"x": tune.sample_from(lambda: 1)}, metric="a", mode="min").suggest("a"),
            "which a function makes",
        ),
        (
            lambda: TuneBOHB({"x": tune.choice([{"y": tune.uniform(0, 1)}])}, metric="a", mode="min").suggest(
                "a"
            ),
            "no space within a choice",
        ),
        (lambda: ConcurrencyLimiter(3, 1), "must be a Searcher"),
        (lambda: Repeater(TuneBOHB(), 0), "at least 1"),
        (lambda: SearchGenerator(3), "must be a Searcher"),
    ],
)
def test_what_a_searcher_cannot_do_is_said(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_searchers_and_schedulers_are_found_by_name() -> None:
    assert isinstance(tune.create_scheduler("asha", max_t=9), ASHAScheduler)
    assert isinstance(tune.create_searcher("bohb"), TuneBOHB)
    with pytest.raises(PluginNotFound, match="median_stopping_rule"):
        tune.create_scheduler("medain")
