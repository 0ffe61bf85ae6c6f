"""How near searches come to the best that there is, on functions of the literature: means over seeds, in virtual time.

The figures in docs/tune.md are what `pytest -m slow -s tests/tune/test_tune_quality.py` prints.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Mapping, Sequence
from statistics import mean
from typing import Any

import pytest
from simulating import Simulation

from shoal import tune
from shoal.tune.schedulers import (
    ASHAScheduler,
    FIFOScheduler,
    HyperBandForBOHB,
    HyperBandScheduler,
    PopulationBasedTraining,
)
from shoal.tune.search.bohb import TuneBOHB

pytestmark = pytest.mark.slow

_SEEDS = 20
_STEPS = 27  # of the whole fidelity

_A = [
    [10, 3, 17, 3.5, 1.7, 8],
    [0.05, 10, 17, 0.1, 8, 14],
    [3, 3.5, 1.7, 10, 17, 8],
    [17, 8, 0.05, 10, 0.1, 14],
]
_P = [
    [0.1312, 0.1696, 0.5569, 0.0124, 0.8283, 0.5886],
    [0.2329, 0.4135, 0.8307, 0.3736, 0.1004, 0.9991],
    [0.2348, 0.1451, 0.3522, 0.2883, 0.3047, 0.6650],
    [0.4047, 0.8828, 0.8732, 0.5743, 0.1091, 0.0381],
]


def _hartmann(x: Sequence[float], z: float) -> float:
    """Hartmann's function of six variables at fidelity z, as in Kandasamy et al. (2017); its least is −3.32."""
    weights = [each - 0.1 * (1 - z) for each in (1.0, 1.2, 3.0, 3.2)]
    return -sum(
        weight * math.exp(-sum(a * (value - p) ** 2 for a, p, value in zip(row, at, x, strict=True)))
        for weight, row, at in zip(weights, _A, _P, strict=True)
    )


def _branin(x: Sequence[float], z: float) -> float:
    """Branin's function at fidelity z, as in Kandasamy et al. (2017); the least at z = 1 is 0.397887."""
    one, two = 15 * x[0] - 5, 15 * x[1]
    b, c, t = (
        5.1 / (4 * math.pi**2) - 0.01 * (1 - z),
        5 / math.pi - 0.1 * (1 - z),
        1 / (8 * math.pi) + 0.05 * (1 - z),
    )
    return (two - b * one**2 + c * one - 6) ** 2 + 10 * (1 - t) * math.cos(one) + 10


_PROBLEMS = {"Hartmann 6": (_hartmann, 6, -3.32237), "Branin": (_branin, 2, 0.397887)}


def _search(problem: str, scheduler: Any, seed: int, samples: int, searcher: Any = None) -> tuple[float, int]:
    """Run one search; return the regret of the best configuration that was tried to the end, and the steps in all."""
    function, size, least = _PROBLEMS[problem]
    tried: list[float] = []
    steps = [0]

    def step(config: Mapping[str, Any], at: int) -> tuple[int, dict[str, Any]]:
        steps[0] += 1
        x = [config[f"x{index}"] for index in range(size)]
        loss = function(x, (at + 1) / _STEPS)
        if at + 1 == _STEPS:
            tried.append(loss)
        return at + 1, {"loss": loss}

    space = {f"x{index}": tune.uniform(0, 1) for index in range(size)}
    Simulation(
        scheduler,
        space,
        step,
        samples=samples,
        longest=_STEPS,
        metric="loss",
        mode="min",
        seed=seed,
        searcher=searcher,
    ).run()
    return min(tried) - least, steps[0]


def _show(name: str, **figures: float) -> None:
    sys.stdout.write(f"{name}: " + ", ".join(f"{key} {value:.3f}" for key, value in figures.items()) + "\n")


@pytest.mark.parametrize("problem", list(_PROBLEMS))
def test_regret_at_the_same_number_of_steps(problem: str) -> None:
    regrets: dict[str, list[float]] = {"random": [], "asha": [], "hyperband": [], "bohb": []}
    for seed in range(_SEEDS):
        found, steps = _search(
            problem, ASHAScheduler(max_t=_STEPS, grace_period=1, reduction_factor=3), seed, 200
        )
        regrets["asha"].append(found)
        regrets["random"].append(_search(problem, FIFOScheduler(), seed, max(1, steps // _STEPS))[0])
        band, used = _search(problem, HyperBandScheduler(max_t=_STEPS, reduction_factor=3), seed, 147)
        model, also = _search(
            problem, HyperBandForBOHB(max_t=_STEPS, reduction_factor=3), seed, 147, TuneBOHB(seed=seed)
        )
        assert 0.8 < used / also < 1.25
        regrets["hyperband"].append(band)
        regrets["bohb"].append(model)
    means = {name: mean(values) for name, values in regrets.items()}
    _show(problem, **means)
    for name in ("asha", "hyperband", "bohb"):
        assert means[name] < 0.65 * means["random"], name
    if (
        problem == "Hartmann 6"
    ):  # with two variables, and a cheap view that misleads, chance does as well as a model
        assert means["bohb"] < means["hyperband"]


def test_pbt_finds_the_schedule_that_no_fixed_choice_has() -> None:
    """The example of Jaderberg et al. (2017): the gradient is of 1.2 − h0 θ0² − h1 θ1², the score 1.2 − θ0² − θ1²."""

    def step(
        config: Mapping[str, Any], state: tuple[float, float]
    ) -> tuple[tuple[float, float], dict[str, Any]]:
        one, two = state
        for _ in range(4):
            one, two = one - 0.02 * config["h0"] * one, two - 0.02 * config["h1"] * two
        return (one, two), {"score": 1.2 - one**2 - two**2}

    found: dict[str, list[float]] = {"pbt": [], "fixed": []}
    for seed in range(_SEEDS):
        for name, scheduler in (
            ("fixed", FIFOScheduler()),
            (
                "pbt",
                PopulationBasedTraining(
                    "training_iteration",
                    perturbation_interval=4,
                    hyperparam_mutations={"h0": tune.uniform(0, 1), "h1": tune.uniform(0, 1)},
                    quantile_fraction=0.5,
                    resample_probability=0.5,
                    seed=seed,
                ),
            ),
        ):
            # Two workers of which each has one of the two right, as in the paper.
            rng = random.Random(seed)
            space = {
                "h": tune.grid_search([0, 1]),
                "h0": tune.sample_from(lambda config: float(config["h"] == 0)),
                "h1": tune.sample_from(lambda config: float(config["h"] == 1)),
            }
            run = Simulation(
                scheduler, space, step, begin=(0.9, 0.9), workers=2, longest=200, seed=rng.randrange(1000)
            )
            found[name].append(max(trial.last_result["score"] for trial in run.run()))
    means = {name: mean(values) for name, values in found.items()}
    _show("1.2 − θ²", **means)
    assert means["fixed"] < 0.4
    assert means["pbt"] > 1.1
