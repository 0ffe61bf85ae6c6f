"""Schedulers against the pseudo-code of their papers, in virtual time, on curves whose shape is known."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulating import Simulation

from shoal import tune
from shoal.errors import ConfigError
from shoal.tune.experiment.trial import Trial
from shoal.tune.resources import PlacementGroupFactory
from shoal.tune.schedulers import (
    PB2,
    ASHAScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    PopulationBasedTraining,
    PopulationBasedTrainingReplay,
    ResourceChangingScheduler,
    TrialScheduler,
)
from shoal.tune.schedulers.hyperband import bracket_sizes
from shoal.tune.schedulers.pbt import explore
from shoal.tune.schedulers.resource_changing_scheduler import (
    DistributeResources,
    DistributeResourcesToTopJob,
)


def climbing(config: Mapping[str, Any], step: int) -> tuple[int, dict[str, Any]]:
    """Curves that keep their order from begin to end: the score is x, approached."""
    return step + 1, {"score": config["x"] * (1 - math.exp(-(step + 1) / 10))}


class Told:
    """A scheduler, told of reports one by one."""

    def __init__(self, scheduler: TrialScheduler) -> None:
        self.scheduler = scheduler
        self.trials: dict[int, Trial] = {}

    def report(self, number: int, time: int, score: float) -> str:
        view: Any = None  # these schedulers ask nothing of it
        trial = self.trials.get(number)
        if trial is None:
            trial = self.trials[number] = Trial(str(number), number, {})
            self.scheduler.on_trial_add(view, trial)
        return self.scheduler.on_trial_result(view, trial, {"training_iteration": time, "score": score})


# ASHA


@given(st.integers(0, 2**32), st.sampled_from([2, 3, 4]), st.sampled_from([1, 2, 5]))
@settings(max_examples=60, deadline=None)
def test_asha_decides_as_its_definition_says_in_any_order_of_reports(seed: int, eta: int, grace: int) -> None:
    import numpy as np

    rng = random.Random(seed)
    max_t = 60
    told = Told(
        ASHAScheduler(metric="score", mode="max", max_t=max_t, grace_period=grace, reduction_factor=eta)
    )
    rungs: dict[int, list[float]] = {}
    milestone = grace
    while milestone < max_t:
        rungs[milestone] = []
        milestone *= eta
    alive = dict.fromkeys(range(30), 0)
    while alive:
        number = rng.choice(sorted(alive))
        alive[number] += 1
        time, score = alive[number], rng.random()
        decision = told.report(number, time, score)
        expected = "STOP" if time >= max_t else "CONTINUE"
        if time in rungs:  # Li et al.: goes on if it is in the top 1/eta of the rung
            before = rungs[time]
            if before and score < np.percentile(before, (1 - 1 / eta) * 100):
                expected = "STOP"
            before.append(score)
        assert decision == expected
        if decision == "STOP":
            del alive[number]


def test_asha_keeps_the_best_and_spends_a_part_of_the_whole() -> None:
    simulation = Simulation(
        ASHAScheduler(max_t=81, grace_period=1, reduction_factor=3),
        {"x": tune.uniform(0, 1)},
        climbing,
        samples=300,
        workers=8,
    )
    trials = simulation.run()
    best = max(trials, key=lambda trial: trial.config["x"])
    assert best.iteration == 81
    assert sum(trial.iteration for trial in trials) < 0.2 * 300 * 81
    whole = [trial.config["x"] for trial in trials if trial.iteration == 81]
    assert len(whole) < 30
    assert median(whole) > 0.9  # the first that come to a rung go on whatever they are


def test_brackets_of_asha_begin_later() -> None:
    scheduler = ASHAScheduler(
        metric="score", mode="max", max_t=27, grace_period=1, reduction_factor=3, brackets=3
    )
    simulation = Simulation(scheduler, {"x": tune.uniform(0, 1)}, climbing, samples=60, workers=4)
    lengths = [trial.iteration for trial in simulation.run()]
    assert {length for length in lengths if length < 27} <= {1, 3, 9}
    assert scheduler._dealt == [41, 14, 5]  # as 1 : 1/3 : 1/9


# HyperBand


def test_brackets_are_those_of_the_paper() -> None:
    # n = ceil((s_max + 1) / (s + 1) * eta^s), r = R * eta^-s (Li et al., 2018, algorithm 1).
    assert bracket_sizes(81, 3) == [(81, 1.0), (34, 3.0), (15, 9.0), (8, 27.0), (5, 81.0)]
    assert [size for size, _ in bracket_sizes(27, 3)] == [27, 12, 6, 4]


@given(st.integers(0, 2**32), st.integers(1, 12), st.sampled_from([(9, 3), (27, 3), (16, 2), (16, 4)]))
@settings(max_examples=25, deadline=None)
def test_hyperband_keeps_whom_the_papers_loops_keep(seed: int, workers: int, sizes: tuple[int, int]) -> None:
    max_t, eta = sizes
    brackets = bracket_sizes(max_t, eta)
    samples = sum(size for size, _ in brackets)
    rng = random.Random(seed)
    speed = [rng.uniform(0.5, 3) for _ in range(samples)]
    noise = random.Random(seed + 1)
    curves = [[noise.random() for _ in range(max_t + 1)] for _ in range(samples)]

    def step(config: Mapping[str, Any], done: int) -> tuple[int, dict[str, Any]]:
        return done + 1, {"score": curves[config["number"]][done + 1]}

    numbers = iter(range(samples))
    simulation = Simulation(
        HyperBandScheduler(max_t=max_t, reduction_factor=eta),
        {"number": tune.sample_from(lambda: next(numbers))},
        step,
        samples=samples,
        workers=workers,
        takes=lambda trial, iteration: speed[trial.number],
    )
    found = {trial.number: trial.iteration for trial in simulation.run()}
    expected: dict[int, int] = {}
    first = 0
    for size, begins in brackets:
        members = list(range(first, first + size))
        first += size
        rung = 0
        while True:
            time = min(round(begins * eta**rung), max_t)
            for number in members:
                expected[number] = time
            if time >= max_t:
                break
            members.sort(key=lambda number: (-curves[number][time], number))
            members = members[: max(1, int(size * eta ** -(rung + 1) + 1e-9))]
            rung += 1
    assert found == expected
    for reports in simulation.lengths.values():
        assert reports == list(range(1, len(reports) + 1))  # paused trials go on where they were


def test_a_bracket_that_is_never_full_halves_with_those_it_has() -> None:
    simulation = Simulation(
        HyperBandScheduler(max_t=81, reduction_factor=3),
        {"x": tune.uniform(0, 1)},
        climbing,
        samples=10,
        workers=3,
    )
    trials = simulation.run()
    assert all(trial.status == "TERMINATED" for trial in trials)
    longest = max(trials, key=lambda trial: trial.iteration)
    assert longest is max(trials, key=lambda trial: trial.config["x"])


# The median


@given(st.integers(0, 2**32))
@settings(max_examples=60, deadline=None)
def test_the_median_rule_decides_as_its_definition_says(seed: int) -> None:
    rng = random.Random(seed)
    told = Told(
        MedianStoppingRule(
            time_attr="training_iteration", metric="score", mode="max", grace_period=3, min_samples_required=3
        )
    )
    curves: dict[int, list[float]] = {}
    stopped: set[int] = set()
    for _ in range(200):
        number = rng.randrange(12)
        if number in stopped:
            continue
        curve = curves.setdefault(number, [])
        curve.append(rng.random() + number / 24)
        decision = told.report(number, len(curve), curve[-1])
        expected = "CONTINUE"
        if len(curve) >= 3:
            means = [
                sum(other[: len(curve)]) / len(other[: len(curve)])
                for key, other in curves.items()
                if key != number and len(other) >= 3
            ]
            if len(means) >= 3 and max(curve) < median(means):
                expected = "STOP"
        assert decision == expected
        if decision == "STOP":
            stopped.add(number)


# Population based training


def toy(config: Mapping[str, Any], theta: tuple[float, float]) -> tuple[tuple[float, float], dict[str, Any]]:
    """The toy problem of Jaderberg et al., 2017, figure 2: ascent on 1.2 - h0 t0² - h1 t1², scored without the h."""
    rate = 0.02
    theta = (
        theta[0] - rate * 2 * config["h0"] * theta[0],
        theta[1] - rate * 2 * config["h1"] * theta[1],
    )
    return theta, {"score": 1.2 - theta[0] ** 2 - theta[1] ** 2}


@pytest.mark.parametrize("synch", [False, True])
def test_pbt_solves_the_papers_toy_problem_which_no_fixed_configuration_does(synch: bool) -> None:
    fixed = Simulation(
        ASHAScheduler(max_t=200, grace_period=200),
        {"h0": tune.grid_search([1.0, 0.0]), "h1": tune.sample_from(lambda c: 1 - c["h0"])},
        toy,
        begin=(0.9, 0.9),
    )
    assert max(trial.last_result["score"] for trial in fixed.run()) < 0.4
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=5,
        hyperparam_mutations={"h0": tune.uniform(0, 1), "h1": tune.uniform(0, 1)},
        quantile_fraction=0.5,
        resample_probability=0.5,
        synch=synch,
        seed=3,
    )
    rng = random.Random(1)
    speed = [rng.uniform(0.8, 1.2) for _ in range(8)]
    trained = Simulation(
        scheduler,
        {"h0": tune.grid_search([1.0, 0.0]), "h1": tune.sample_from(lambda c: 1 - c["h0"])},
        toy,
        begin=(0.9, 0.9),
        samples=4,
        workers=8,
        takes=lambda trial, iteration: speed[trial.number],
        longest=200,
    )
    assert max(trial.last_result["score"] for trial in trained.run()) > 1.15
    assert scheduler.num_perturbations > 5


def test_what_is_exploited_comes_from_the_best_and_is_replayed(tmp_path: Path) -> None:
    scheduler = PopulationBasedTraining(
        time_attr="training_iteration",
        perturbation_interval=4,
        hyperparam_mutations={"x": tune.uniform(0, 1)},
        seed=1,
    )
    simulation = Simulation(
        scheduler,
        {"x": tune.uniform(0, 1)},
        lambda config, total: (total + config["x"], {"score": total + config["x"]}),
        begin=0.0,
        samples=8,
        workers=8,
        longest=40,
    )
    trials = simulation.run()
    assert scheduler.num_perturbations > 0
    first = {trial.trial_id: trial.config["x"] for trial in trials}
    trial_id, rows = max(scheduler.policies.items(), key=lambda each: len(each[1]))
    for target, source, _, _, old, new in rows:
        assert target == trial_id
        assert source != trial_id
        assert 0 <= new["x"] <= old["x"] * 1.2 or new["x"] <= 1
    policy = tmp_path / "pbt_policy.txt"
    policy.write_text(scheduler.files()[f"pbt_policy_{trial_id}.txt"])
    replay = PopulationBasedTrainingReplay(str(policy))
    seen: list[float] = []

    def step(config: Mapping[str, Any], done: int) -> tuple[int, dict[str, Any]]:
        seen.append(config["x"])
        return done + 1, {"score": 1.0}

    Simulation(replay, {"x": 0.5}, step, longest=40).run()
    assert seen[0] == rows[0][4]["x"]
    assert seen[-1] == rows[-1][5]["x"] == first[trial_id]
    assert len(seen) == 40
    with pytest.raises(ConfigError, match="no policy"):
        PopulationBasedTrainingReplay(str(tmp_path / "nothing"))


def test_exploring_draws_anew_or_goes_a_step() -> None:
    rng = random.Random(5)
    mutations = {"lr": tune.uniform(0, 1), "size": [8, 16, 32], "deep": {"n": lambda: 7}}
    seen: set[Any] = set()
    for _ in range(200):
        found = explore(
            {"lr": 0.5, "size": 16, "deep": {"n": 10}, "kept": "x"}, mutations, 0.5, (1.2, 0.8), rng
        )
        assert found["kept"] == "x"
        assert found["deep"]["n"] in (7, 12, 8)
        assert found["size"] in (8, 16, 32)
        seen.add(found["lr"] if found["lr"] in (0.6, 0.4) else "drawn")
    assert seen == {0.6, 0.4, "drawn"}


def test_pb2_finds_where_the_gain_is() -> None:
    scheduler = PB2(
        time_attr="training_iteration",
        perturbation_interval=2,
        hyperparam_bounds={"x": [0.0, 1.0]},
        seed=2,
    )

    def step(config: Mapping[str, Any], total: float) -> tuple[float, dict[str, Any]]:
        total += math.exp(-(((config["x"] - 0.7) / 0.15) ** 2))
        return total, {"score": total}

    trials = Simulation(
        scheduler, {"x": tune.uniform(0, 0.4)}, step, begin=0.0, samples=8, workers=8, longest=60
    ).run()
    assert scheduler.num_perturbations > 10
    assert median(abs(trial.config["x"] - 0.7) for trial in trials) < 0.2
    assert (
        max(trial.last_result["score"] for trial in trials) > 20
    )  # of at most 60; a configuration of the beginning comes to 1


# Resources


def test_resources_are_shared_among_those_that_are_left() -> None:
    class Uneven(TrialScheduler):
        """Ends half of the trials at their second report."""

        def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
            ends = 2 if trial.number % 2 else 6
            return self.STOP if result["training_iteration"] >= ends else self.CONTINUE

    scheduler = ResourceChangingScheduler(Uneven(), DistributeResources())
    simulation = Simulation(scheduler, {"x": tune.uniform(0, 1)}, climbing, samples=4, workers=4)
    trials = simulation.run()
    assert [trial.iteration for trial in trials] == [6, 2, 6, 2]
    assert trials[0].resources == trials[2].resources == PlacementGroupFactory([{"CPU": 2}])
    more = DistributeResources(add_bundles=True, increase_by={"CPU": 1}, increase_by_times=1)
    assert more._with(PlacementGroupFactory([{"CPU": 1}]), 1).bundles == [{"CPU": 1}, {"CPU": 1}]


def test_the_best_trial_gets_what_is_free() -> None:
    class Whole(TrialScheduler):
        def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
            return self.STOP if result["training_iteration"] >= 5 else self.CONTINUE

    scheduler = ResourceChangingScheduler(Whole(), DistributeResourcesToTopJob(metric="score", mode="max"))
    simulation = Simulation(scheduler, {"x": tune.grid_search([0.1, 0.9])}, climbing, workers=2)
    simulation.machine.nodes_have = {"CPU": 4.0}
    worse, best = simulation.run()
    assert best.resources == PlacementGroupFactory([{"CPU": 3}])
    assert worse.resources in (None, PlacementGroupFactory([{"CPU": 1}]), PlacementGroupFactory([{"CPU": 3}]))


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: ASHAScheduler(max_t=0), "max_t"),
        (lambda: ASHAScheduler(max_t=1, grace_period=2), "at least grace_period"),
        (lambda: ASHAScheduler(reduction_factor=1), "reduction_factor must be more than 1"),
        (lambda: ASHAScheduler(mode="best"), "mode must be"),
        (lambda: HyperBandScheduler(max_t=0), "max_t"),
        (lambda: MedianStoppingRule(min_samples_required=0), "min_samples_required"),
        (lambda: PopulationBasedTraining(), "hyperparam_mutations or custom_explore_fn"),
        (lambda: PopulationBasedTraining(hyperparam_mutations={"a": 3}), "must be a list, a domain"),
        (
            lambda: PopulationBasedTraining(hyperparam_mutations={"a": [1]}, quantile_fraction=0.6),
            "0 and 0.5",
        ),
        (lambda: PB2(hyperparam_bounds={"a": [1]}), "must be \\[least, most\\]"),
        (lambda: ResourceChangingScheduler("asha"), "must be a TrialScheduler"),
        (lambda: Told(ASHAScheduler()).report(1, 1, 1.0), "needs metric and mode"),
        (
            lambda: Told(ASHAScheduler(metric="scoer", mode="max")).report(1, 1, 1.0),
            "Did you mean 'score'",
        ),
    ],
)
def test_what_a_scheduler_cannot_do_is_said(make: Any, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        make()


def test_what_is_no_number_is_worst() -> None:
    told = Told(ASHAScheduler(metric="score", mode="min", max_t=9, grace_period=1, reduction_factor=2))
    assert told.report(0, 1, 5.0) == "CONTINUE"
    assert told.report(1, 1, math.nan) == "STOP"
    assert told.report(2, 1, -math.inf) == "CONTINUE"
    assert json.loads(json.dumps(told.scheduler.debug_string()))
