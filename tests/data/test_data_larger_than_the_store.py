"""Ten times as much data as the store holds goes through each kind of step, in memory that does not follow the data."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import psutil
import pytest

import shoal
import shoal.data

pytestmark = [pytest.mark.slow, pytest.mark.processes]
STORE = 64 * 2**20
ROW = 128  # bytes
ROWS = 10 * STORE // ROW
KEYS = 1003


@pytest.fixture(scope="module", autouse=True)
def small_store() -> Iterator[None]:
    with shoal.init(engine="native", num_cpus=2, num_gpus=0, object_store_memory=STORE):
        yield


def fill(batch: dict[str, Any]) -> dict[str, Any]:
    ids = batch["id"]
    return {
        "id": ids,
        "key": ids * 2654435761 % KEYS,
        "order": ids * 2654435761 % 2**31,
        "text": np.full(len(ids), "x" * (ROW - 28)),
    }


def table() -> shoal.data.Dataset:
    return shoal.data.range(ROWS, override_num_blocks=40).map_batches(fill, batch_size=8192)


def memory() -> float:
    """MiB that this process and all below it have, shared pages counted once."""
    found = 0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            found += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return found / 2**20


@contextmanager
def bounded(mib: float) -> Iterator[None]:
    """Fail if the session takes so much more memory at some time than at the beginning."""
    shoal.data.range(100).map(lambda row: row).take_all()  # workers that have imported what they need
    before, most, ended = memory(), [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(0.2):
            most[0] = max(most[0], memory())

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        ended.set()
        watcher.join()
    assert most[0] - before < mib


def test_a_stream() -> None:
    with bounded(400):
        rows = sum(
            len(batch["id"])
            for batch in table()
            .map_batches(lambda batch: batch, batch_size=4096)
            .iter_batches(batch_size=4096)
        )
    assert rows == ROWS


def test_a_sort() -> None:
    rows, last = 0, -1
    with bounded(400):
        for batch in table().sort("order").iter_batches(batch_size=4096):
            assert batch["order"][0] >= last
            assert (np.diff(batch["order"]) >= 0).all()
            rows, last = rows + len(batch["order"]), batch["order"][-1]
    assert rows == ROWS


def test_groups_as_they_are() -> None:
    with bounded(400):
        found = table().groupby("key").map_groups(lambda group: {"n": [len(group["id"])]}).take_all()
    assert len(found) == KEYS
    assert sum(row["n"] for row in found) == ROWS


def test_a_join() -> None:
    right = table().map_batches(lambda batch: {"id": batch["id"], "other": batch["text"]}, batch_size=8192)
    rows = 0
    with bounded(400):
        for batch in (
            table().join(right, "inner", on="id").iter_batches(batch_size=4096, batch_format="pyarrow")
        ):
            assert batch.column_names == ["id", "key", "order", "text", "other"]
            rows += batch.num_rows
    assert rows == ROWS


def test_one_partition_for_everything() -> None:
    """A key that all rows have: nothing but the disk can hold what one task reduces.

    What batches are views of stays in the store, hence the copies.
    """
    rows = ROWS // 4
    many = shoal.data.range(rows, override_num_blocks=10).map_batches(
        lambda batch: {**fill(batch), "key": np.zeros(len(batch["id"]), dtype=np.int64)}, batch_size=8192
    )
    with bounded(400):
        ids = [batch["id"].copy() for batch in many.sort("key").iter_batches(batch_size=4096)]
    assert (np.concatenate(ids) == np.arange(rows)).all(), "rows of equal keys keep their order"
