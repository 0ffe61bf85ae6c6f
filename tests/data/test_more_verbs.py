"""Verbs that hand rows to loops and other libraries, mix, sum up, look up and cut while rows stream."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import shoal
import shoal.data
from shoal.data import DataContext, Dataset, MixStoppingCondition, col
from shoal.data.aggregate import Max
from shoal.data.collate_fn import (
    ArrowBatchCollateFn,
    DefaultCollateFn,
    NumpyBatchCollateFn,
    PandasBatchCollateFn,
    is_tensor_batch_type,
)

pytestmark = pytest.mark.usefixtures("session")


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": n, "kind": "ab"[n % 2], "x": n / 2} for n in range(count)]


def test_a_mix_takes_rows_in_proportion_until_the_first_or_the_last_ends() -> None:
    left = shoal.data.from_items([{"of": "left"}] * 30, override_num_blocks=30).materialize()
    right = shoal.data.from_items([{"of": "right"}] * 30, override_num_blocks=30).materialize()
    mixed = [row["of"] for row in left.mix(right, weights=[2, 1]).take_all()]
    assert len(mixed) == 60
    assert mixed[:30].count("left") == 20
    short = left.mix(right, weights=[2, 1], stopping_condition=MixStoppingCondition.STOP_ON_SHORTEST)
    assert 44 <= short.count() <= 46
    with pytest.raises(ValueError, match="weights must be 2 numbers"):
        left.mix(right, weights=[1, 0])


def test_sides_of_a_streaming_split_are_disjoint_and_together_everything() -> None:
    ds = shoal.data.range(1000, override_num_blocks=7)
    for how in ({"split_type": "random"}, {"split_type": "hash", "hash_column": "id"}):
        train, test = ds.streaming_train_test_split(0.3, seed=3, **how)
        left, right = ([row["id"] for row in side.take_all()] for side in (train, test))
        assert sorted(left + right) == list(range(1000))
        assert 230 < len(right) < 370
        assert [row["id"] for row in test.take_all()] == right
    with pytest.raises(ValueError, match="hash_column"):
        ds.streaming_train_test_split(0.3, split_type="hash")


def test_a_stratified_split_keeps_the_shares_of_each_class() -> None:
    ds = shoal.data.from_items([{"id": n, "label": "rare" if n % 10 == 0 else "common"} for n in range(100)])
    train, test = ds.train_test_split(0.2, stratify="label")
    assert sorted(row["id"] for row in train.take_all() + test.take_all()) == list(range(100))
    assert pd.Series([row["label"] for row in test.take_all()]).value_counts().to_dict() == {
        "common": 18,
        "rare": 2,
    }
    assert test.columns() == ["id", "label"]
    with pytest.raises(ValueError, match="stratify"):
        ds.train_test_split(20, stratify="label")


def test_a_summary_has_the_statistics_of_each_kind_of_column() -> None:
    items = [*rows(10), {"id": None, "kind": None, "x": 0.0}]
    summary = shoal.data.from_items(items, override_num_blocks=3).summary()
    assert summary.get_column_stats("id") | {"std": 0} == {
        "count": 11, "missing_pct": 100 / 11, "mean": 4.5, "min": 0, "max": 9, "std": 0, "zero_pct": 10.0,
    }  # fmt: skip
    assert summary.get_column_stats("kind") == {"count": 11, "missing_pct": 100 / 11, "min": "a", "max": "b"}
    frame = summary.to_pandas().set_index("statistic")
    assert frame.loc["mean", "x"] == pytest.approx(sum(n / 2 for n in range(10)) / 11)
    assert frame.loc["mean", "kind"] is None
    only = shoal.data.from_items(items).summary(["x"], {pa.float64(): lambda name: [Max(name)]})
    assert only.get_column_stats("x") == {"max": 4.5}
    with pytest.raises(KeyError, match="no column 'y'"):
        shoal.data.from_items(items).summary(["y"])


def test_rows_are_looked_up_by_their_keys() -> None:
    lookup = (
        shoal.data.from_items(rows(50)).random_shuffle(seed=1).to_random_access_dataset("id", num_workers=3)
    )
    assert shoal.get(lookup.get_async(17)) == rows(50)[17]
    assert shoal.get(lookup.get_async(-1)) is None
    assert lookup.multiget([49, 99, 0]) == [rows(50)[49], None, rows(50)[0]]
    assert lookup.stats().startswith("3 actors: 16 rows, asked")


def test_a_plan_is_carried_out_in_another_process(tmp_path: Path) -> None:
    pq.write_table(pa.table({"x": [1, 2, 3]}), tmp_path / "x.parquet")
    ds = shoal.data.read_parquet(str(tmp_path)).filter(expr=col("x") > 1)
    (tmp_path / "plan").write_bytes(ds.serialize_lineage())
    code = (
        "import shoal, shoal.data, pathlib, sys\n"
        "shoal.init(engine='inline')\n"
        "plan = pathlib.Path(sys.argv[1]).read_bytes()\n"
        "print(shoal.data.Dataset.deserialize_lineage(plan).take_all())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "plan")],
        capture_output=True,
        text=True,
        check=True,
        timeout=100,
    )
    assert done.stdout.strip() == "[{'x': 2}, {'x': 3}]"
    kept = ds.materialize()
    assert not kept.has_serializable_lineage()
    with pytest.raises(ValueError, match="blocks that lie in this session"):
        kept.serialize_lineage()


def test_copies_have_settings_of_their_own_and_ids_differ() -> None:
    ds = shoal.data.range(3)
    ds.set_name("train")
    other = Dataset.copy(ds)
    other.context.max_errored_blocks = 3
    assert ds.context.max_errored_blocks == 0
    assert other.take_all() == ds.take_all()
    assert ds.get_dataset_id() == ds.get_dataset_id() != other.get_dataset_id()
    assert ds.get_dataset_id().startswith("train_")


def test_schemas_are_not_computed_where_they_must_not() -> None:
    ds = shoal.data.range(3).map(lambda row: row)
    assert ds.schema(fetch_if_missing=False) is None
    assert ds.columns(fetch_if_missing=False) is None
    ds.materialize()
    assert ds.columns(fetch_if_missing=False) == ["id"]
    assert sum(bundle.rows for bundle in ds.iter_internal_ref_bundles()) == 3
    assert sum(table.num_rows for table in shoal.get(ds.get_internal_block_refs())) == 3


def test_options_of_tasks_are_asked_for_each_time() -> None:
    asked = []

    def options() -> dict[str, Any]:
        asked.append(1)
        return {"num_cpus": 1}

    ds = shoal.data.range(4, override_num_blocks=4).materialize()
    assert ds.map(lambda row: row, ray_remote_args_fn=options).count() == 4
    assert len(asked) == 4
    with pytest.raises(TypeError, match="unknown option"):
        ds.map(lambda row: row, ray_remote_args_fn=lambda: {"cpus": 1}).count()


def test_a_limit_goes_below_batches_that_keep_their_number(tmp_path: Path) -> None:
    log = tmp_path / "log"

    def note(batch: dict[str, Any]) -> dict[str, Any]:
        with log.open("a") as file:
            file.write(f"{len(batch['id'])}\n")
        return batch

    ds = shoal.data.range(1000, override_num_blocks=1)
    assert ds.map_batches(note, udf_modifying_row_count=False).limit(5).count() == 5
    assert log.read_text() == "5\n"
    with pytest.raises(ValueError, match="made 2 rows of 3"):
        shoal.data.range(3).map_batches(
            lambda batch: {"id": batch["id"][:2]}, udf_modifying_row_count=False
        ).take_all()


def test_groups_get_columns_and_classes() -> None:
    ds = shoal.data.from_items(rows(6))
    ranked = ds.groupby("kind").with_column("rank", col("x").apply(pc.rank)).sort("id").take_all()
    assert [row["rank"] for row in ranked] == [1, 1, 2, 2, 3, 3]

    class Add:
        def __init__(self, more: int) -> None:
            self.more = more

        def __call__(self, group: dict[str, Any]) -> dict[str, Any]:
            group["id"] += self.more  # a copy, since zero_copy_batch is False
            return group

    added = ds.groupby("kind").map_groups(Add, fn_constructor_args=(10,), zero_copy_batch=False)
    assert sorted(row["id"] for row in added.take_all()) == list(range(10, 16))


def test_dask_and_back() -> None:
    ds = shoal.data.from_items(rows(6), override_num_blocks=2)
    frame = ds.to_dask()
    assert frame.npartitions == 2
    assert frame.groupby("kind").x.sum().compute(scheduler="synchronous").to_dict() == {"a": 3.0, "b": 4.5}


def test_polars_and_back() -> None:
    pl = pytest.importorskip("polars")
    ds = shoal.data.from_polars([pl.DataFrame({"x": [1, 2]}), pl.LazyFrame({"x": [3]})])
    assert ds.count() == 3
    assert ds.to_polars()["x"].to_list() == [1, 2, 3]
    with pytest.raises(TypeError, match="polars"):
        shoal.data.from_polars(pd.DataFrame({"x": [1]}))


@pytest.mark.parametrize("package", ["tensorflow", "modin", "daft", "jax"])
def test_a_library_that_is_missing_is_named(package: str) -> None:
    ds = shoal.data.range(3)
    calls = {
        "tensorflow": [lambda: ds.iter_tf_batches(), lambda: ds.to_tf("id", "id")],
        "modin": [ds.to_modin],
        "daft": [ds.to_daft],
        "jax": [lambda: ds.iter_jax_batches()],
    }
    try:
        __import__(package)
    except ImportError:
        pass
    else:
        pytest.skip(f"{package} is here")
    for call in calls[package]:
        with pytest.raises(ImportError, match=f"pip install {package}"):
            call()


class Twice(NumpyBatchCollateFn):
    def __call__(self, batch: dict[str, Any]) -> Any:
        return {"twice": batch["id"] * 2}


class Names(PandasBatchCollateFn):
    def __call__(self, batch: Any) -> Any:
        return list(batch.columns)


class Rows(ArrowBatchCollateFn):
    def __call__(self, batch: Any) -> Any:
        return batch.num_rows


def test_collate_functions_get_the_form_they_ask_for() -> None:
    pytest.importorskip("torch")
    ds = shoal.data.range(5)
    np.testing.assert_array_equal(next(ds.iter_torch_batches(collate_fn=Twice()))["twice"], [0, 2, 4, 6, 8])
    assert list(ds.iter_torch_batches(collate_fn=Names())) == [["id"]]
    assert list(ds.iter_torch_batches(batch_size=2, collate_fn=Rows())) == [2, 2, 1]


def test_tensors_of_columns() -> None:
    torch = pytest.importorskip("torch")
    ds = shoal.data.from_items(rows(5)).drop_columns("kind")
    made = next(ds.iter_torch_batches(collate_fn=DefaultCollateFn({"id": torch.float32}, num_workers=2)))
    assert made["id"].dtype is torch.float32
    assert made["x"].dtype is torch.float64
    assert is_tensor_batch_type(made)
    assert not is_tensor_batch_type({"id": [1]})
    pieces = DefaultCollateFn(combine_chunks=False)(pa.table({"x": pa.chunked_array([[1, 2], [3]])}))
    assert [piece.tolist() for piece in pieces["x"]] == [[1, 2], [3]]
    with pytest.raises(ValueError, match="not both"):
        ds.iter_torch_batches(dtypes=torch.float32, collate_fn=Twice())


def test_a_torch_dataset_of_features_and_labels() -> None:
    torch = pytest.importorskip("torch")
    ds = shoal.data.from_items([{"a": float(n), "b": float(-n), "y": n} for n in range(4)])
    batches = list(ds.to_torch(label_column="y", batch_size=2, feature_column_dtypes=torch.float32))
    features, label = batches[1]
    assert features.tolist() == [[2, -2], [3, -3]]
    assert features.dtype is torch.float32
    assert label.tolist() == [[2], [3]]
    named, none = next(iter(ds.to_torch(feature_columns={"left": ["a"], "both": ["a", "b"]}, batch_size=4)))
    assert none is None
    assert named["left"].shape == (4, 1)
    assert named["both"].shape == (4, 2)
    parts, _ = next(
        iter(ds.to_torch(feature_columns=[["a"], ["b"]], batch_size=4, unsqueeze_feature_tensors=False))
    )
    assert [part.shape for part in parts] == [(4,), (4,)]


def test_torch_datasets_are_read_here_if_asked() -> None:
    torch = pytest.importorskip("torch")
    here = {"reads": 0}

    class Counted(torch.utils.data.Dataset):  # type: ignore[misc]
        def __len__(self) -> int:
            return 3

        def __getitem__(self, number: int) -> dict[str, int]:
            here["reads"] += 1
            return {"x": number}

    assert shoal.data.from_torch(Counted(), local_read=True).count() == 3
    assert here["reads"] == 3
    assert DataContext.get_current() is DataContext.get_current()
