"""joblib on Shoal, and with it scikit-learn."""

from __future__ import annotations

import os
from typing import Any

import pytest

from shoal.util.joblib import register_shoal

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("processes")]
joblib = pytest.importorskip("joblib")


@pytest.fixture(autouse=True)
def _registered() -> None:
    register_shoal()


def process_id(_: int) -> int:
    return os.getpid()


def fail(value: int) -> int:
    raise KeyError(value)


@pytest.mark.parametrize("name", ["shoal", "ray"])
def test_calls_run_in_other_processes_and_results_keep_their_order(name: str) -> None:
    with joblib.parallel_config(name):
        assert joblib.Parallel(n_jobs=2)(joblib.delayed(pow)(value, 2) for value in range(50)) == [
            value**2 for value in range(50)
        ]
        assert os.getpid() not in joblib.Parallel(n_jobs=2)(joblib.delayed(process_id)(i) for i in range(4))


def test_processes_are_kept_for_the_next_call() -> None:
    def ids() -> set[int]:
        with joblib.parallel_config("shoal"):
            return set(joblib.Parallel(n_jobs=2)(joblib.delayed(process_id)(value) for value in range(20)))

    assert ids() & ids()


def test_an_error_is_of_the_users_class() -> None:
    with joblib.parallel_config("shoal"), pytest.raises(KeyError):
        joblib.Parallel(n_jobs=2)(joblib.delayed(fail)(value) for value in range(4))


def test_results_as_a_generator() -> None:
    with joblib.parallel_config("shoal"):
        found = joblib.Parallel(n_jobs=2, return_as="generator")(joblib.delayed(abs)(-i) for i in range(5))
        assert list(found) == [0, 1, 2, 3, 4]


def test_nested_calls_do_not_start_more_processes() -> None:
    def outer(value: int) -> list[int]:
        found: list[int] = joblib.Parallel(n_jobs=2)(joblib.delayed(process_id)(i) for i in range(value))
        return found

    with joblib.parallel_config("shoal"):
        inner = joblib.Parallel(n_jobs=2)(joblib.delayed(outer)(3) for _ in range(2))
    assert all(len(set(ids)) == 1 for ids in inner)


def test_a_grid_search_of_scikit_learn() -> None:
    datasets: Any = pytest.importorskip("sklearn.datasets")
    from sklearn.model_selection import GridSearchCV
    from sklearn.neighbors import KNeighborsClassifier

    x, y = datasets.load_iris(return_X_y=True)
    grid = {"n_neighbors": [1, 3, 5]}
    with joblib.parallel_config("shoal"):
        ours = GridSearchCV(KNeighborsClassifier(), grid, n_jobs=-1).fit(x, y)
    alone = GridSearchCV(KNeighborsClassifier(), grid, n_jobs=1).fit(x, y)
    assert ours.best_params_ == alone.best_params_
    assert ours.cv_results_["mean_test_score"].tolist() == alone.cv_results_["mean_test_score"].tolist()
