"""Learning from recorded episodes: what is recorded, what is read, what is learned of it."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from corridor import Corridor
from small_environments import Centre

import shoal
import shoal.data
from shoal.errors import ConfigError
from shoal.rllib.algorithms.bc import BCConfig
from shoal.rllib.algorithms.cql import CQLConfig
from shoal.rllib.algorithms.dqn import DQNConfig
from shoal.rllib.algorithms.iql import IQLConfig
from shoal.rllib.algorithms.iql.iql import expectile_loss
from shoal.rllib.algorithms.marwil import MARWILConfig
from shoal.rllib.algorithms.td3 import TD3Config
from shoal.rllib.offline import record_episodes

SMALL = {"fcnet_hiddens": [32], "fcnet_activation": "relu"}
WALKED = [np.array([place / 5], np.float32) for place in range(5)]

pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    with shoal.init(num_cpus=2):
        yield


@pytest.fixture(scope="module")
def steps(session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes in the corridor of a policy that goes right in three of five steps."""
    folder = tmp_path_factory.mktemp("steps")
    algorithm = (
        DQNConfig().environment(Corridor).training(epsilon=0.8, model=SMALL, lr=3e-3).debugging(seed=1)
    )
    learner = algorithm.training(num_steps_sampled_before_learning_starts=100).build()
    for _ in range(2):
        learner.train()
    record_episodes(learner, folder, episodes=150, seed=3)
    learner.stop()
    return folder


@pytest.fixture(scope="module")
def moves(session: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Episodes of a policy that moves to the middle, with much noise."""
    folder = tmp_path_factory.mktemp("moves")
    config = TD3Config().environment(Centre).training(noise=0.4, lr=3e-3, model=SMALL).debugging(seed=1)
    learner = config.training(num_steps_sampled_before_learning_starts=200).build()
    learner.train()
    record_episodes(learner, folder, episodes=400, file_format="json", seed=3)
    learner.stop()
    return folder


def config(kind: Any, env: Any, data: Any, **training: Any) -> Any:
    made = kind().environment(env).offline_data(input_=str(data), dataset_num_iters_per_learner=150)
    return made.training(lr=3e-3, train_batch_size=256, model=SMALL, **training).debugging(seed=1)


@pytest.mark.parametrize(
    ("kind", "training"),
    [
        (BCConfig, {}),
        (MARWILConfig, {"beta": 1.0, "moving_average_sqd_adv_norm_start": 1.0}),
        (CQLConfig, {"min_q_weight": 0.5, "gamma": 0.95, "target_entropy": 0.1, "tau": 0.02}),
        (IQLConfig, {"beta": 10.0, "gamma": 0.95, "tau": 0.02}),
    ],
    ids=["bc", "marwil", "cql", "iql"],
)
def test_it_learns_choices_from_what_was_recorded(kind: Any, training: dict[str, Any], steps: Path) -> None:
    algorithm = config(kind, Corridor, steps, **training).build()
    for _ in range(4):
        result = algorithm.train()
    assert [algorithm.compute_single_action(each, explore=False) for each in WALKED] == [1] * 5
    assert result["num_rows_trained_lifetime"] == 4 * 150 * 256
    assert result["num_env_steps_sampled_lifetime"] == 0
    algorithm.stop()


@pytest.mark.parametrize(
    ("kind", "training"),
    [(BCConfig, {}), (MARWILConfig, {}), (CQLConfig, {"min_q_weight": 0.1}), (IQLConfig, {"tau": 0.02})],
    ids=["bc", "marwil", "cql", "iql"],
)
def test_it_learns_real_actions_from_what_was_recorded(
    kind: Any, training: dict[str, Any], moves: Path
) -> None:
    algorithm = config(kind, Centre, moves, **training).build()
    for _ in range(3):
        algorithm.train()
    for at in (-0.4, 0.0, 0.3):
        [move] = algorithm.compute_single_action(np.array([at], np.float32), explore=False)
        assert at + move == pytest.approx(0, abs=0.3), at


def test_better_actions_count_for_more(session: None) -> None:
    """Where two of three recorded actions are bad, imitation does what is done mostly, MARWIL and IQL what went
    well."""
    random = np.random.default_rng(0)
    rows = []
    for number in range(600):
        good = int(random.random() < 0.33)
        rows.append(
            {
                "eps_id": number,
                "t": 0,
                "obs": [0.5],
                "new_obs": [0.5],
                "actions": good,
                "rewards": 1.0 if good else -1.0,
                "terminateds": True,
            }
        )
    data = shoal.data.from_items(rows)
    for kind, training, wanted in (
        (BCConfig, {}, 0),
        (MARWILConfig, {"moving_average_sqd_adv_norm_start": 1.0}, 1),
        (IQLConfig, {}, 1),
        (CQLConfig, {"target_entropy": 0.1, "min_q_weight": 0.1}, 1),
    ):
        made = config(kind, Corridor, "unused", **training).offline_data(input_=data)
        algorithm = made.build()
        algorithm.train()
        assert algorithm.compute_single_action(np.array([0.5], np.float32), explore=False) == wanted, kind


def test_what_is_recorded_is_what_was_played(steps: Path) -> None:
    rows = shoal.data.read_parquet(str(steps)).sort(["eps_id", "t"]).take_all()
    assert len({row["eps_id"] for row in rows}) == 150
    for before, after in itertools.pairwise(rows):
        if before["eps_id"] == after["eps_id"]:
            assert before["new_obs"] == after["obs"]
            assert after["t"] == before["t"] + 1
            assert not before["terminateds"]
            assert not before["truncateds"]
        else:
            assert before["terminateds"] or before["truncateds"]
        moved = before["new_obs"][0] - before["obs"][0]
        assert moved == pytest.approx(0.2 if before["actions"] else max(-0.2, -before["obs"][0]), abs=1e-6)


def test_a_checkpoint_goes_on_exactly(steps: Path, tmp_path: Path) -> None:
    algorithm = config(MARWILConfig, Corridor, steps).build()
    algorithm.train()
    path = algorithm.save(tmp_path)
    other = config(MARWILConfig, Corridor, steps).debugging(seed=8).build()
    other.restore(path)
    drawn = [[each.compute_single_action(at) for at in WALKED * 5] for each in (algorithm, other)]
    assert drawn[0] == drawn[1]
    assert other.train()["training_iteration"] == 2


def test_an_expectile_is_the_definition() -> None:
    errors = torch.tensor([2.0, -1.0, 0.5])
    assert float(expectile_loss(errors, 0.8)) == pytest.approx((0.8 * 4 + 0.2 * 1 + 0.8 * 0.25) / 3)
    numbers = torch.randn(20_000)
    found = torch.zeros(1, requires_grad=True)
    optimizer = torch.optim.SGD([found], lr=0.5)
    for _ in range(200):
        optimizer.zero_grad()
        expectile_loss(numbers - found, 0.5).backward()
        optimizer.step()
    assert float(found.detach()) == pytest.approx(float(numbers.mean()), abs=1e-3), "half is the mean"


@pytest.mark.parametrize(
    ("rows", "told"),
    [
        ([{"obs": [1.0]}], "have no column eps_id, t, actions"),
        ([{"obs": [1.0, 2.0]}], r"obs has rows of the shape \(2,\), and observations here have 1"),
        ([{}, {"rewards": float("nan"), "eps_id": 4}], "rewards is not finite at t=0 of eps_id=4"),
        ([{}, {"obs": [1.0, 2.0]}], "have not all one shape"),
    ],
    ids=["columns", "shape", "nan", "ragged"],
)
def test_wrong_data_is_told(session: None, rows: list[dict[str, Any]], told: str) -> None:
    whole = {
        "eps_id": 0,
        "t": 0,
        "obs": [1.0],
        "new_obs": [1.0],
        "actions": 1,
        "rewards": 1.0,
        "terminateds": True,
    }
    given = rows if "column" in told else [{**whole, **row} for row in rows]
    with pytest.raises(ConfigError, match=told):
        config(BCConfig, Corridor, "").offline_data(input_=shoal.data.from_items(given)).build()


def test_wrong_settings_are_told() -> None:
    with pytest.raises(ConfigError, match="it learns from recorded episodes"):
        BCConfig().environment(Corridor).build()
    with pytest.raises(ConfigError, match="num_env_runners must be 0"):
        config(BCConfig, Corridor, "x").env_runners(num_env_runners=2).build()
    with pytest.raises(ConfigError, match="has no setting 'n_step'"):
        CQLConfig().training(n_step=3)
    with pytest.raises(ConfigError, match="did you mean min_q_weight"):
        CQLConfig().training(min_q_weigth=3)
    with pytest.raises(ConfigError, match="expectile must be a number between 0 and 1"):
        IQLConfig().training(expectile=1)
    with pytest.raises(ConfigError, match="input_read_method must be"):
        BCConfig().offline_data(input_read_method="read_minds")
    with pytest.raises(ConfigError, match="file_format must be one of parquet, json"):
        record_episodes(None, "x", file_format="csv")
