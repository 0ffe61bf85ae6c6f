"""The functions that make datasets of files, and of any source."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from shoal.data.catalogs import Catalog, ReaderFormat, resolved
from shoal.data.checks import check_count, check_names
from shoal.data.compute import TaskPoolStrategy, placement
from shoal.data.dataset import Dataset
from shoal.data.expressions import to_arrow
from shoal.data.keywords import FileKeywords, SourceKeywords, TaskKeywords
from shoal.data.partitions import wanted_files
from shoal.data.plan.logical import Read
from shoal.data.sinks.snowflake import SnowflakeConnection
from shoal.data.sources.clickhouse import ClickHouseConnection, ClickHouseDatasource, check_order
from shoal.data.sources.datasource import Datasource
from shoal.data.sources.files import FileDatasource, FileFormat
from shoal.data.sources.formats import (
    BinaryFormat,
    CsvFormat,
    ImageFormat,
    JsonFormat,
    NumpyFormat,
    ParquetFormat,
    TextFormat,
)
from shoal.data.sources.lakes import DeltaDatasource, IcebergDatasource, LanceDatasource
from shoal.data.sources.media import AudioFormat, VideoFormat
from shoal.data.sources.mongo import MongoCollection, MongoDatasource
from shoal.data.sources.paths import Partitioning, check_paths, check_shuffle, find_files
from shoal.data.sources.records import AvroFormat, OrcFormat, TfRecordFormat, WebDatasetFormat
from shoal.data.sources.scientific import McapFormat, TimeRange, ZarrDatasource, texts
from shoal.data.sources.sql import SqlDatasource
from shoal.errors import describe

if TYPE_CHECKING:
    from typing_extensions import Unpack

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

AUDIO_EXTENSIONS = ("wav", "flac", "ogg", "mp3", "aiff", "au", "caf", "opus")
VIDEO_EXTENSIONS = ("mp4", "mkv", "mov", "avi", "webm", "wmv", "flv", "m4v", "mpeg", "mpg", "3gp")
IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp")
_CSV = ("csv", "csv.gz", "csv.bz2", "csv.br", "csv.zst", "csv.lz4")
_JSON = ("json", "jsonl", "ndjson", "json.gz", "jsonl.gz", "json.br", "json.zst", "json.lz4", "jsonl.zst")


def read_datasource(
    datasource: Datasource,
    *,
    parallelism: int = -1,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    compute: Any = None,
    ray_remote_args: Mapping[str, Any] | None = None,
    **options: Unpack[TaskKeywords],
) -> Dataset:
    """Return a dataset of a source's rows.

    Parameters: `override_num_blocks` (or `parallelism`) is into about how many pieces the source is cut; else that
    follows its size and the CPUs. `concurrency` (or `compute=TaskPoolStrategy(size=…)`) is how many are read at
    a time at most. `options` (and `ray_remote_args`) are those of tasks.
    Raises TypeError or ValueError for wrong parameters.

    Example: `shoal.data.read_datasource(RangeDatasource(10))`
    """
    if not isinstance(datasource, Datasource):
        raise TypeError(f"a Datasource is needed, not {describe(datasource)}")
    blocks = override_num_blocks if override_num_blocks is not None else parallelism
    check_count("override_num_blocks", override_num_blocks)
    if compute is not None:
        if not isinstance(compute, TaskPoolStrategy) or concurrency is not None:
            raise ValueError("reading runs in tasks: give compute=TaskPoolStrategy(size=...) or concurrency")
        concurrency = compute.size
    check_count("concurrency", concurrency)
    given = placement({**(ray_remote_args or {}), **options})
    return Dataset(
        Read(datasource, blocks=blocks if blocks > 0 else None, options=given, concurrency=concurrency)
    )


def _read(
    format_: FileFormat,
    paths: Paths,
    extensions: Sequence[str] | None,
    how: Mapping[str, Any],
    *,
    columns: Sequence[str] | None = None,
    expression: Any = None,
) -> Dataset:
    given = dict(how)
    partitioning = given.pop("partitioning", "hive")
    if partitioning == "hive":
        partitioning = Partitioning("hive")
    if partitioning is not None and not isinstance(partitioning, Partitioning):
        raise ValueError(f'partitioning must be "hive", a Partitioning or None, not {describe(partitioning)}')
    extensions = given.pop("file_extensions", None) or extensions
    ignore_missing = given.pop("ignore_missing_paths", False)
    system, files = find_files(
        check_paths(paths), given.pop("filesystem", None), extensions, ignore_missing, partitioning
    )
    files = wanted_files(files, given.pop("partition_filter", None))
    if not files and not ignore_missing:
        raise ValueError(
            f"there is no file to read in {describe(paths)} (extensions: {', '.join(extensions or ['any'])})"
        )
    source = FileDatasource(
        format_,
        system,
        tuple(files),
        given.pop("include_paths", False),
        None if columns is None else tuple(columns),
        expression,
        check_shuffle(given.pop("shuffle", None)),
        dict(given.pop("arrow_open_stream_args", None) or {}),
    )
    return read_datasource(source, **given)


def read_parquet(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,  # noqa: A002  the reference's name
    catalog: Catalog | None = None,
    **how: Unpack[FileKeywords],
) -> Dataset:
    """Return the rows of Parquet files. Columns and rows that later steps leave out stay unread where possible.

    Parameters: `paths` are files, folders with all that is in them, or globs; as path or URL. `columns` are those to
    read, `filter` an expression for the rows. With a `catalog`, `paths` is the name of a
    table in it. Further ones are of all readers of files: see `FileKeywords`.
    Raises FileNotFoundError for a path that is not there, ValueError if there is no file.

    Example: `shoal.data.read_parquet("trips/", columns=["city", "fare"])`
    """
    wanted = None if filter is None else to_arrow(filter)
    if catalog is not None:
        where = resolved(catalog, paths, ReaderFormat.PARQUET)
        paths = where.path or paths
        if where.filesystem is not None:
            how = {"filesystem": where.filesystem, **how}
    return _read(ParquetFormat(), paths, ("parquet", "pq"), how, columns=columns, expression=wanted)


def read_csv(
    paths: Paths,
    *,
    read_options: Any = None,
    parse_options: Any = None,
    convert_options: Any = None,
    arrow_csv_args: Mapping[str, Any] | None = None,
    on_bad_lines: str = "error",
    **how: Unpack[FileKeywords],
) -> Dataset:
    """Return the rows of CSV files; the further parameters are those of `read_parquet`.

    Parameters: the three options (also in `arrow_csv_args`) are those of pyarrow.csv. `on_bad_lines` is what is done
    with lines that have more or fewer values than the header: "error" or "skip".

    Example: `shoal.data.read_csv("s3://bucket/data.csv")`
    """
    if on_bad_lines not in ("error", "skip"):
        raise ValueError(f'on_bad_lines must be "error" or "skip", not {describe(on_bad_lines)}')
    options = _arrow_options(
        arrow_csv_args,
        read_options=read_options,
        parse_options=parse_options,
        convert_options=convert_options,
    )
    return _read(CsvFormat(options, on_bad_lines == "skip"), paths, _CSV, how)


def read_json(
    paths: Paths,
    *,
    lines: bool = False,
    read_options: Any = None,
    parse_options: Any = None,
    arrow_json_args: Mapping[str, Any] | None = None,
    on_bad_lines: str = "error",
    **how: Unpack[FileKeywords],
) -> Dataset:
    """Return the rows of files of JSON: one object a line, or an array of objects. Both are recognised.

    Parameters: with `lines` a file is taken for lines without a look. The two options (also in `arrow_json_args`) are
    those of pyarrow.json. `on_bad_lines` is what is done with lines that are no JSON object: "error" or "skip". The
    further parameters are those of `read_parquet`.

    Example: `shoal.data.read_json("events.jsonl")`
    """
    if on_bad_lines not in ("error", "skip"):
        raise ValueError(f'on_bad_lines must be "error" or "skip", not {describe(on_bad_lines)}')
    options = _arrow_options(arrow_json_args, read_options=read_options, parse_options=parse_options)
    return _read(JsonFormat(options, lines, on_bad_lines == "skip"), paths, _JSON, how)


def read_text(
    paths: Paths, *, encoding: str = "utf-8", drop_empty_lines: bool = True, **how: Unpack[FileKeywords]
) -> Dataset:
    """Return the lines of files in the column "text"; the further parameters are those of `read_parquet`.

    Example: `shoal.data.read_text("book.txt")`
    """
    return _read(TextFormat(encoding, drop_empty_lines), paths, None, how)


def read_binary_files(paths: Paths, **how: Unpack[FileKeywords]) -> Dataset:
    """Return a row for each file with its bytes in the column "bytes"; parameters as of `read_parquet`.

    Example: `shoal.data.read_binary_files("pictures/", include_paths=True)`
    """
    return _read(BinaryFormat(), paths, None, how)


def read_numpy(paths: Paths, *, allow_pickle: bool = False, **how: Unpack[FileKeywords]) -> Dataset:
    """Return the arrays of `.npy` files in the column "data"; parameters as of `read_parquet`.

    `allow_pickle` reads arrays of Python objects too: unpickling can run any code that is in a file.

    Example: `shoal.data.read_numpy("arrays/")`
    """
    return _read(NumpyFormat(allow_pickle), paths, ("npy",), how)


def read_images(
    paths: Paths,
    *,
    size: tuple[int, int] | None = None,
    mode: str | None = None,
    on_bad_files: str = "error",
    arrow_open_file_args: Mapping[str, Any] | None = None,
    **how: Unpack[FileKeywords],
) -> Dataset:
    """Return pictures as arrays in the column "image". Needs Pillow.

    Parameters: `size` is (height, width) to resize to, `mode` one of Pillow's, such as "RGB". `on_bad_files` is what is
    done with files that are no picture: "error" or "skip". `arrow_open_file_args` is another name of
    `arrow_open_stream_args`. Further parameters are those of `read_parquet`.

    Example: `shoal.data.read_images("pictures/", size=(32, 32), mode="RGB")`
    """
    if on_bad_files not in ("error", "skip"):
        raise ValueError(f'on_bad_files must be "error" or "skip", not {describe(on_bad_files)}')
    if arrow_open_file_args is not None:
        how = {"arrow_open_stream_args": arrow_open_file_args, **how}
    return _read(ImageFormat(size, mode, on_bad_files == "skip"), paths, IMAGE_EXTENSIONS, how)


def read_avro(paths: Paths, **how: Unpack[FileKeywords]) -> Dataset:
    """Return the records of Avro files; parameters as of `read_parquet`. Needs fastavro.

    Example: `shoal.data.read_avro("events.avro")`
    """
    return _read(AvroFormat(), paths, ("avro",), how)


def read_orc(paths: Paths, *, columns: Sequence[str] | None = None, **how: Unpack[FileKeywords]) -> Dataset:
    """Return the rows of ORC files; parameters as of `read_parquet`.

    Example: `shoal.data.read_orc("events/", columns=["time"])`
    """
    return _read(OrcFormat(), paths, ("orc",), how, columns=columns)


def read_tfrecords(paths: Paths, **how: Unpack[FileKeywords]) -> Dataset:
    """Return the examples of TFRecord files; parameters as of `read_parquet`. Needs crc32c.

    Example: `shoal.data.read_tfrecords("train/")`
    """
    return _read(TfRecordFormat(), paths, None, how)


def read_webdataset(
    paths: Paths,
    *,
    decoder: bool | None = True,
    suffixes: Sequence[str] | None = None,
    fileselect: Callable[[str], bool] | Sequence[str] | None = None,
    filerename: Callable[[str], str] | Mapping[str, str] | None = None,
    verbose_open: bool = False,
    expand_json: bool = False,
    **how: Unpack[FileKeywords],
) -> Dataset:
    """Return the rows of WebDataset tar files: files of one name are a row, their endings its columns.

    Parameters: with `decoder` text, numbers, JSON, arrays and pictures become values; without, all are bytes.
    `suffixes` are the endings to read (None: all). `fileselect` says by a member's name whether to read it, or lists
    patterns of names (`*.jpg`), and `filerename` gives members other names (as a mapping: other endings).
    `verbose_open` logs each file that is opened, `expand_json` makes columns of what JSON files have. Further ones
    as of `read_parquet`.

    Example: `shoal.data.read_webdataset("shards/", suffixes=["jpg", "cls"])`
    """
    if decoder not in (True, False, None):
        raise TypeError(
            f"decoder must be True or False, not {describe(decoder)}; map() decodes in other ways"
        )
    chosen = None if suffixes is None else tuple(each.lstrip(".") for each in suffixes)
    format_ = WebDatasetFormat(bool(decoder), chosen, fileselect, filerename, verbose_open, expand_json)
    return _read(format_, paths, ("tar", "tar.gz", "tgz"), how)


def read_sql(
    sql: str,
    connection_factory: Callable[[], Any],
    *,
    sql_params: Any = None,
    shard_keys: Sequence[str] | None = None,
    shard_hash_fn: str = "MD5",
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return the rows of a query to a database, by any driver of PEP 249.

    Parameters: `connection_factory` returns a new connection; it travels to tasks. `sql_params` are the values of the
    statement's placeholders. With `shard_keys` the query is cut into pieces by the hash `shard_hash_fn` of these
    columns, in the database's SQL. Further ones as of `read_datasource`.

    Example: `shoal.data.read_sql("select * from rides", lambda: sqlite3.connect("rides.db"))`
    """
    if not callable(connection_factory):
        raise TypeError(
            f"connection_factory must be a function that connects, not {describe(connection_factory)}"
        )
    keys = tuple(shard_keys or ())
    return read_datasource(SqlDatasource(sql, connection_factory, sql_params, keys, shard_hash_fn), **how)


def read_snowflake(
    sql: str,
    connection_parameters: Mapping[str, Any],
    *,
    shard_keys: Sequence[str] | None = None,
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return the rows of a query to Snowflake, which come as Arrow. Needs snowflake-connector-python.

    Parameters: `connection_parameters` are those of `snowflake.connector.connect`. With `shard_keys` the query is cut
    into pieces by the hash of these columns. Further ones as of `read_datasource`.

    Example: `shoal.data.read_snowflake("select * from rides", {"account": "xy12345", "user": "ada", "password": "…"})`
    """
    connect = SnowflakeConnection(dict(connection_parameters))
    return read_sql(sql, connect, shard_keys=shard_keys, shard_hash_fn="HASH", **how)


def read_clickhouse(
    table: str,
    dsn: str,
    *,
    columns: Sequence[str] | None = None,
    filter: str | None = None,  # noqa: A002  the reference's name
    order_by: tuple[Sequence[str], bool] | None = None,
    client_settings: Mapping[str, Any] | None = None,
    client_kwargs: Mapping[str, Any] | None = None,
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return the rows of a table of ClickHouse, which come as Arrow. Needs clickhouse-connect.

    Parameters: `dsn` is such as "clickhouse://user:password@host:8123/database". `filter` is SQL as it stands behind
    WHERE. With `order_by`, columns and whether they fall, the table is read in pieces at once; they must leave no doubt
    about the order. `client_settings` are the server's settings, `client_kwargs` further parameters of
    `clickhouse_connect.get_client`. Further ones as of `read_datasource`.
    Raises TypeError or ValueError for wrong parameters.

    Example: `shoal.data.read_clickhouse("rides", "clickhouse://default@localhost:8123/default", columns=["id"])`
    """
    names = None if columns is None else tuple(check_names("columns", list(columns)))
    connect = ClickHouseConnection(dsn, dict(client_settings or {}), dict(client_kwargs or {}))
    return read_datasource(ClickHouseDatasource(table, connect, names, filter, check_order(order_by)), **how)


def read_mongo(
    uri: str,
    database: str,
    collection: str,
    *,
    pipeline: Sequence[Mapping[str, Any]] | None = None,
    schema: Any = None,
    mongo_args: Mapping[str, Any] | None = None,
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return the documents of a collection of MongoDB, or what an aggregation gives. Needs pymongo.

    Identifiers come as 24 hexadecimal digits. The collection is read in pieces at once; an aggregation is, if all its
    stages look at one document at a time.

    Parameters: `uri` is such as "mongodb://user:password@host:27017"; `pipeline` are an aggregation's stages; `schema`
    (Arrow's) are the columns and types to give, where the documents' own differ; `mongo_args` are further parameters of
    `pymongo.MongoClient`. Further ones as of `read_datasource`.
    Raises TypeError or ValueError for wrong parameters; TypeError, when read, for fields that columns cannot hold.

    Example: `shoal.data.read_mongo("mongodb://localhost:27017", "city", "rides", pipeline=[{"$match": {"fare": 5}}])`
    """
    where = MongoCollection(uri, database, collection, dict(mongo_args or {}))
    return read_datasource(MongoDatasource(where, pipeline, schema), **how)


def read_audio(paths: Paths, **how: Unpack[FileKeywords]) -> Dataset:
    """Return a row for each file of sound: "amplitude", a list for each channel, and "sample_rate". Needs soundfile.

    Parameters as of `read_parquet`.

    Example: `shoal.data.read_audio("speech/", include_paths=True)`
    """
    return _read(AudioFormat(), paths, AUDIO_EXTENSIONS, how)


def read_videos(
    paths: Paths,
    *,
    include_timestamps: bool = False,
    fps: float | None = None,
    resize: tuple[int, int] | None = None,
    **how: Unpack[FileKeywords],
) -> Dataset:
    """Return a row for each frame of videos: "frame" (height, width, 3) and "frame_index". Needs av.

    Parameters: `fps` keeps so many frames of each second (None: all), `resize` is (height, width) and
    `include_timestamps` adds "frame_timestamp" in seconds. Further ones as of `read_parquet`.

    Example: `shoal.data.read_videos("clips/", fps=1, resize=(224, 224))`
    """
    if fps is not None and not fps > 0:
        raise ValueError(f"fps must be a number above 0, not {describe(fps)}")
    return _read(VideoFormat(fps, resize, include_timestamps), paths, VIDEO_EXTENSIONS, how)


def read_delta(
    path: str,
    version: Any = None,
    *,
    storage_options: Mapping[str, str] | None = None,
    catalog: Catalog | None = None,
    columns: Sequence[str] | None = None,
    include_paths: bool = False,
    filesystem: Any = None,
    shuffle: Any = None,
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return the rows of a table of Delta Lake. Needs deltalake.

    Parameters: `version` is a number or a time (None: the newest now; the dataset keeps to it). `storage_options` are
    those of deltalake, `filesystem` is one of pyarrow.fs to read files with instead, rooted at the table. `shuffle`
    is as of `read_parquet`. With a `catalog`, `path` is the name of a table in it. Further ones as of
    `read_datasource`.
    Raises what deltalake raises for a table or version that is not there.

    Example: `shoal.data.read_delta("rides", columns=["city"])`
    """
    where = resolved(catalog, path, ReaderFormat.DELTA)
    source = DeltaDatasource.at(
        os.fspath(where.path or path),
        version,
        storage_options=storage_options or where.storage_options,
        columns=None if columns is None else (*columns, *(["path"] if include_paths else [])),
        include_paths=include_paths,
        filesystem=filesystem or where.filesystem,
        shuffle=check_shuffle(shuffle),
    )
    return read_datasource(source, **how)


def read_lance(
    uri: str,
    version: int | str | None = None,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,  # noqa: A002  the reference's name
    storage_options: Mapping[str, str] | None = None,
    scanner_options: Mapping[str, Any] | None = None,
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return the rows of a table of Lance. Needs pylance.

    Parameters: `version` None is the newest when it is read. `filter` is SQL text, an expression of ours or one of
    Arrow's. `scanner_options` are further ones of Lance's scanner. Further ones as of `read_datasource`.

    Example: `shoal.data.read_lance("rides.lance", filter="fare > 10")`
    """
    source = LanceDatasource(
        uri,
        version,
        None if columns is None else tuple(columns),
        filter.to_pyarrow() if hasattr(filter, "to_pyarrow") else filter,
        storage_options,
        dict(scanner_options or {}),
    )
    return read_datasource(source, **how)


def read_iceberg(
    table_identifier: str,
    *,
    row_filter: Any = None,
    selected_fields: Sequence[str] = ("*",),
    snapshot_id: int | None = None,
    scan_kwargs: Mapping[str, Any] | None = None,
    catalog_kwargs: Mapping[str, Any] | None = None,
    catalog: Catalog | None = None,
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return the rows of a table of Iceberg. Needs pyiceberg.

    Parameters: `catalog_kwargs` are those of pyiceberg.catalog.load_catalog; a `catalog` of ours gives them for a
    table. `row_filter` is an expression of pyiceberg or its text. Further ones as of `read_datasource`.

    Example: `shoal.data.read_iceberg("sales.rides", catalog_kwargs={"type": "sql", "uri": "sqlite:///catalog.db"})`
    """
    where = resolved(catalog, table_identifier, ReaderFormat.ICEBERG)
    source = IcebergDatasource(
        where.table_identifier or table_identifier,
        dict(catalog_kwargs or where.catalog_kwargs or {}),
        row_filter,
        tuple(selected_fields),
        snapshot_id,
        dict(scan_kwargs or {}),
    )
    return read_datasource(source, **how)


def read_zarr(
    path: str,
    *,
    array_paths: Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    **how: Unpack[SourceKeywords],
) -> Dataset:
    """Return a row for each place on the first axis of a Zarr store's arrays, which are its columns. Needs zarr.

    Parameters: `array_paths` are the arrays to read (None: all whose first axis is as long as the longest), and
    `storage_options` are those of fsspec. Whole chunks are read by a task. Further ones as of `read_datasource`.

    Example: `shoal.data.read_zarr("climate.zarr", array_paths=["temperature"])`
    """
    return read_datasource(ZarrDatasource(path, texts("array_paths", array_paths), storage_options), **how)


def read_mcap(
    paths: Paths,
    *,
    topics: str | Sequence[str] | None = None,
    time_range: TimeRange | tuple[int, int] | None = None,
    message_types: str | Sequence[str] | None = None,
    include_metadata: bool = True,
    **how: Unpack[FileKeywords],
) -> Dataset:
    """Return the messages of MCAP files: "data", "topic", "log_time", "publish_time" and "sequence". Needs mcap.

    Parameters: `topics` and `message_types` are those to read (None: all), `time_range` nanoseconds since 1970
    (from, up to); `include_metadata` adds the channel and schema of each message. Further ones as of `read_parquet`.

    Example: `shoal.data.read_mcap("drive.mcap", topics=["/imu"])`
    """
    span = TimeRange(*time_range) if isinstance(time_range, tuple) else time_range
    kinds = texts("message_types", message_types)
    return _read(McapFormat(texts("topics", topics), span, kinds, include_metadata), paths, ("mcap",), how)


def _arrow_options(given: Mapping[str, Any] | None, **named: Any) -> dict[str, Any]:
    return {**(given or {}), **{name: value for name, value in named.items() if value is not None}}
