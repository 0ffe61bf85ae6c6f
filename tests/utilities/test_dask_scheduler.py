"""Dask's graphs as tasks."""

from __future__ import annotations

from operator import add
from typing import Any

import pytest

import shoal
from shoal.util.dask import (
    ProgressBarCallback,
    RayDaskCallback,
    dataframe_optimize,
    disable_dask,
    enable_dask,
    shoal_dask_get,
    shoal_dask_get_sync,
    shoal_dask_persist,
)

pytestmark = pytest.mark.usefixtures("session")
dask = pytest.importorskip("dask")
bag: Any = pytest.importorskip("dask.bag")

GRAPH = {"a": 1, "b": (add, "a", 2), "c": (sum, ["a", "b"]), "d": "c"}


@pytest.mark.parametrize("get", [shoal_dask_get, shoal_dask_get_sync])
def test_a_graph_is_computed_for_nested_keys(get: Any) -> None:
    assert get(GRAPH, "c") == 4
    assert list(get(GRAPH, ["d", "a"])) == [4, 1]


def test_collections() -> None:
    numbers = bag.from_sequence(range(100), npartitions=4).map(lambda x: x * 2)
    assert numbers.sum().compute(scheduler=shoal_dask_get) == 9900
    inc = dask.delayed(lambda x: x + 1)
    assert dask.delayed(sum)([inc(value) for value in range(5)]).compute(scheduler=shoal_dask_get) == 15


def test_persisted_parts_stay_where_they_are() -> None:
    [numbers] = shoal_dask_persist(bag.from_sequence(range(10), npartitions=2).map(lambda x: x * 2))
    assert numbers.sum().compute(scheduler=shoal_dask_get) == 90


def test_it_can_be_the_scheduler_of_a_program() -> None:
    seen: list[Any] = []
    with RayDaskCallback(ray_presubmit=lambda task, key, deps: seen.append(key)), enable_dask():
        assert dask.delayed(add)(1, 2).compute() == 3
    assert seen
    enable_dask()
    disable_dask()
    assert dask.config.get("scheduler", None) is None
    with pytest.raises(ValueError, match="shuffle"):
        enable_dask(shuffle="magic")


def test_observers_are_told_here_and_in_the_worker() -> None:
    told: list[str] = []

    class Timer(RayDaskCallback):
        def _ray_presubmit(self, task: Any, key: Any, deps: Any) -> Any:
            return 100 if key == "b" else None

        def _ray_postsubmit(self, task: Any, key: Any, deps: Any, object_ref: Any) -> None:
            told.append(f"submitted {key}")

        def _ray_pretask(self, key: Any, object_refs: Any) -> int:
            return 7

        def _ray_posttask(self, key: Any, result: Any, pre_state: Any) -> None:
            assert pre_state == 7

        def _ray_finish(self, result: Any) -> None:
            told.append(f"finished {result}")

    with Timer():
        assert shoal_dask_get(GRAPH, "c") == 101
    assert told == ["submitted c", "finished 101"]
    with pytest.raises(TypeError, match="no callback ray_start"):
        RayDaskCallback(ray_start=print)


def test_an_error_is_of_the_users_class() -> None:
    def fail() -> None:
        raise KeyError("no")

    with pytest.raises(KeyError):
        shoal_dask_get({"a": (fail,)}, "a")


def test_a_bar_of_the_nodes_and_their_times() -> None:
    graph = {"a": (add, 1, 2), "b": (add, "a", "a"), "c": (add, "b", "a")}
    with ProgressBarCallback() as progress:
        assert shoal_dask_get(graph, "c") == 9
    assert isinstance(progress, ProgressBarCallback)
    assert shoal.get(progress.pb.result.remote()) == (3, 3)
    report = shoal.get(progress.pb.report.remote())
    assert set(report) == {"a", "b", "c"}
    assert all(times["execution_time"] >= 0 <= times["scheduling_time"] for times in report.values())


def test_a_graph_is_made_smaller() -> None:
    graph = {"a": 1, "b": (add, "a", 2), "c": (add, "b", 3), "d": (add, "c", 4), "unused": (add, 1, 1)}
    smaller = dataframe_optimize(graph, ["d"])
    assert "unused" not in smaller
    assert len(smaller) < 4
    assert shoal_dask_get(smaller, "d") == shoal_dask_get(graph, "d") == 10
    with pytest.raises(TypeError, match="no options, so not fast"):
        dataframe_optimize(graph, ["d"], fast=True)
