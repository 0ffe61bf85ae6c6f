"""Datasets: a pipeline from files to files, what needs all rows, batches for a training loop, memory."""

from __future__ import annotations

import importlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading
from harness.processes import resident_mb

from rows.tables import features, megabytes, narrow, small, target, wide

ROWS = Rows()
BATCH = 4096
_SAMPLE_SECONDS = 0.1
_MOST = 900.0  # seconds


def functions() -> tuple[Any, Any]:
    """Return what `map` does to a row and `map_batches` to a batch; made here, so that they travel by value."""

    def double(row: dict[str, Any]) -> dict[str, Any]:
        return {**row, "double": row["value"] * 2}

    def scale(batch: dict[str, Any]) -> dict[str, Any]:
        return {**batch, "value": batch["value"] * 0.5 + 1}

    return double, scale


def add_up(batches: Any) -> int:
    """Go over batches as a training loop does, and return how many rows they had."""
    rows = 0
    for batch in batches:
        rows += len(next(iter(batch.values())))
    return rows


def datasets(bench: Bench) -> Any:
    """Return the module of datasets, quiet."""
    module = importlib.import_module(f"{bench.api.__name__}.data")
    module.DataContext.get_current().enable_progress_bars = False
    return module


def peak_mb(step: Callable[[], object]) -> tuple[float, float]:
    """Return the most memory (PSS) that all processes had together during a step, and its seconds."""
    peak, ended = 0.0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not ended.wait(_SAMPLE_SECONDS):
            peak = max(peak, resident_mb(os.getpid())[0])

    watcher = threading.Thread(target=watch)
    begun = time.perf_counter()
    watcher.start()
    try:
        step()
    finally:
        seconds = time.perf_counter() - begun
        ended.set()
        watcher.join()
    return peak, seconds


_double, _scale = functions()


@ROWS.row("data: first batch of a pipeline", unit="s", less_is_better=True, limit=1.0, seconds=_MOST)
def first_batch(bench: Bench) -> Reading:
    """Until the first batch is there, in a session that has just begun."""
    folder, data = wide(bench), datasets(bench)
    begun = time.perf_counter()
    next(iter(data.read_parquet(folder).map_batches(_scale).iter_batches(batch_size=BATCH)))
    return Reading(time.perf_counter() - begun)


@ROWS.row(
    "data: read, map_batches, write",
    unit="MB/s",
    required=3,
    floor="pyarrow: read, map_batches, write",
    share=1.4,
    seconds=_MOST,
    once=True,
)
def batches_written(bench: Bench) -> Reading:
    """Parquet to Parquet through a function of batches."""
    folder, data = wide(bench), datasets(bench)
    return bench.once(
        lambda: data.read_parquet(folder).map_batches(_scale, batch_size=BATCH).write_parquet(target()),
        megabytes(bench),
    )


@ROWS.row(
    "data: read, map, map_batches, write",
    unit="MB/s",
    required=3,
    floor="pyarrow: read, map, map_batches, write",
    seconds=_MOST,
    once=True,
)
def rows_written(bench: Bench) -> Reading:
    """The same with a function of rows before it."""
    folder, data = wide(bench), datasets(bench)
    return bench.once(
        lambda: (
            data.read_parquet(folder)
            .map(_double)
            .map_batches(_scale, batch_size=BATCH)
            .write_parquet(target())
        ),
        megabytes(bench),
    )


@ROWS.row(
    "data: peak memory of read, map_batches, write",
    unit="MB",
    less_is_better=True,
    required=2,
    seconds=_MOST,
    once=True,
)
def peak_of_pipeline(bench: Bench) -> Reading:
    """PSS of the session's processes at its most."""
    folder, data = wide(bench), datasets(bench)
    peak, seconds = peak_mb(
        lambda: data.read_parquet(folder).map_batches(_scale, batch_size=BATCH).write_parquet(target())
    )
    return Reading(peak, {"seconds": seconds})


@ROWS.row("data: sort", unit="MB/s", required=3, floor="pyarrow: sort", seconds=_MOST, once=True)
def sort(bench: Bench) -> Reading:
    """Rows of 100 bytes by a random key, into the store."""
    folder, data = narrow(bench), datasets(bench)
    return bench.once(lambda: data.read_parquet(folder).sort("key").materialize(), megabytes(bench))


@ROWS.row("data: random_shuffle", unit="MB/s", required=3, floor="pyarrow: shuffle", seconds=_MOST, once=True)
def shuffle(bench: Bench) -> Reading:
    """Rows of 100 bytes, into the store."""
    folder, data = narrow(bench), datasets(bench)
    return bench.once(lambda: data.read_parquet(folder).random_shuffle().materialize(), megabytes(bench))


@ROWS.row("data: groupby mean", unit="MB/s", required=3, floor="pyarrow: group-by", seconds=_MOST, once=True)
def group_by(bench: Bench) -> Reading:
    """The mean of a column in 1,000 groups."""
    folder, data = narrow(bench), datasets(bench)
    return bench.once(
        lambda: data.read_parquet(folder).groupby("group").mean("value").take_all(), megabytes(bench)
    )


@ROWS.row("data: join", unit="MB/s", required=3, floor="pyarrow: join", seconds=_MOST, once=True)
def join(bench: Bench) -> Reading:
    """Rows of 100 bytes with two columns of the same table, by a unique key."""
    folder, data = narrow(bench), datasets(bench)

    def step() -> None:
        left = data.read_parquet(folder)
        right = data.read_parquet(folder, columns=["key", "value"]).rename_columns({"value": "other"})
        left.join(right, "inner", num_partitions=bench.size(32, 8), on=("key",)).materialize()

    return bench.once(step, megabytes(bench))


@ROWS.row(
    "data: iter_torch_batches",
    unit="rows/s",
    required=3,
    floor="torch DataLoader with two workers",
    share=1.0,
    seconds=_MOST,
    once=True,
)
def torch_batches(bench: Bench) -> Reading:
    """Batches of 4,096 rows of nine columns, as tensors."""
    folder, data = features(bench), datasets(bench)
    rows = bench.size(2_000_000_000, 200_000_000) // 40

    def step() -> None:
        read = add_up(data.read_parquet(folder).iter_torch_batches(batch_size=BATCH))
        if read != rows:
            raise RuntimeError(f"{read} rows came of {rows}")

    return bench.once(step, rows)


@ROWS.row("data: many small files", unit="files/s", required=5, seconds=_MOST, once=True)
def small_files(bench: Bench) -> Reading:
    """Files of 100 rows each, read and counted through a function of batches."""
    (folder, files), data = small(bench), datasets(bench)

    def step() -> None:
        counted = data.read_parquet(folder).map_batches(lambda batch: {"n": [len(batch["y"])]}).sum("n")
        if counted != files * 100:
            raise RuntimeError(f"{counted} rows came of {files} files")

    return bench.once(step, files)
