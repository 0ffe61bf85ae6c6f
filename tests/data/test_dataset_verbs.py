"""What each verb of a dataset gives, on both engines."""

from __future__ import annotations

import statistics
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

import shoal
import shoal.data
from shoal.data import RandomSeedConfig
from shoal.data.aggregate import (
    AbsMax,
    AggregateFn,
    AsList,
    Count,
    CountDistinct,
    Max,
    Mean,
    Min,
    MissingValuePercentage,
    Quantile,
    Std,
    Sum,
    Unique,
    ValueCounter,
    ZeroPercentage,
)

pytestmark = pytest.mark.usefixtures("session")


def ids(dataset: Any) -> list[int]:
    return [row["id"] for row in dataset.take_all()]


def numbers(count: int, blocks: int = 5) -> shoal.data.Dataset:
    return shoal.data.range(count, override_num_blocks=blocks)


class AddTo:
    def __init__(self, amount: int, factor: int = 1) -> None:
        self.amount = amount * factor

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        return {"id": batch["id"] + self.amount}


class AddToRow(AddTo):
    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        return {"id": row["id"] + self.amount}


def test_rows_keep_their_order_through_steps_of_every_kind() -> None:
    dataset = (
        numbers(100)
        .map(lambda row: {"id": row["id"] + 1})
        .filter(lambda row: row["id"] % 2 == 0)
        .flat_map(lambda row: [row, {"id": -row["id"]}])
        .map_batches(lambda batch: {"id": batch["id"] * 10}, batch_size=7)
    )
    assert ids(dataset) == [sign * 10 * number for number in range(2, 101, 2) for sign in (1, -1)]


@pytest.mark.parametrize("batch_format", ["numpy", "pandas", "pyarrow"])
def test_batches_have_the_form_and_the_size_that_was_asked_for(batch_format: str) -> None:
    def look(batch: Any) -> dict[str, Any]:
        length = len(batch["id"])
        return {"kind": [type(batch).__module__.partition(".")[0]], "rows": [length]}

    rows = numbers(100, 3).map_batches(look, batch_size=30, batch_format=batch_format).take_all()
    assert {row["kind"] for row in rows} == {{"numpy": "builtins"}.get(batch_format, batch_format)}
    assert sum(row["rows"] for row in rows) == 100
    assert max(row["rows"] for row in rows) == 30


@pytest.mark.parametrize(
    "compute", [{"concurrency": 2}, {"compute": shoal.data.ActorPoolStrategy(min_size=1, max_size=2)}]
)
def test_a_class_is_made_in_actors_with_its_arguments(compute: dict[str, Any]) -> None:
    dataset = numbers(50).map_batches(
        AddTo, fn_constructor_args=(5,), fn_constructor_kwargs={"factor": 2}, batch_size=10, **compute
    )
    assert ids(dataset) == list(range(10, 60))
    assert ids(numbers(5).map(AddToRow, fn_constructor_args=(1,))) == [1, 2, 3, 4, 5]


def test_a_generator_gives_any_number_of_batches() -> None:
    def halves(batch: Any) -> Any:
        middle = len(batch["id"]) // 2
        yield {"id": batch["id"][:middle]}
        yield {"id": batch["id"][middle:]}

    assert ids(numbers(20).map_batches(halves)) == list(range(20))


def test_further_arguments_reach_the_function() -> None:
    dataset = numbers(3).map(lambda row, a, b: {"id": row["id"] + a * b}, fn_args=(2,), fn_kwargs={"b": 50})
    assert ids(dataset) == [100, 101, 102]


def test_columns_are_selected_renamed_dropped_and_added() -> None:
    dataset = numbers(2).add_column("twice", lambda batch: batch["id"] * 2, batch_format="numpy")
    assert dataset.take_all() == [{"id": 0, "twice": 0}, {"id": 1, "twice": 2}]
    assert dataset.rename_columns({"twice": "two"}).columns() == ["id", "two"]
    assert dataset.rename_columns(["a", "b"]).columns() == ["a", "b"]
    assert dataset.drop_columns("id").take_all() == [{"twice": 0}, {"twice": 2}]
    assert dataset.select_columns(["twice", "id"]).columns() == ["twice", "id"]
    with pytest.raises(KeyError, match="no column 'none'; there are id, twice"):
        dataset.select_columns("none").take_all()


def test_an_expression_filters() -> None:
    assert ids(numbers(10).filter(expr=pc.field("id") > 7)) == [8, 9]


def test_a_limit_takes_the_first_rows_across_blocks() -> None:
    assert ids(numbers(100).limit(33)) == list(range(33))
    assert ids(numbers(10).limit(0)) == []
    assert numbers(10).take(3) == [{"id": 0}, {"id": 1}, {"id": 2}]
    assert ids(numbers(10).limit(100)) == list(range(10))


def test_a_shuffle_keeps_all_rows_and_follows_its_seed() -> None:
    one, again = (ids(numbers(1000).random_shuffle(seed=3)) for _ in range(2))
    assert sorted(one) == list(range(1000))
    assert one == again
    assert one != list(range(1000))
    assert one != ids(numbers(1000).random_shuffle(seed=4))
    blocks = ids(numbers(100).randomize_block_order(seed=1))
    assert sorted(blocks) == list(range(100))


def test_a_sort_orders_by_several_keys_with_nulls_last() -> None:
    rows = [{"a": a, "b": b} for a in (2, None, 1) for b in ("x", None, "y")]
    dataset = shoal.data.from_items(rows, override_num_blocks=4)
    found = dataset.sort(["a", "b"], descending=[True, False]).take_all()
    assert [(row["a"], row["b"]) for row in found] == [
        *((2, "x"), (2, "y"), (2, None)),
        *((1, "x"), (1, "y"), (1, None)),
        *((None, "x"), (None, "y"), (None, None)),
    ]
    assert ids(numbers(500).random_shuffle(seed=1).sort("id")) == list(range(500))
    blocks = numbers(100).sort("id", boundaries=[10, 90]).materialize()
    assert blocks.num_blocks() == 3


def test_a_sort_survives_one_key_that_all_rows_have() -> None:
    dataset = numbers(200).map(lambda row: {"key": 1, "id": row["id"]}).sort("key")
    assert ids(dataset) == list(range(200))  # stable


def test_groups_are_aggregated() -> None:
    dataset = numbers(100).map(lambda row: {"key": f"k{row['id'] % 3}", "value": float(row["id"])})
    groups: dict[str, list[float]] = {}
    for row in dataset.take_all():
        groups.setdefault(row["key"], []).append(row["value"])
    found = dataset.groupby("key").aggregate(
        *(Count(), Sum("value"), Min("value"), Max("value"), Mean("value"), Std("value"))
    )
    for row in found.sort("key").take_all():
        values = groups.pop(row["key"])
        assert row["count()"] == len(values)
        assert row["sum(value)"] == sum(values)
        assert (row["min(value)"], row["max(value)"]) == (min(values), max(values))
        assert row["mean(value)"] == pytest.approx(statistics.mean(values))
        assert row["std(value)"] == pytest.approx(statistics.stdev(values))
    assert groups == {}


def test_aggregates_of_our_own_work_for_groups_and_for_all() -> None:
    longest = AggregateFn(
        init=lambda key: 0, accumulate_row=lambda most, row: max(most, row["id"] % 7), merge=max, name="most"
    )
    assert numbers(20).aggregate(longest) == {"most": 6}
    found = (
        numbers(20).map(lambda row: {**row, "even": row["id"] % 2 == 0}).groupby("even").aggregate(longest)
    )
    assert sorted((row["even"], row["most"]) for row in found.take_all()) == [(False, 6), (True, 6)]


def test_a_whole_dataset_is_aggregated() -> None:
    dataset = numbers(101)
    values = list(range(101))
    assert dataset.sum("id") == sum(values)
    assert (dataset.min("id"), dataset.max("id"), dataset.mean("id")) == (0, 100, 50.0)
    assert dataset.std("id") == pytest.approx(statistics.stdev(values))
    assert dataset.std("id", ddof=0) == pytest.approx(statistics.pstdev(values))
    assert dataset.sum(["id"]) == {"sum(id)": sum(values)}
    assert sorted(dataset.map(lambda row: {"m": row["id"] % 4}).unique("m")) == [0, 1, 2, 3]


def test_nulls_are_left_out_or_spoil_an_aggregate() -> None:
    dataset = shoal.data.from_items([{"x": 1}, {"x": None}, {"x": 5}], override_num_blocks=3)
    assert (dataset.sum("x"), dataset.mean("x"), dataset.min("x")) == (6, 3.0, 1)
    assert dataset.sum("x", ignore_nulls=False) is None
    assert dataset.mean("x", ignore_nulls=False) is None


def test_groups_are_mapped() -> None:
    dataset = numbers(30).map(lambda row: {"key": row["id"] % 3, "id": row["id"]})
    found = dataset.groupby("key").map_groups(
        lambda group: {"key": group["key"][:1], "n": [len(group["id"])]}
    )
    assert sorted((row["key"], row["n"]) for row in found.take_all()) == [(0, 10), (1, 10), (2, 10)]


def test_datasets_come_together() -> None:
    left = numbers(10, 3)
    assert ids(left.union(numbers(5, 2), numbers(1, 1))) == [*range(10), *range(5), 0]
    pairs = left.zip(numbers(10, 4).map(lambda row: {"other": row["id"] * 2, "id": -row["id"]})).take_all()
    assert pairs == [{"id": i, "other": 2 * i, "id_1": -i} for i in range(10)]
    with pytest.raises(ValueError, match="the same length, not 10 and 9 rows"):
        left.zip(numbers(9)).take_all()


def test_blocks_are_cut_anew() -> None:
    dataset = numbers(100, 3).repartition(7).materialize()
    assert dataset.num_blocks() == 7
    assert ids(dataset) == list(range(100))
    by_rows = numbers(10, 3).repartition(target_num_rows_per_block=4)
    assert [len(block) for block in shoal.get(by_rows.to_arrow_refs())] == [4, 4, 2]
    assert sorted(ids(numbers(50).repartition(4, shuffle=True))) == list(range(50))


def test_rows_of_equal_keys_come_into_one_block() -> None:
    dataset = numbers(60).map(lambda row: {"key": row["id"] % 6}).repartition(4, keys=["key"], sort=True)
    blocks = [block.column("key").to_pylist() for block in shoal.get(dataset.to_arrow_refs())]
    keys = [key for block in blocks for key in set(block)]
    assert sorted(keys) == list(range(6))
    assert all(block == sorted(block) for block in blocks)


def test_datasets_are_split() -> None:
    assert [ids(part) for part in numbers(10, 3).split(3)] == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9]]
    assert [part.count() for part in numbers(11).split(3, equal=True)] == [3, 3, 3]
    assert [ids(part) for part in numbers(6, 2).split_at_indices([1, 5])] == [[0], [1, 2, 3, 4], [5]]
    assert [part.count() for part in numbers(100).split_proportionately([0.7, 0.2])] == [70, 20, 10]
    train, test = numbers(10).train_test_split(0.25)
    assert (ids(train), ids(test)) == ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9])
    train, test = numbers(10).train_test_split(4, shuffle=True, seed=1)
    assert sorted(ids(train) + ids(test)) == list(range(10))


def test_samples_are_of_about_the_size_asked_for() -> None:
    one = ids(numbers(10_000).random_sample(0.3, seed=1))
    assert 2700 < len(one) < 3300
    assert one == ids(numbers(10_000).random_sample(0.3, seed=1))
    first = [number for number in one if number < 2000]
    second = [number - 2000 for number in one if 2000 <= number < 4000]
    assert first != second  # each block has draws of its own


def test_batches_are_iterated_over() -> None:
    sizes = [len(batch["id"]) for batch in numbers(100, 3).iter_batches(batch_size=32)]
    assert sizes == [32, 32, 32, 4]
    sizes = [len(batch["id"]) for batch in numbers(100).iter_batches(batch_size=32, drop_last=True)]
    assert sizes == [32, 32, 32]
    shuffled = [
        number
        for batch in numbers(1000).iter_batches(
            batch_size=50, local_shuffle_buffer_size=200, local_shuffle_seed=1
        )
        for number in batch["id"].tolist()
    ]
    assert sorted(shuffled) == list(range(1000))
    assert shuffled != list(range(1000))


def test_a_loop_may_stop_early() -> None:
    for batch in numbers(1000, 20).iter_batches(batch_size=10):
        assert batch["id"][0] == 0
        break
    assert numbers(3).count() == 3


def test_what_there_is_can_be_asked_for() -> None:
    dataset = numbers(10, 2).map(lambda row: {"a": row["id"], "b": "x"})
    schema = dataset.schema()
    assert schema is not None
    assert (schema.names, schema.types) == (["a", "b"], [pa.int64(), pa.string()])
    assert dataset.count() == 10
    assert dataset.size_bytes() > 0
    assert dataset.to_pandas()["a"].tolist() == list(range(10))
    assert len(dataset.take_batch(4)["a"]) == 4
    with pytest.raises(ValueError, match="more than 5 rows"):
        dataset.take_all(limit=5)


def test_tensors_keep_their_shape() -> None:
    dataset = shoal.data.range_tensor(6, shape=(2, 3), override_num_blocks=2)
    batch = (
        dataset.map_batches(lambda batch: {"data": batch["data"] + 1}).random_shuffle(seed=1).take_batch(6)
    )
    assert batch["data"].shape == (6, 2, 3)
    assert sorted(batch["data"][:, 0, 0].tolist()) == [1, 2, 3, 4, 5, 6]
    row = shoal.data.from_numpy(np.zeros((2, 4))).take(1)[0]
    assert row["data"].shape == (4,)


def test_a_function_may_change_its_batch_if_it_asks_for_a_copy() -> None:
    def change(batch: dict[str, Any]) -> dict[str, Any]:
        batch["id"] += 1
        return batch

    assert ids(numbers(3).materialize().map_batches(change, zero_copy_batch=False)) == [1, 2, 3]


@pytest.mark.parametrize(
    "step",
    [
        lambda ds: ds.map(lambda row: row),
        lambda ds: ds.map_batches(lambda batch: batch),
        lambda ds: ds.filter(lambda row: True),
        lambda ds: ds.sort("id"),
        lambda ds: ds.random_shuffle(),
        lambda ds: ds.repartition(3),
        lambda ds: ds.groupby("id").count(),
        lambda ds: ds.groupby("id").map_groups(lambda group: group),
        lambda ds: ds.union(ds),
        lambda ds: ds.zip(ds),
        lambda ds: ds.limit(3),
        lambda ds: ds.select_columns("id"),
    ],
)
def test_a_dataset_without_rows_goes_through_every_step(step: Any) -> None:
    empty = numbers(10).filter(lambda row: False)
    assert step(empty).take_all() == []
    assert step(shoal.data.from_items([])).take_all() == []


def test_aggregates_of_all_values() -> None:
    values = [3, None, 0, 3, -8, 1, 1, 1]
    dataset = shoal.data.from_items([{"k": 1, "x": value} for value in values], override_num_blocks=3)
    aggregates = [
        AbsMax("x"),
        AsList("x"),
        CountDistinct("x"),
        Unique("x"),
        ValueCounter("x"),
        Quantile("x", q=0.25),
        MissingValuePercentage("x"),
        ZeroPercentage("x"),
    ]
    present = [value for value in values if value is not None]
    expected = {
        "abs_max(x)": 8,
        "list(x)": present,
        "count_distinct(x)": 4,
        "unique(x)": [3, 0, -8, 1],
        "value_counter(x)": {"values": [3, 0, -8, 1], "counts": [2, 1, 1, 3]},
        "quantile(x)": float(np.quantile(present, 0.25)),
        "missing_pct(x)": 12.5,
        "zero_pct(x)": pytest.approx(100 / 7),
    }
    assert dataset.aggregate(*aggregates) == expected
    [row] = dataset.groupby("k").aggregate(*aggregates).take_all()
    assert row == {"k": 1, **expected}


def test_a_dataset_has_a_name_and_knows_its_files(tmp_path: Any) -> None:
    numbers(4, 2).write_csv(tmp_path / "out")
    dataset = shoal.data.read_csv(tmp_path / "out").filter(expr="id > 0")
    assert dataset.input_files() == sorted(str(path) for path in (tmp_path / "out").iterdir())
    dataset.set_name("train")
    assert dataset.name == "train"
    assert repr(dataset).startswith("Dataset(train: ")


def test_statistics_name_the_bottleneck() -> None:
    import time

    def slow(batch: Any) -> Any:
        time.sleep(0.05)
        return batch

    dataset = numbers(40, 4).materialize().map_batches(slow, batch_size=10)
    dataset.take_all()
    text = dataset.stats()
    assert "4 tasks, 4 blocks, 40 rows" in text
    assert "MapBatches(slow)" in text.partition("bottleneck is")[2]


def test_groups_of_decimals_with_and_without_kernels_of_arrow(session: str) -> None:
    money = pa.array([Decimal("1.00"), Decimal("0.01"), None, Decimal("7.25")], pa.decimal128(15, 2))
    rides = shoal.data.from_arrow(pa.table({"city": ["b", "a", "a", "b"], "fare": money}))
    aggregates = (Count(), Sum("fare"), Mean("fare"), Unique("fare"), CountDistinct("fare"))
    assert rides.groupby("city").aggregate(*aggregates).take_all() == [
        {
            "city": "a",
            "count()": 2,
            "sum(fare)": Decimal("0.01"),
            "mean(fare)": 0.01,
            "unique(fare)": [Decimal("0.01")],
            "count_distinct(fare)": 1,
        },
        {
            "city": "b",
            "count()": 2,
            "sum(fare)": Decimal("8.25"),
            "mean(fare)": 4.125,
            "unique(fare)": [Decimal("1.00"), Decimal("7.25")],
            "count_distinct(fare)": 2,
        },
    ]
    assert rides.groupby(None).aggregate(Mean("fare"), Count("fare", ignore_nulls=True)).take_all() == [
        {"mean(fare)": pytest.approx(8.26 / 3), "count(fare)": 3}
    ]
    assert rides.mean("fare") == pytest.approx(8.26 / 3)
    nothing = rides.filter(lambda row: False).groupby("city").aggregate(*aggregates)
    assert nothing.take_all() == []


def test_rows_go_to_other_libraries_as_a_whole(session: str) -> None:
    pytest.importorskip("datasets")
    ds = shoal.data.range(10, override_num_blocks=3).map(
        lambda row: {"id": row["id"], "name": f"n{row['id']}"}
    )
    assert ds.to_arrow().column("id").to_pylist() == list(range(10))
    assert ds.to_numpy("id").tolist() == list(range(10))
    assert ds.to_numpy()["name"].tolist() == [f"n{number}" for number in range(10)]
    with pytest.raises(KeyError, match="nothing"):
        ds.to_numpy("nothing")
    assert ds.to_huggingface().filter(lambda row: row["id"] > 7)["name"] == ["n8", "n9"]
    assert shoal.data.from_huggingface(ds.to_huggingface()).take_all() == ds.take_all()
    assert ds.quantile("id") == 4.5
    assert ds.quantile(["id"], q=1.0) == {"quantile(id)": 9}


def test_a_seed_may_give_each_execution_another_order_and_each_program_the_same_ones(session: str) -> None:
    def orders(config: Any) -> list[list[int]]:
        shuffled = shoal.data.range(50, override_num_blocks=4).random_shuffle(seed=config)
        return [[row["id"] for row in shuffled.take_all()] for _ in range(3)]

    first = orders(RandomSeedConfig(7))
    assert first == orders(RandomSeedConfig(7))
    assert len({tuple(order) for order in first}) == 3
    assert all(sorted(order) == list(range(50)) for order in first)
    same = orders(RandomSeedConfig(7, reseed_after_execution=False))
    assert len({tuple(order) for order in same}) == 1

    sample = shoal.data.range(1000).random_sample(0.5, seed=RandomSeedConfig(7))
    assert len({tuple(row["id"] for row in sample.take_all()) for _ in range(3)}) == 3
    assert RandomSeedConfig.create_seed_config(3).get_seed_tuple() == (3,)
    assert RandomSeedConfig(None, use_timestamp_as_default=True).seed is not None
    with pytest.raises(TypeError, match="a seed is a whole number"):
        RandomSeedConfig.create_seed_config("x")
