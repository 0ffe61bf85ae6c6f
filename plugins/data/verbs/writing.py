"""Verbs that write rows to files and other sinks: they execute the plan."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.data.compute import placement
from shoal.data.plan.logical import Write
from shoal.data.sinks.datasink import Datasink, WriteResult
from shoal.data.sinks.files import (
    CsvWriter,
    FileDatasink,
    FileWriter,
    JsonWriter,
    NumpyWriter,
    ParquetWriter,
    SaveMode,
)
from shoal.data.verbs.base import Planned
from shoal.errors import describe


class Writing(Planned):
    """write_parquet and its like.

    All of them take: `path`, the folder; `filesystem`, of pyarrow.fs or fsspec; `mode`, "append", "overwrite", "ignore"
    or "error"; `min_rows_per_file`; `concurrency`, how many files are written at a time; `ray_remote_args`, options of
    tasks. A file appears whole or not at all, and a write that fails deletes what it wrote.
    """

    def write_datasink(
        self,
        datasink: Datasink[Any],
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Write all rows to a sink. Raises what computing the rows and the sink raise.

        Example: `ds.write_datasink(FileDatasink("out", ParquetWriter()))`
        """
        if not isinstance(datasink, Datasink):
            raise TypeError(f"a Datasink is needed, not {describe(datasink)}")
        datasink.on_write_start()
        if getattr(datasink, "skips", False):
            return
        plan = Write(self._plan, datasink, placement(ray_remote_args or {}), concurrency)
        try:
            reports = [row for table in self._blocks(plan) for row in table.to_pylist()]
            # The sink's own values, made by our tasks and carried by our store.
            results = [pickle.loads(report["result"]) for report in reports]
            datasink.on_write_complete(
                WriteResult(
                    sum(report["rows"] for report in reports),
                    sum(report["bytes"] for report in reports),
                    results,
                )
            )
        except BaseException as error:
            datasink.on_write_failed(error)
            raise

    def write_parquet(
        self,
        path: str | os.PathLike[str],
        *,
        partition_cols: Sequence[str] | None = None,
        filesystem: Any = None,
        min_rows_per_file: int | None = None,
        max_rows_per_file: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        concurrency: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        **arrow_parquet_args: Any,
    ) -> None:
        """Write Parquet files; with `partition_cols` in folders `name=value`.

        `arrow_parquet_args` are options of pyarrow.parquet.write_table, such as compression="zstd".

        Example: `ds.write_parquet("out", partition_cols=["city"])`
        """
        self._write_files(
            path,
            ParquetWriter(arrow_parquet_args),
            {
                "filesystem": filesystem,
                "mode": mode,
                "partition_cols": partition_cols,
                "min_rows": min_rows_per_file,
                "max_rows": max_rows_per_file,
            },
            concurrency,
            ray_remote_args,
        )

    def write_csv(
        self,
        path: str | os.PathLike[str],
        *,
        filesystem: Any = None,
        min_rows_per_file: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        concurrency: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        **arrow_csv_args: Any,
    ) -> None:
        """Write CSV files; `arrow_csv_args` are options of pyarrow.csv.write_csv.

        Example: `ds.write_csv("out")`
        """
        how = {"filesystem": filesystem, "mode": mode, "min_rows": min_rows_per_file}
        self._write_files(path, CsvWriter(arrow_csv_args), how, concurrency, ray_remote_args)

    def write_json(
        self,
        path: str | os.PathLike[str],
        *,
        filesystem: Any = None,
        min_rows_per_file: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        concurrency: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Write files of JSON, one object a line. Bytes are base64, dates ISO 8601.

        Example: `ds.write_json("out")`
        """
        how = {"filesystem": filesystem, "mode": mode, "min_rows": min_rows_per_file}
        self._write_files(path, JsonWriter(), how, concurrency, ray_remote_args)

    def write_numpy(
        self,
        path: str | os.PathLike[str],
        *,
        column: str,
        filesystem: Any = None,
        min_rows_per_file: int | None = None,
        mode: SaveMode | str = SaveMode.APPEND,
        concurrency: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
    ) -> None:
        """Write one column as `.npy` files.

        Example: `ds.write_numpy("out", column="image")`
        """
        how = {"filesystem": filesystem, "mode": mode, "min_rows": min_rows_per_file}
        self._write_files(path, NumpyWriter(column), how, concurrency, ray_remote_args)

    def _write_files(
        self,
        path: str | os.PathLike[str],
        writer: FileWriter,
        how: Mapping[str, Any],
        concurrency: int | None,
        options: Mapping[str, Any] | None,
    ) -> None:
        sink = FileDatasink(os.fspath(path), writer, **how)
        self.write_datasink(sink, ray_remote_args=options, concurrency=concurrency)
