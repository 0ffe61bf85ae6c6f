"""Parts of searchers and schedulers that programs use by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.experiment.trial import Trial
from shoal.tune.schedulers import HyperBandScheduler, PopulationBasedTraining, ResourceChangingScheduler
from shoal.tune.search import BasicVariantGenerator, SearchGenerator
from shoal.tune.search.bayesopt import BayesOptSearch
from shoal.tune.search.bohb import TuneBOHB
from shoal.tune.search.hyperopt import HyperOptSearch
from shoal.tune.search.nevergrad import NevergradSearch
from shoal.tune.search.optuna import OptunaSearch
from shoal.tune.search.variant_generator import RecursiveDependencyError, generate_variants
from shoal.tune.stopper import ExperimentPlateauStopper

_SPACE = {
    "lr": tune.loguniform(1e-4, 1),
    "deep": {"width": tune.randint(1, 9)},
    "kind": tune.choice(["a", "b"]),
    "fixed": 3,
}


def test_spaces_are_converted_to_other_libraries() -> None:
    optuna = pytest.importorskip("optuna")
    found = OptunaSearch.convert_search_space(_SPACE)
    assert found["lr"] == optuna.distributions.FloatDistribution(1e-4, 1, log=True)
    assert found["deep/width"] == optuna.distributions.IntDistribution(1, 8)
    assert found["kind"].choices == ("a", "b")
    numbers = {"x": tune.uniform(0, 2), "fixed": 3}
    assert BayesOptSearch.convert_search_space(numbers) == {"x": (0, 2)}
    assert BayesOptSearch.convert_search_space(numbers, join=True) == {"x": (0, 2), "fixed": 3}
    with pytest.raises(ConfigError, match="searches numbers only; kind"):
        BayesOptSearch.convert_search_space(_SPACE)


def test_spaces_are_converted_to_configspace() -> None:
    pytest.importorskip("ConfigSpace")
    space = TuneBOHB.convert_search_space(_SPACE)
    assert set(space) == {"lr", "deep/width", "kind"}
    assert (space["lr"].lower, space["lr"].upper, space["lr"].log) == (1e-4, 1, True)
    assert TuneBOHB(space=space, metric="loss", mode="min").suggest("t") is not None


def test_spaces_are_converted_to_hyperopt() -> None:
    hyperopt = pytest.importorskip("hyperopt")
    space = HyperOptSearch.convert_search_space(_SPACE, prefix="p")
    drawn = hyperopt.pyll.stochastic.sample(space)
    assert set(drawn) == {"lr", "deep/width", "kind"}
    assert 1e-4 <= drawn["lr"] <= 1


def test_spaces_are_converted_to_nevergrad() -> None:
    pytest.importorskip("nevergrad")
    value = NevergradSearch.convert_search_space(_SPACE).sample().value
    assert set(value) == {"lr", "deep/width", "kind"}


def _goes_through(made: Any) -> list[dict[str, Any]]:
    trials = []
    while (trial := made.next_trial()) is not None:
        trials.append(trial)
    assert [trial.number for trial in trials] == list(range(len(trials)))
    return [trial.config for trial in trials]


def test_search_algorithms_go_through_an_experiment_by_themselves(tmp_path: Path) -> None:
    experiment = tune.Experiment(
        "e",
        lambda config: None,
        config={"a": tune.grid_search([1, 2]), "b": tune.uniform(0, 1)},
        num_samples=2,
    )
    whole = BasicVariantGenerator(random_state=3)
    whole.add_configurations(experiment)
    expected = _goes_through(whole)
    assert [config["a"] for config in expected] == [1, 2, 1, 2]
    half, rest = BasicVariantGenerator(random_state=3), BasicVariantGenerator()
    half.add_configurations([experiment])
    first = half.next_trial()
    assert first is not None
    assert not rest.has_checkpoint(str(tmp_path))
    half.save_to_dir(str(tmp_path), "one")
    rest.add_configurations(experiment)
    rest.restore_from_dir(str(tmp_path))
    assert [first.config, *_goes_through(rest)] == expected
    with pytest.raises(ConfigError, match="one experiment's space, not 2"):
        whole.add_configurations([experiment, experiment])
    with pytest.raises(FileNotFoundError):
        SearchGenerator(TuneBOHB()).restore_from_dir(str(tmp_path / "none"))


def test_functions_that_need_each_other_are_told() -> None:
    space = {
        "a": tune.sample_from(lambda config: config["b"]),
        "b": tune.sample_from(lambda config: config["a"]),
    }
    with pytest.raises(RecursiveDependencyError, match="the functions of a, b need each other"):
        list(generate_variants(space))
    domain = tune.sample_from(lambda config: config["x"] * 2)
    assert domain.default_sampler_cls().sample(domain, {"x": 2}) == 4
    assert domain.default_sampler_cls().sample(domain, {"x": 2}, size=2) == [4, 4]


def test_schedulers_say_how_they_stand() -> None:
    assert HyperBandScheduler(metric="loss", mode="min").state() == {"num_brackets": 0, "num_stopped": 0}
    pbt = PopulationBasedTraining(metric="loss", mode="min", hyperparam_mutations={"lr": [1, 2]})
    one, two, three = (Trial(name, number, {}) for number, name in enumerate("abc"))
    two.set_status(Trial.TERMINATED)
    pbt.scores = {"a": 1.0, "b": 2.0}
    assert pbt.last_scores([one, two, three]) == [1.0]
    pbt.num_perturbations = 4
    pbt.reset_stats()
    assert pbt.num_perturbations == 0
    changing = ResourceChangingScheduler()
    assert changing.base_trial_resources is None
    assert changing.set_trial_resources(one, {"CPU": 2})
    assert not changing.set_trial_resources(one, {"CPU": 2})
    stopper = ExperimentPlateauStopper("loss", top=2, patience=5)
    assert not stopper.has_plateaued()
    for _ in range(2):
        stopper("t", {"loss": 1.0})
    assert stopper.has_plateaued()
    assert not stopper.stop_all()


@pytest.mark.usefixtures("session")
def test_a_trial_knows_its_folder_and_name(run_config: Any, tmp_path: Path) -> None:
    class Says(tune.Trainable):
        def step(self) -> dict[str, Any]:
            return {"where": self.logdir, "name": self.trial_name, "id": self.trial_id, "done": True}

    (result,) = list(tune.Tuner(Says, run_config=run_config()).fit())
    assert result.metrics["where"] == result.path
    assert result.metrics["name"] == f"Says_{result.metrics['id']}"
