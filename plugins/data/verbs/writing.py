"""Verbs that write rows to files and other sinks: they execute the plan."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.data.catalogs import Catalog, CatalogAccessMode, ReaderFormat, resolved
from shoal.data.checkpoint.writing import go_on
from shoal.data.compute import placement
from shoal.data.keywords import FileSinkKeywords
from shoal.data.plan.logical import Write
from shoal.data.sinks.clickhouse import ClickHouseDatasink, ClickHouseTableSettings
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
from shoal.data.sinks.lakes import DeltaDatasink, IcebergDatasink, LanceDatasink
from shoal.data.sinks.mongo import MongoDatasink
from shoal.data.sinks.snowflake import SnowflakeConnection, SnowflakeDatasink
from shoal.data.sinks.writers import OrcWriter, PictureWriter, SqlDatasink, TfRecordWriter, WebDatasetWriter
from shoal.data.sources.clickhouse import ClickHouseConnection
from shoal.data.sources.mongo import MongoCollection
from shoal.data.verbs.base import Planned
from shoal.errors import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack


class Writing(Planned):
    """write_parquet and its like.

    What all that write files take is in `FileSinkKeywords`. A file appears whole or not at all, and a write that fails
    deletes what it wrote.
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
        before = self._plan
        if self._context.checkpoint_config is not None:
            before, datasink = go_on(before, datasink, self._context.checkpoint_config, self._context)
        datasink.on_write_start()
        if getattr(datasink, "skips", False):
            return
        if not datasink.supports_distributed_writes:
            concurrency = 1
        plan = Write(before, datasink, placement(ray_remote_args or {}), concurrency)
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
        max_rows_per_file: int | None = None,
        arrow_parquet_args: Mapping[str, Any] | None = None,
        **how: Unpack[FileSinkKeywords],
    ) -> None:
        """Write Parquet files; with `partition_cols` in folders `name=value`.

        `arrow_parquet_args` are options of pyarrow.parquet.write_table, which may also be given as they are
        (`compression="zstd"`); `max_rows_per_file` bounds a file's rows.

        Example: `ds.write_parquet("out", partition_cols=["city"])`
        """
        how, more = _apart(how)
        writer = ParquetWriter({**(arrow_parquet_args or {}), **more})
        self._write_files(path, writer, how, partition_cols=partition_cols, max_rows=max_rows_per_file)

    def write_csv(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_csv_args: Mapping[str, Any] | None = None,
        arrow_csv_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        **how: Unpack[FileSinkKeywords],
    ) -> None:
        """Write CSV files; `arrow_csv_args` are options of pyarrow.csv.write_csv.

        `arrow_csv_args_fn` returns more of them where the files are written, for those that cannot travel.

        Example: `ds.write_csv("out")`
        """
        how, more = _apart(how)
        self._write_files(
            path, CsvWriter({**(arrow_csv_args or {}), **more}, _options_fn(arrow_csv_args_fn)), how
        )

    def write_json(self, path: str | os.PathLike[str], **how: Unpack[FileSinkKeywords]) -> None:
        """Write files of JSON, one object a line. Bytes are base64, dates ISO 8601.

        Example: `ds.write_json("out")`
        """
        self._write_files(path, JsonWriter(), how)

    def write_numpy(
        self, path: str | os.PathLike[str], *, column: str, **how: Unpack[FileSinkKeywords]
    ) -> None:
        """Write one column as `.npy` files.

        Example: `ds.write_numpy("out", column="image")`
        """
        self._write_files(path, NumpyWriter(column), how)

    def write_orc(
        self,
        path: str | os.PathLike[str],
        *,
        arrow_orc_args: Mapping[str, Any] | None = None,
        arrow_orc_args_fn: Callable[[], Mapping[str, Any]] | None = None,
        **how: Unpack[FileSinkKeywords],
    ) -> None:
        """Write ORC files; `arrow_orc_args` are options of pyarrow.orc.write_table.

        `arrow_orc_args_fn` returns more of them where the files are written.

        Example: `ds.write_orc("out")`
        """
        how, more = _apart(how)
        writer = OrcWriter({**(arrow_orc_args or {}), **more}, _options_fn(arrow_orc_args_fn))
        self._write_files(path, writer, how)

    def write_tfrecords(self, path: str | os.PathLike[str], **how: Unpack[FileSinkKeywords]) -> None:
        """Write TFRecord files of tf.train.Example. Needs crc32c.

        Example: `ds.write_tfrecords("out")`
        """
        self._write_files(path, TfRecordWriter(), how)

    def write_webdataset(
        self,
        path: str | os.PathLike[str],
        *,
        encoder: bool | Callable[[dict[str, Any]], Mapping[str, Any]] | None = True,
        **how: Unpack[FileSinkKeywords],
    ) -> None:
        """Write tar files with a file for each value: "__key__" is its name, columns are endings.

        `encoder` True turns values into bytes by their endings; a function of a row does it itself, and False takes
        bytes only.

        Example: `ds.rename_columns({"image": "png", "label": "cls"}).write_webdataset("out")`
        """
        self._write_files(path, WebDatasetWriter(encoder), how)

    def write_images(
        self,
        path: str | os.PathLike[str],
        column: str,
        file_format: str = "png",
        **how: Unpack[FileSinkKeywords],
    ) -> None:
        """Write each array of a column as a picture of its own. Needs Pillow.

        Example: `ds.write_images("out", column="image", file_format="jpg")`
        """
        self._write_files(path, PictureWriter(column, file_format), how, max_rows=1)

    def write_sql(
        self,
        sql: str,
        connection_factory: Callable[[], Any],
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Write rows by an SQL statement with a placeholder for each column; each task's are one transaction.

        `connection_factory` returns a new connection; it travels to tasks.

        Example: `ds.write_sql("insert into rides values (?, ?)", lambda: sqlite3.connect("rides.db"))`
        """
        sink = SqlDatasink(sql, connection_factory)
        self.write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_snowflake(
        self,
        table: str,
        connection_parameters: Mapping[str, Any],
        *,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Insert rows into a table of Snowflake, by the names of columns; each task's are one transaction.

        Parameters: `connection_parameters` are those of `snowflake.connector.connect`, of the package
        snowflake-connector-python.
        Raises ValueError for what is no name of a table.

        Example: `ds.write_snowflake("rides", {"account": "xy12345", "user": "ada", "password": "…"})`
        """
        sink = SnowflakeDatasink(table, SnowflakeConnection(dict(connection_parameters)))
        self.write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_clickhouse(
        self,
        table: str,
        dsn: str,
        *,
        mode: Any = SaveMode.CREATE,
        schema: Any = None,
        client_settings: Mapping[str, Any] | None = None,
        client_kwargs: Mapping[str, Any] | None = None,
        table_settings: ClickHouseTableSettings | None = None,
        max_insert_block_rows: int | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Insert rows into a table of ClickHouse, which is made if it is not there. Needs clickhouse-connect.

        Parameters: those of `ClickHouseDatasink` and `read_clickhouse`.
        Raises FileExistsError as the mode says, TypeError for columns whose types ClickHouse lacks.

        Example: `ds.write_clickhouse("rides", "clickhouse://default@localhost:8123/default", mode="append")`
        """
        connect = ClickHouseConnection(dsn, dict(client_settings or {}), dict(client_kwargs or {}))
        settings = table_settings or ClickHouseTableSettings()
        sink = ClickHouseDatasink(table, connect, mode, schema, settings, max_insert_block_rows)
        self.write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_mongo(
        self,
        uri: str,
        database: str,
        collection: str,
        *,
        mode: Any = SaveMode.APPEND,
        mongo_args: Mapping[str, Any] | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Insert rows into a collection of MongoDB; a row with an `_id` takes the place of the document that has it.

        Parameters: those of `MongoDatasink` and `read_mongo`. Needs pymongo.
        Raises FileExistsError as the mode says.

        Example: `ds.write_mongo("mongodb://localhost:27017", "city", "rides")`
        """
        sink = MongoDatasink(MongoCollection(uri, database, collection, dict(mongo_args or {})), mode)
        self.write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_delta(
        self,
        path: str,
        *,
        catalog: Catalog | None = None,
        mode: Any = SaveMode.APPEND,
        partition_by: Sequence[str] | None = None,
        storage_options: Mapping[str, str] | None = None,
        schema_mode: str | None = None,
        filesystem: Any = None,
        name: str | None = None,
        description: str | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Write to a table of Delta Lake, which is made if it is not there. One commit adds all rows. Needs deltalake.

        Parameters: those of `DeltaDatasink`. With a `catalog`, `path` is the name of a table in it.

        Example: `ds.write_delta("rides", mode="overwrite", partition_by=["city"])`
        """
        where = resolved(catalog, path, ReaderFormat.DELTA, CatalogAccessMode.WRITE)
        sink = DeltaDatasink(
            os.fspath(where.path or path),
            mode=mode,
            partition_by=partition_by,
            storage_options=storage_options or where.storage_options,
            schema_mode=schema_mode,
            filesystem=filesystem or where.filesystem,
            name=name,
            description=description,
        )
        self.write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_iceberg(
        self,
        table_identifier: str,
        catalog_kwargs: Mapping[str, Any] | None = None,
        *,
        catalog: Catalog | None = None,
        snapshot_properties: Mapping[str, str] | None = None,
        mode: Any = SaveMode.APPEND,
        overwrite_filter: Any = None,
        overwrite_kwargs: Mapping[str, Any] | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Write to a table of Iceberg that exists and is unpartitioned. One commit adds all rows. Needs pyiceberg.

        Parameters: those of `IcebergDatasink`; a `catalog` of ours gives `catalog_kwargs` for a table.

        Example: `ds.write_iceberg("sales.rides", {"type": "sql", "uri": "sqlite:///catalog.db"})`
        """
        where = resolved(catalog, table_identifier, ReaderFormat.ICEBERG, CatalogAccessMode.WRITE)
        sink = IcebergDatasink(
            where.table_identifier or table_identifier,
            dict(catalog_kwargs or where.catalog_kwargs or {}),
            snapshot_properties=snapshot_properties,
            mode=mode,
            overwrite_filter=overwrite_filter,
            overwrite_kwargs=overwrite_kwargs,
        )
        self.write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def write_lance(
        self,
        path: str,
        *,
        schema: Any = None,
        mode: str = "create",
        min_rows_per_file: int | None = 1024 * 1024,
        max_rows_per_file: int = 64 * 1024 * 1024,
        data_storage_version: str | None = None,
        storage_options: Mapping[str, str] | None = None,
        ray_remote_args: Mapping[str, Any] | None = None,
        concurrency: int | None = None,
    ) -> None:
        """Write to a table of Lance. One commit adds all rows. Needs pylance.

        Parameters: those of `LanceDatasink`.

        Example: `ds.write_lance("rides.lance", mode="append")`
        """
        sink = LanceDatasink(
            path,
            schema=schema,
            mode=mode,
            min_rows_per_file=min_rows_per_file,
            max_rows_per_file=max_rows_per_file,
            data_storage_version=data_storage_version,
            storage_options=storage_options,
        )
        self.write_datasink(sink, ray_remote_args=ray_remote_args, concurrency=concurrency)

    def _write_files(
        self,
        path: str | os.PathLike[str],
        writer: FileWriter,
        how: Mapping[str, Any],
        partition_cols: Sequence[str] | None = None,
        max_rows: int | None = None,
    ) -> None:
        given = dict(how)
        if given.get("num_rows_per_file") is not None:
            if given.get("min_rows_per_file") is not None:
                raise ValueError("num_rows_per_file is the old name of min_rows_per_file: give one of them")
            given["min_rows_per_file"] = given["num_rows_per_file"]
        given.pop("num_rows_per_file", None)
        concurrency, options = given.pop("concurrency", None), given.pop("ray_remote_args", None)
        sink = FileDatasink(
            os.fspath(path),
            writer,
            filesystem=given.pop("filesystem", None),
            mode=given.pop("mode", SaveMode.APPEND),
            partition_cols=partition_cols,
            min_rows=given.pop("min_rows_per_file", None),
            max_rows=max_rows,
            open_stream_args=given.pop("arrow_open_stream_args", None),
            name_of=given.pop("filename_provider", None),
            makes_folder=given.pop("try_create_dir", True),
        )
        if given:
            known = ", ".join(sorted(FileSinkKeywords.__annotations__))
            raise TypeError(f"unknown parameter {', '.join(sorted(given))}; there are {known}")
        self.write_datasink(sink, ray_remote_args=options, concurrency=concurrency)


def _options_fn(given: Any) -> Any:
    if given is not None and not callable(given):
        raise TypeError(f"a function that returns options is needed, not {describe(given)}")
    return given


def _apart(how: Any) -> tuple[Any, dict[str, Any]]:
    """What all writers of files take, and what else there is: options of Arrow's writer."""
    known = {name: value for name, value in how.items() if name in FileSinkKeywords.__annotations__}
    return known, {name: value for name, value in how.items() if name not in known}
