"""What is done with rows and blocks for which functions raise, and functions that are async or run in threads."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shoal.data
from shoal.data import ActorPoolStrategy, DataContext, ExecutionOptions, ExecutionResources, Quarantine
from shoal.data.execution.bundle import Bundle
from shoal.data.execution.machine import Machine
from shoal.data.execution.operators import MapOperator, Source
from shoal.data.execution.work import Start

pytestmark = pytest.mark.usefixtures("session")


def inverse(row: dict[str, Any]) -> dict[str, Any]:
    return {"id": row["id"], "inverse": 1 / row["id"]}


def test_bad_rows_are_left_out() -> None:
    kept = shoal.data.range(5).map(inverse, on_bad_rows="skip").take_all()
    assert [row["id"] for row in kept] == [1, 2, 3, 4]


def test_bad_rows_are_put_aside_with_error_function_and_source(tmp_path: Path) -> None:
    for name, values in (("a", [1, 0]), ("b", [0, 2])):
        pq.write_table(pa.table({"id": values}), tmp_path / f"{name}.parquet")
    bad = tmp_path / "bad"
    ds = shoal.data.read_parquet([str(tmp_path / "a.parquet"), str(tmp_path / "b.parquet")])
    kept = ds.map(inverse, on_bad_rows=Quarantine(str(bad)))
    for _ in range(2):  # a second execution replaces what the first put aside
        assert sorted(row["id"] for row in kept.take_all()) == [1, 2]
    rows = shoal.data.read_parquet(str(bad)).take_all()
    assert {Path(row["source"]).name for row in rows} == {"a.parquet", "b.parquet"}
    assert [json.loads(row["row"]) for row in rows] == [{"id": 0}] * 2
    assert {row["function"] for row in rows} == {"inverse"}
    assert all(row["error"] == "ZeroDivisionError: division by zero" for row in rows)


def test_a_quarantine_for_too_many_rows_raises(tmp_path: Path) -> None:
    def never(row: dict[str, Any]) -> bool:
        raise KeyError("x")

    policy = Quarantine(str(tmp_path), max_rows=3)
    with pytest.raises(KeyError, match="x"):
        shoal.data.range(10, override_num_blocks=1).filter(never, on_bad_rows=policy).take_all()


def test_all_rows_of_a_bad_batch_are_bad(tmp_path: Path) -> None:
    def check(batch: dict[str, Any]) -> dict[str, Any]:
        if 4 in batch["id"]:
            raise ValueError("four")
        return batch

    ds = shoal.data.range(10, override_num_blocks=1).map_batches(check, batch_size=3, on_bad_rows=tmp_path)
    assert [row["id"] for row in ds.take_all()] == [0, 1, 2, 6, 7, 8, 9]
    assert shoal.data.read_parquet(str(tmp_path)).count() == 3


def test_a_wrong_policy_is_refused() -> None:
    with pytest.raises(ValueError, match="on_bad_rows must be"):
        shoal.data.range(3).map(inverse, on_bad_rows="sometimes")


def test_as_many_tasks_may_fail_as_the_context_allows(tmp_path: Path) -> None:
    for name in ("good", "bad", "worse"):
        pq.write_table(pa.table({"id": [1]}), tmp_path / f"{name}.parquet")
        if name != "good":  # of the same size, so that each file is a piece of its own
            (tmp_path / f"{name}.parquet").write_bytes(b"x" * (tmp_path / f"{name}.parquet").stat().st_size)
    context = DataContext.get_current().copy()
    context.max_errored_blocks = 2
    with DataContext.current(context):
        ds = shoal.data.read_parquet(str(tmp_path), override_num_blocks=3)
        fine = ds.materialize()
    assert fine.take_all() == [{"id": 1}]
    assert "2 tasks failed and were left out" in ds.stats()
    assert "bad.parquet" in ds.stats()
    ds.context.max_errored_blocks = 1
    with pytest.raises(pa.ArrowInvalid):
        ds.materialize()
    with pytest.raises(ValueError, match="max_errored_blocks"):
        context.max_errored_blocks = -2


def test_a_write_that_fails_is_never_left_out(tmp_path: Path) -> None:
    context = DataContext.get_current().copy()
    context.max_errored_blocks = -1
    with DataContext.current(context):
        ds = shoal.data.from_items([{"a": [1, 2]}, {"a": [3]}])
    with pytest.raises(pa.ArrowInvalid):
        ds.write_csv(str(tmp_path / "out"))


async def doubled(batch: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0.001 * (3 - batch["id"][0] % 3))
    return {"id": batch["id"] * 2}


def test_async_functions_keep_the_order_of_rows() -> None:
    ds = shoal.data.range(20, override_num_blocks=2).map_batches(doubled, batch_size=2)
    assert [row["id"] for row in ds.take_all()] == [2 * n for n in range(20)]


class Meeting:
    """Each call ends only when as many as are meant to run at a time have begun."""

    def __init__(self, needed: int) -> None:
        self.needed = needed
        self.here = 0
        self.all_here: asyncio.Event | None = None

    async def __call__(self, row: dict[str, Any], more: int) -> dict[str, Any]:
        self.all_here = self.all_here or asyncio.Event()
        self.here += 1
        if self.here >= self.needed:
            self.all_here.set()
        await asyncio.wait_for(self.all_here.wait(), 30)
        return {"id": row["id"] + more}


def test_async_classes_are_awaited_for_several_rows_at_a_time() -> None:
    ds = shoal.data.range(4, override_num_blocks=1).map(
        Meeting,
        fn_constructor_args=(4,),
        fn_args=(10,),
        compute=ActorPoolStrategy(size=1, max_concurrent_calls_per_actor=4),
    )
    assert [row["id"] for row in ds.take_all()] == [10, 11, 12, 13]


def test_async_generators_give_several_batches() -> None:
    async def twice(batch: dict[str, Any]) -> AsyncIterator[dict[str, Any]]:
        for _ in range(2):
            await asyncio.sleep(0)
            yield batch

    assert shoal.data.range(3).map_batches(twice).count() == 6


def test_what_an_async_function_raises_arrives() -> None:
    async def fail(row: dict[str, Any]) -> dict[str, Any]:
        raise LookupError("nowhere")

    with pytest.raises(LookupError, match="nowhere"):
        shoal.data.range(3).map(fail).take_all()


class Threads:
    def __init__(self) -> None:
        self.gate = threading.Barrier(3)

    def __call__(self, batch: dict[str, Any]) -> Iterator[dict[str, Any]]:
        self.gate.wait(30)
        yield {"id": batch["id"]}


def test_functions_run_in_threads_where_the_pool_says_so() -> None:
    pool = ActorPoolStrategy(size=1, max_concurrent_calls_per_actor=3, enable_true_multi_threading=True)

    class Together(Threads):
        def __call__(self, batch: dict[str, Any]) -> Any:
            self.gate.wait(30)
            return batch

    ds = shoal.data.range(6, override_num_blocks=1).map_batches(Together, batch_size=1, compute=pool)
    assert [row["id"] for row in ds.take_all()] == list(range(6))
    with pytest.raises(ValueError, match="max_concurrent_calls_per_actor"):
        ActorPoolStrategy(size=1, enable_true_multi_threading=True)


def test_batches_of_polars() -> None:
    pl = pytest.importorskip("polars")

    def add(frame: Any) -> Any:
        assert isinstance(frame, pl.DataFrame)
        return frame.with_columns(double=pl.col("id") * 2)

    ds = shoal.data.range(4).map_batches(add, batch_format="polars")
    assert ds.take_all()[3] == {"id": 3, "double": 6}
    tensors = shoal.data.range_tensor(2, shape=(2,)).take_batch(2, batch_format="polars")
    assert tensors["data"].to_list() == [[0, 0], [1, 1]]


def test_batches_of_torch() -> None:
    torch = pytest.importorskip("torch")

    def half(batch: dict[str, Any]) -> dict[str, Any]:
        assert isinstance(batch["data"], torch.Tensor)
        return {"half": batch["data"].float() / 2}

    ds = shoal.data.range_tensor(4, shape=(2,)).map_batches(half, batch_format="torch")
    np.testing.assert_array_equal(ds.take_all()[3]["half"], [1.5, 1.5])


def test_contexts_are_a_threads_for_a_while_and_keep_others_settings() -> None:
    mine = DataContext.get_current().copy()
    mine.set_config("retries", 5)
    with DataContext.current(mine):
        assert DataContext.get_current() is mine
        ds = shoal.data.range(3)
    assert ds.context.get_config("retries") == 5
    mine.remove_config("retries")
    assert mine.get_config("retries", 1) == 1
    assert DataContext.get_current() is not mine
    with pytest.raises(TypeError, match="DataContext"), DataContext.current("x"):  # type: ignore[arg-type]
        pass


def test_amounts_are_added_compared_and_bounded() -> None:
    two, free = ExecutionResources(cpu=2, gpu=1, object_store_memory=2**20, memory=0), ExecutionResources()
    assert two.add(two) == two.scale(2) == ExecutionResources.combine_sum([two, two])
    assert two.subtract(two) == ExecutionResources.zero()
    assert two.add(free) == free == ExecutionResources.inf()
    assert two.min(free) == two
    assert two.max(free) == free
    assert two.satisfies_limit(free)
    assert not free.satisfies_limit(two)
    assert ExecutionResources(cpu=5, gpu=0).floordiv(ExecutionResources(cpu=2, gpu=0)).cpu == 2
    assert not two.subtract(two.scale(2)).is_non_negative()
    assert ExecutionResources.from_resource_dict({"CPU": 3}).to_resource_dict() == {"CPU": 3}
    assert two.copy(cpu=4).cpu == 4
    assert two.object_store_memory_str() == "1.0 MiB"
    assert free.memory_str() == "inf"
    with pytest.raises(ValueError, match="no bound"):
        two.subtract(free)
    with pytest.raises(ValueError, match="resource_limits"):
        ExecutionOptions(resource_limits=ExecutionResources(cpu=-1))


def test_options_that_contradict_each_other_are_refused() -> None:
    options = ExecutionOptions(
        resource_limits=ExecutionResources(cpu=2), exclude_resources=ExecutionResources(1, 0, 0, 0)
    )
    assert not options.is_resource_limits_default()
    ds = shoal.data.range(3)
    ds.context.execution_options = options
    with pytest.raises(ValueError, match="both speak of cpu"):
        ds.take_all()
    ds.context.execution_options = ExecutionOptions(exclude_resources=ExecutionResources.zero().copy(cpu=1))
    assert ds.count() == 3


def test_limits_of_gpus_and_memory_hold_for_all_operators_together() -> None:
    pieces = tuple(Bundle(None, 1, 1) for _ in range(6))
    operators = [Source("in", pieces), MapOperator("one", cpus=0.0), MapOperator("two", cpus=0.0)]
    for each in operators[1:]:
        each.needs = {"gpu": 1}
    machine = Machine(operators, [(1, 0), (2, 0), None], cpus=8, budget=2**20, guess=1, bounds={"gpu": 2})
    started = [action.work.task for action in machine.decide() if isinstance(action, Start)]
    assert len(started) == 2
    machine.produced(started[0], Bundle(None, 1, 1))
    machine.finished(started[0])
    assert sum(isinstance(action, Start) for action in machine.decide()) == 1
