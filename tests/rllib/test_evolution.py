"""ES and ARS: steps against their papers, learning by tasks, checkpoints."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from corridor import Corridor
from small_environments import Centre

import shoal
from shoal.errors import ConfigError
from shoal.rllib.algorithms.ars import ARSConfig
from shoal.rllib.algorithms.es import ESConfig, centred_ranks
from shoal.rllib.evolution import noise_of, play_changed

SETTINGS: dict[Any, dict[str, Any]] = {
    ESConfig: {"episodes_per_batch": 40, "noise_stdev": 0.1, "stepsize": 0.1, "l2_coeff": 0.001},
    ARSConfig: {"num_rollouts": 16, "rollouts_used": 8, "noise_stdev": 0.1, "sgd_stepsize": 0.1},
}


def config(kind: Any, env: Any = Corridor) -> Any:
    made = kind().environment(env).training(model={"fcnet_hiddens": [8]}, **SETTINGS[kind])
    return made.debugging(seed=2)


@pytest.mark.parametrize("kind", [ESConfig, ARSConfig])
@pytest.mark.parametrize("env", [Corridor, Centre])
def test_it_learns(kind: Any, env: Any) -> None:
    algorithm = config(kind, env).build()
    first = algorithm.train()["learners"]["default_policy"]["return_of_changes_mean"]
    for _ in range(24):
        last = algorithm.train()["learners"]["default_policy"]["return_of_changes_mean"]
    if env is Corridor:
        assert [algorithm.compute_single_action(np.array([at / 5], np.float32)) for at in range(5)] == [1] * 5
    else:
        assert last > first / 2, "returns are costs"


@pytest.mark.processes
@pytest.mark.parametrize("kind", [ESConfig, ARSConfig])
def test_tasks_play_as_this_process_does(kind: Any) -> None:
    """Numbers travel, changes and episodes follow of them: the weights are the same to the last bit."""
    here = config(kind).build()
    with shoal.init(num_cpus=2):
        there = config(kind).env_runners(num_env_runners=4).build()
        for _ in range(3):
            here.train()
            there.train()
        there.stop()
    assert (here.weights == there.weights).all()
    assert here.train()["num_env_steps_sampled_lifetime"] > there._steps


@pytest.mark.parametrize("kind", [ESConfig, ARSConfig])
def test_a_checkpoint_goes_on_exactly(kind: Any, tmp_path: Path) -> None:
    algorithm = config(kind).build()
    algorithm.train()
    other = config(kind).debugging(seed=9).build()
    other.restore(algorithm.save(tmp_path))
    for each in (algorithm, other):
        each.train()
    assert (algorithm.weights == other.weights).all()


def test_arss_step_is_the_papers() -> None:
    algorithm = config(ARSConfig).build()
    weights = algorithm.weights
    plus, minus, seeds = np.arange(16.0) % 7, np.arange(16.0) % 5, list(range(16))
    best = np.maximum(plus, minus).argsort()[::-1][:8].tolist()
    spread = np.std([plus[each] for each in best] + [minus[each] for each in best])
    along = sum((plus[each] - minus[each]) * noise_of(seeds[each], len(weights)) for each in best)
    expected = weights + 0.1 / (8 * spread) * along
    assert np.allclose(algorithm.step_of(plus, minus, seeds, weights), expected, atol=1e-5)
    assert (algorithm.step_of(np.ones(16), np.ones(16), seeds, weights) == weights).all(), (
        "nothing is learned"
    )


def test_ranks_are_places() -> None:
    assert centred_ranks(np.array([[3.0, 1.0], [2.0, 10.0]])).ravel() == pytest.approx(
        [1 / 6, -0.5, -1 / 6, 0.5]
    )


def test_both_ways_of_a_change_begin_alike() -> None:
    algorithm = config(ESConfig, Centre).build()
    nothing = np.zeros_like(algorithm.weights)
    found = [
        play_changed(algorithm._contest, nothing, np.zeros(1), np.ones(1), seed)[:2] for seed in (1, 1, 2)
    ]
    assert found[0] == found[1]
    assert found[0] != found[2]


@pytest.mark.parametrize("kind", [ESConfig, ARSConfig])
def test_wrong_settings_are_told(kind: Any) -> None:
    with pytest.raises(ConfigError, match="noise_stdev must be a number > 0"):
        kind().training(noise_stdev=0)
    with pytest.raises(ConfigError, match="did you mean noise_stdev"):
        kind().training(noise_stdv=1)
    with pytest.raises(ConfigError, match="observation_filter must be one of NoFilter"):
        kind().env_runners(observation_filter="Some")
    with pytest.raises(ConfigError, match="rollouts_used=9 is more than num_rollouts=8"):
        ARSConfig().environment(Corridor).training(rollouts_used=9, num_rollouts=8).build()
