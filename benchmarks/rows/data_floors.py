"""What others do with the tables of `data`: pyarrow in one process, Dask's DataFrame in threads, torch's loader."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.data import BATCH, add_up, functions
from rows.tables import features, megabytes, narrow, target, wide

ROWS = Rows()


def _write(bench: Bench, by_row: bool) -> Reading:
    import pyarrow as pa
    import pyarrow.dataset as ds
    import pyarrow.parquet as pq

    folder = wide(bench)
    double, scale = functions()

    def step() -> None:
        import os

        where = target()
        os.mkdir(where)
        for number, fragment in enumerate(sorted(ds.dataset(folder).get_fragments(), key=lambda f: f.path)):
            made = []
            for batch in fragment.to_batches(batch_size=BATCH, use_threads=False):
                table = pa.Table.from_batches([batch])
                if by_row:
                    table = pa.Table.from_pylist([double(row) for row in table.to_pylist()])
                columns = {name: table.column(name).to_numpy() for name in table.column_names}
                made.append(pa.table(scale(columns)))
            pq.write_table(pa.concat_tables(made), f"{where}/{number}.parquet")

    return bench.once(step, megabytes(bench))


@ROWS.row("pyarrow: read, map_batches, write", unit="MB/s")
def write_batches(bench: Bench) -> Reading:
    """One process, and the threads that pyarrow takes for a file's columns."""
    return _write(bench, by_row=False)


@ROWS.row("pyarrow: read, map, map_batches, write", unit="MB/s", seconds=600)
def write_rows(bench: Bench) -> Reading:
    """The same with a function of rows before it."""
    return _write(bench, by_row=True)


@ROWS.row("pyarrow: sort", unit="MB/s", seconds=300)
def sort(bench: Bench) -> Reading:
    import pyarrow.dataset as ds

    folder = narrow(bench)
    return bench.once(lambda: ds.dataset(folder).to_table().sort_by("key"), megabytes(bench))


@ROWS.row("pyarrow: shuffle", unit="MB/s", seconds=300)
def shuffle(bench: Bench) -> Reading:
    import numpy as np
    import pyarrow as pa
    import pyarrow.dataset as ds

    folder = narrow(bench)

    def step() -> None:
        table = ds.dataset(folder).to_table()
        table.take(pa.array(np.random.default_rng().permutation(table.num_rows)))

    return bench.once(step, megabytes(bench))


@ROWS.row("pyarrow: group-by", unit="MB/s", seconds=300)
def group_by(bench: Bench) -> Reading:
    import pyarrow.dataset as ds

    folder = narrow(bench)
    return bench.once(
        lambda: (
            ds.dataset(folder)
            .to_table(columns=["group", "value"])
            .group_by("group")
            .aggregate([("value", "mean")])
        ),
        megabytes(bench),
    )


@ROWS.row("pyarrow: join", unit="MB/s", seconds=300)
def join(bench: Bench) -> Reading:
    import pyarrow.dataset as ds

    folder = narrow(bench)

    def step() -> None:
        left = ds.dataset(folder).to_table()
        right = ds.dataset(folder).to_table(columns=["key", "value"]).rename_columns(["key", "other"])
        left.join(right, "key", join_type="inner")

    return bench.once(step, megabytes(bench))


def _dask(bench: Bench, step: Callable[[Any, str], Any]) -> Reading:
    """Run a step of Dask's DataFrames with its threads, one for each CPU, as it chooses itself."""
    import dask.dataframe as dd

    folder = narrow(bench)
    return bench.once(lambda: step(dd, folder), megabytes(bench))


@ROWS.row("dask: read, map_batches, write", unit="MB/s", seconds=600)
def dask_batches(bench: Bench) -> Reading:
    import dask.dataframe as dd

    folder = wide(bench)
    _, scale = functions()

    def scaled(frame: Any) -> Any:
        return frame.assign(value=scale({"value": frame["value"]})["value"])

    def step() -> None:
        frame = dd.read_parquet(folder)
        frame.map_partitions(scaled, meta=frame._meta).to_parquet(target(), schema=None)

    return bench.once(step, megabytes(bench))


@ROWS.row("dask: sort", unit="MB/s", seconds=600)
def dask_sort(bench: Bench) -> Reading:
    return _dask(bench, lambda dd, folder: dd.read_parquet(folder).sort_values("key").persist())


@ROWS.row("dask: group-by", unit="MB/s", seconds=600)
def dask_group_by(bench: Bench) -> Reading:
    return _dask(
        bench,
        lambda dd, folder: (
            dd.read_parquet(folder, columns=["group", "value"]).groupby("group").value.mean().compute()
        ),
    )


@ROWS.row("dask: join", unit="MB/s", seconds=600)
def dask_join(bench: Bench) -> Reading:
    def step(dd: Any, folder: str) -> Any:
        right = dd.read_parquet(folder, columns=["key", "value"]).rename(columns={"value": "other"})
        return dd.read_parquet(folder).merge(right, on="key").persist()

    return _dask(bench, step)


@ROWS.row("torch DataLoader with two workers", unit="rows/s", seconds=300)
def torch_loader(bench: Bench) -> Reading:
    """Each worker reads half of the files with pyarrow and yields batches of tensors."""
    import pyarrow.dataset as ds
    import torch
    from torch.utils.data import DataLoader, IterableDataset, get_worker_info

    folder = features(bench)
    rows = bench.size(2_000_000_000, 200_000_000) // 40

    class Files(IterableDataset[Any]):
        def __iter__(self) -> Any:
            worker = get_worker_info()
            assert worker is not None
            files = sorted(fragment.path for fragment in ds.dataset(folder).get_fragments())
            mine = ds.dataset(files[worker.id :: worker.num_workers])
            for batch in mine.to_batches(batch_size=BATCH, use_threads=False):
                yield {
                    name: torch.from_numpy(batch.column(name).to_numpy().copy())
                    for name in batch.schema.names
                }

    def step() -> None:
        read = add_up(DataLoader(Files(), batch_size=None, num_workers=2, prefetch_factor=4))
        if read != rows:
            raise RuntimeError(f"{read} rows came of {rows}")

    return bench.once(step, rows)
