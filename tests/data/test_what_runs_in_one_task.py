"""What is done in one task, so that rows do not lie in the store between steps, and what must not be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import shoal.data
from shoal.data.sinks import files
from shoal.data.sources import files as sources

pytestmark = pytest.mark.usefixtures("inline")
ROWS = 400


def numbers() -> shoal.data.Dataset:
    return shoal.data.range(ROWS, override_num_blocks=8)


def written(folder: Path) -> list[int]:
    return sorted(
        number for path in folder.glob("*.parquet") for number in pq.read_table(path).column("id").to_pylist()
    )


def test_what_is_read_and_mapped_is_written_by_the_same_task(tmp_path: Path) -> None:
    dataset = numbers().map_batches(lambda batch: {"id": batch["id"] + 1})
    dataset.write_parquet(tmp_path)
    assert written(tmp_path) == list(range(1, ROWS + 1))
    assert len(list(tmp_path.glob("*.parquet"))) == 8
    assert "WriteParquet: 8 tasks, 8 blocks" in dataset.stats(), "and there is no other step"
    assert dataset.stats().count(" tasks, ") == 1


def test_a_block_that_may_be_left_out_is_made_apart_from_its_write(tmp_path: Path) -> None:
    def step(batch: dict[str, Any]) -> dict[str, Any]:
        if 200 in batch["id"]:
            raise ValueError("200")
        return batch

    dataset = numbers().map_batches(step)
    dataset.context.max_errored_blocks = 1
    dataset.write_parquet(tmp_path)
    assert written(tmp_path) == [number for number in range(ROWS) if not 200 <= number < 250]


def test_a_task_begins_another_file_before_it_holds_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_FILE_BYTES", 1000)
    dataset = shoal.data.range(ROWS, override_num_blocks=1).map_batches(lambda batch: batch, batch_size=100)
    dataset.write_parquet(tmp_path)
    assert written(tmp_path) == list(range(ROWS))
    assert [pq.read_metadata(path).num_rows for path in tmp_path.glob("*.parquet")] == [200, 200]


def test_what_is_shuffled_is_read_by_the_task_that_splits_it() -> None:
    shuffled = numbers().random_shuffle(seed=1).materialize()
    stats = shuffled.stats()
    assert "→ RandomShuffle: " in stats
    assert stats.count(" tasks, ") == 1
    assert sorted(row["id"] for row in shuffled.take_all()) == list(range(ROWS))


def test_a_function_before_a_shuffle_runs_in_tasks_of_its_own() -> None:
    """What it makes may be much more than what was read, and is split block by block."""
    grown = numbers().flat_map(lambda row: [row] * 3).random_shuffle(seed=1).materialize()
    assert grown.stats().count(" tasks, ") == 2
    assert grown.count() == 3 * ROWS


def test_what_is_sorted_is_read_by_the_task_that_splits_it_and_its_keys_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sources, "_LARGE_ENOUGH", 1)
    numbers().random_shuffle(seed=1).map(lambda row: {**row, "text": str(row["id"])}).write_parquet(tmp_path)
    ordered = shoal.data.read_parquet(tmp_path).sort("id", descending=True).materialize()
    stats = ordered.stats()
    assert "ReadParquet" in stats
    assert stats.count(" tasks, ") == 1, "there is no step that only reads"
    assert [row["id"] for row in ordered.take_all()] == list(reversed(range(ROWS)))
    with pytest.raises(KeyError, match="typo"):
        shoal.data.read_parquet(tmp_path).sort("typo").take_all()
