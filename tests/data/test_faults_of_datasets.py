"""Workers that die, functions that raise and loops that stop, on real processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import shoal
import shoal.data
from shoal.data.aggregate import AggregateFn
from shoal.data.exchanges import RandomShuffle, Sort
from shoal.data.joining import Join
from shoal.data.plan.logical import AllToAll, JoinInputs
from shoal.data.sinks.files import FileDatasink, ParquetWriter
from shoal.data.sources.datasource import BlockMetadata, Datasource, ReadTask

pytestmark = [pytest.mark.usefixtures("processes"), pytest.mark.processes]
ROWS = 400


class Death:
    """Kills the process that calls it, once for all processes."""

    def __init__(self, folder: Path) -> None:
        self.mark = str(folder / "died")

    def __call__(self) -> None:
        try:
            os.close(os.open(self.mark, os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    @property
    def happened(self) -> bool:
        return os.path.exists(self.mark)


@pytest.fixture
def death(tmp_path: Path) -> Death:
    return Death(tmp_path)


def numbers() -> shoal.data.Dataset:
    return shoal.data.range(ROWS, override_num_blocks=8)


def ids(dataset: Any) -> list[int]:
    return [row["id"] for row in dataset.take_all()]


class DyingSource(Datasource):
    def __init__(self, death: Death) -> None:
        self.death = death

    def estimate_inmemory_data_size(self) -> int | None:
        return None

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        def read(start: int) -> Iterator[Any]:
            yield pa.table({"id": list(range(start, start + 25))})
            if start == 100:
                self.death()
            yield pa.table({"id": list(range(start + 25, start + 50))})

        return [ReadTask(lambda s=start: read(s), BlockMetadata(50)) for start in range(0, ROWS, 50)]  # type: ignore[misc]


@attrs.frozen(kw_only=True)
class DyingSort(Sort):
    """A sort that dies in one of its stages."""

    death: Any
    stage: str

    def sample(self, block: Any) -> Any:
        if self.stage == "sample":
            self.death()
        return Sort.sample(self, block)

    def plan(self, samples: Any, partitions: int) -> Any:
        if self.stage == "plan":
            self.death()
        return Sort.plan(self, samples, partitions)

    def split(self, block: Any, plan: Any, partitions: int, index: int) -> list[Any]:
        if self.stage == "split":
            self.death()
        return Sort.split(self, block, plan, partitions, index)

    def reduce(self, parts: Any, index: int) -> Iterator[Any]:
        if self.stage == "reduce":
            self.death()
        return Sort.reduce(self, parts, index)


@attrs.frozen(kw_only=True)
class DyingShuffle(RandomShuffle):
    """A shuffle that dies when half of what its first partition gives has been given, or while it splits."""

    death: Any
    stage: str

    def split(self, block: Any, plan: Any, partitions: int, index: int) -> list[Any]:
        if self.stage == "split":
            self.death()
        return RandomShuffle.split(self, block, plan, partitions, index)

    def reduce(self, parts: Any, index: int) -> Iterator[Any]:
        [whole] = RandomShuffle.reduce(self, parts, index)
        for start in range(0, whole.num_rows, 10):
            if self.stage == "reduce" and start == 20:
                self.death()
            # Columns of another name keep the pieces from being put together again: they are given one by one.
            yield whole.slice(start, 10).append_column(
                f"from {start}", pa.nulls(min(10, whole.num_rows - start))
            )


@attrs.frozen(kw_only=True)
class DyingJoin(Join):
    """A join that dies in one of its stages."""

    death: Any
    stage: str

    def of_side(self, side: int) -> Any:
        if self.stage == "split":
            self.death()
        return Join.of_side(self, side)

    def reduce_sides(self, sides: Any, index: int) -> Iterator[Any]:
        if self.stage == "reduce":
            self.death()
        return Join.reduce_sides(self, sides, index)


class DyingModel:
    def __init__(self, death: Death) -> None:
        self.death = death

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        if 200 in batch["id"]:
            self.death()
        return {"id": batch["id"] + 1}


@attrs.frozen(eq=False, kw_only=True)
class DyingWriter(ParquetWriter):
    death: Any

    def write(self, table: Any, stream: Any) -> None:
        if 200 in table.column("id").to_pylist() and not self.death.happened:
            stream.write(b"half of a file")
            self.death()
        ParquetWriter.write(self, table, stream)


def test_a_reader_that_dies_half_way_gives_each_row_once(death: Death) -> None:
    assert ids(shoal.data.read_datasource(DyingSource(death))) == list(range(ROWS))
    assert death.happened


def test_a_map_whose_worker_dies_gives_each_row_once(death: Death) -> None:
    def step(batch: dict[str, Any]) -> dict[str, Any]:
        if 200 in batch["id"]:
            death()
        return {"id": batch["id"] + 1}

    assert ids(numbers().materialize().map_batches(step, batch_size=10)) == list(range(1, ROWS + 1))
    assert death.happened


def test_an_actor_that_dies_is_started_again_and_its_blocks_with_it(death: Death) -> None:
    dataset = numbers().map_batches(
        DyingModel, fn_constructor_args=(death,), batch_size=10, compute=shoal.data.ActorPoolStrategy(size=1)
    )
    assert ids(dataset) == list(range(1, ROWS + 1))
    assert death.happened


@pytest.mark.parametrize("stage", ["sample", "plan", "split", "reduce"])
def test_a_sort_survives_a_death_in_each_of_its_stages(death: Death, stage: str) -> None:
    dataset = numbers().random_shuffle(seed=1)
    exchange = DyingSort(keys=(("id", False),), death=death, stage=stage)
    assert ids(dataset._with(AllToAll(dataset._plan, exchange))) == list(range(ROWS))
    assert death.happened


@pytest.mark.parametrize("stage", ["split", "reduce"])
def test_a_shuffle_without_a_seed_gives_each_row_once_after_a_death(death: Death, stage: str) -> None:
    dataset = numbers()
    exchange = DyingShuffle(blocks=2, death=death, stage=stage)
    found = ids(dataset._with(AllToAll(dataset._plan, exchange)))
    assert death.happened
    assert sorted(found) == list(range(ROWS))
    assert found != sorted(found)


@pytest.mark.parametrize("stage", ["split", "reduce"])
def test_a_join_survives_a_death_in_each_of_its_stages(death: Death, stage: str) -> None:
    left = numbers()
    right = (
        numbers()
        .map(lambda row: {"id": row["id"], "twice": 2 * row["id"]})
        .filter(lambda row: row["id"] % 2 == 0)
    )
    exchange = DyingJoin(4, kind="inner", left_keys=("id",), right_keys=("id",), death=death, stage=stage)
    joined = left._with(JoinInputs(left._plan, right._plan, exchange))
    found = sorted((row["id"], row["twice"]) for row in joined.take_all())
    assert death.happened
    assert found == [(number, 2 * number) for number in range(0, ROWS, 2)]


def test_an_actor_of_a_pool_that_grows_may_die(death: Death) -> None:
    dataset = numbers().map_batches(
        DyingModel,
        fn_constructor_args=(death,),
        batch_size=10,
        compute=shoal.data.ActorPoolStrategy(min_size=1, max_size=2),
    )
    assert ids(dataset) == list(range(1, ROWS + 1))
    assert death.happened


def test_groups_by_blocks_survive_a_death(death: Death) -> None:
    def key(batch: dict[str, Any]) -> dict[str, Any]:
        if 200 in batch["id"]:
            death()
        return {"key": batch["id"] % 3, "id": batch["id"]}

    found = numbers().map_batches(key).groupby("key").sum("id").take_all()
    assert [(row["key"], row["sum(id)"]) for row in found] == [(n, sum(range(n, ROWS, 3))) for n in range(3)]
    assert death.happened


def test_groups_survive_a_death(death: Death) -> None:
    def total(sofar: int, block: Any) -> int:
        death()
        return sofar + sum(block.column("id").to_pylist())

    sums = AggregateFn(init=lambda key: 0, accumulate_block=total, merge=lambda a, b: a + b, name="sum(id)")
    found = numbers().map(lambda row: {"key": row["id"] % 3, "id": row["id"]}).groupby("key").aggregate(sums)
    assert sorted((row["key"], row["sum(id)"]) for row in found.take_all()) == [
        (key, sum(range(key, ROWS, 3))) for key in range(3)
    ]
    assert death.happened


def test_a_writer_that_dies_half_way_leaves_each_row_once(death: Death, tmp_path: Path) -> None:
    writer = DyingWriter(death=death)
    out = tmp_path / "out"
    numbers().write_datasink(FileDatasink(str(out), writer))
    assert death.happened
    found = [row for path in out.glob("*.parquet") for row in pq.read_table(path).column("id").to_pylist()]
    assert sorted(found) == list(range(ROWS))
    assert [path for path in out.rglob("*") if path.suffix != ".parquet"] == []


def test_an_error_is_the_users_and_names_the_step() -> None:
    class TooLarge(ValueError):
        pass

    def step(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == 123:
            raise TooLarge("123 is too large")
        return row

    with pytest.raises(TooLarge, match="123 is too large") as raised:
        numbers().materialize().map(step).take_all()
    assert "in step" in str(raised.value) or "step" in "".join(getattr(raised.value, "__notes__", []))


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def step(row: dict[str, Any]) -> dict[str, Any]:
        if row["id"] == ROWS - 1:
            raise ValueError("the last row")
        return row

    with pytest.raises(ValueError, match="the last row"):
        numbers().materialize().map(step).write_parquet(tmp_path / "out")
    assert list((tmp_path / "out").rglob("*.*")) == []


def test_a_loop_that_stops_ends_what_runs() -> None:
    def endless(batch: dict[str, Any]) -> Iterable[dict[str, Any]]:
        while True:
            yield {"x": np.zeros(2**16)}

    dataset = numbers().map_batches(endless)
    dataset.context.target_max_block_size = 2**20
    for number, _ in enumerate(dataset.iter_batches(batch_size=2**16)):
        if number == 20:
            break
    assert numbers().count() == ROWS, "all CPUs are free again"


def test_memory_is_bounded_by_the_budget() -> None:
    context = shoal.data.DataContext.get_current()
    before = context.copy()
    try:
        context.target_max_block_size = 2**18
        context.execution_options.resource_limits = shoal.data.ExecutionResources(object_store_memory=2**21)
        dataset = shoal.data.range(2**22, override_num_blocks=16).map_batches(
            lambda batch: {"id": batch["id"], "more": batch["id"] * 2}, batch_size=2**13
        )
        rows = 0
        for batch in dataset.iter_batches(batch_size=2**13):
            rows += len(batch["id"])
        assert rows == 2**22, "64 MiB went through 2 MiB"
        assert dataset._stats is not None
        assert dataset._stats.peak <= 2**21 + 4 * 2**18
    finally:
        context.target_max_block_size = before.target_max_block_size
        context.execution_options = before.execution_options
