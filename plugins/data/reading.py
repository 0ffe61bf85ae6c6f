"""The functions that make datasets of files, and of any source."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

from shoal.data.checks import check_count
from shoal.data.compute import placement
from shoal.data.dataset import Dataset
from shoal.data.plan.logical import Read
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
from shoal.data.sources.paths import check_paths, find_files, in_order
from shoal.errors import describe

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]]

IMAGE_EXTENSIONS = ("png", "jpg", "jpeg", "tif", "tiff", "bmp", "gif", "webp")
_CSV = ("csv", "csv.gz", "csv.bz2", "csv.br", "csv.zst", "csv.lz4")
_JSON = ("json", "jsonl", "ndjson", "json.gz", "jsonl.gz", "json.br", "json.zst", "json.lz4", "jsonl.zst")


def read_datasource(
    datasource: Datasource,
    *,
    parallelism: int = -1,
    concurrency: int | None = None,
    override_num_blocks: int | None = None,
    ray_remote_args: Mapping[str, Any] | None = None,
    **options: Any,
) -> Dataset:
    """Return a dataset of a source's rows.

    Parameters: `override_num_blocks` (or `parallelism`) is into about how many pieces the source is cut; else that
    follows its size and the CPUs. `concurrency` is how many are read at a time at most. `options` (and
    `ray_remote_args`) are those of tasks.
    Raises TypeError or ValueError for wrong parameters.

    Example: `shoal.data.read_datasource(RangeDatasource(10))`
    """
    if not isinstance(datasource, Datasource):
        raise TypeError(f"a Datasource is needed, not {describe(datasource)}")
    blocks = override_num_blocks if override_num_blocks is not None else parallelism
    check_count("override_num_blocks", override_num_blocks)
    check_count("concurrency", concurrency)
    given = placement({**(ray_remote_args or {}), **options})
    return Dataset(
        Read(datasource, blocks=blocks if blocks > 0 else None, options=given, concurrency=concurrency)
    )


def _read(
    format_: FileFormat,
    paths: Paths,
    extensions: Sequence[str] | None,
    *,
    filesystem: Any = None,
    columns: Sequence[str] | None = None,
    expression: Any = None,
    include_paths: bool = False,
    ignore_missing_paths: bool = False,
    file_extensions: Sequence[str] | None = None,
    partitioning: str | None = "hive",
    shuffle: Any = None,
    **how: Any,
) -> Dataset:
    if partitioning not in (None, "hive"):
        raise ValueError(f'partitioning must be "hive" or None, not {describe(partitioning)}')
    system, files = find_files(
        check_paths(paths), filesystem, file_extensions or extensions, ignore_missing_paths, partitioning
    )
    if not files:
        wanted = ", ".join(file_extensions or extensions or ["any"])
        raise ValueError(f"there is no file to read in {describe(paths)} (extensions: {wanted})")
    chosen = None if columns is None else tuple(columns)
    source = FileDatasource(
        format_, system, tuple(in_order(files, shuffle)), include_paths, chosen, expression
    )
    return read_datasource(source, **how)


def read_parquet(
    paths: Paths,
    *,
    columns: Sequence[str] | None = None,
    filter: Any = None,  # noqa: A002  the reference's name
    **how: Any,
) -> Dataset:
    """Return the rows of Parquet files. Columns and rows that later steps leave out stay unread where possible.

    Parameters: `paths` are files, folders with all that is in them, or globs; as path or URL. `columns` are those to
    read, `filter` an Arrow expression for the rows. Further ones, of all readers of files: `filesystem` (of pyarrow.fs
    or fsspec), `include_paths` (adds the column "path"), `ignore_missing_paths`, `file_extensions`, `partitioning`
    ("hive": folders `name=value` become columns of text), `shuffle` ("files" or FileShuffleConfig), and those of
    `read_datasource`.
    Raises FileNotFoundError for a path that is not there, ValueError if there is no file.

    Example: `shoal.data.read_parquet("trips/", columns=["city", "fare"])`
    """
    return _read(ParquetFormat(), paths, ("parquet", "pq"), columns=columns, expression=filter, **how)


def read_csv(paths: Paths, *, arrow_csv_args: Mapping[str, Any] | None = None, **how: Any) -> Dataset:
    """Return the rows of CSV files; the further parameters are those of `read_parquet`.

    `arrow_csv_args` (or `read_options`, `parse_options`, `convert_options`) go to pyarrow.csv.open_csv.

    Example: `shoal.data.read_csv("s3://bucket/data.csv")`
    """
    options = dict(arrow_csv_args or {})
    for name in ("read_options", "parse_options", "convert_options"):
        if name in how:
            options[name] = how.pop(name)
    return _read(CsvFormat(options), paths, _CSV, **how)


def read_json(paths: Paths, *, arrow_json_args: Mapping[str, Any] | None = None, **how: Any) -> Dataset:
    """Return the rows of files of JSON: one object a line, or an array of objects. Both are recognised.

    `arrow_json_args` (or `read_options`, `parse_options`) go to pyarrow.json.read_json.
    The further parameters are those of `read_parquet`.

    Example: `shoal.data.read_json("events.jsonl")`
    """
    options = dict(arrow_json_args or {})
    for name in ("read_options", "parse_options"):
        if name in how:
            options[name] = how.pop(name)
    return _read(JsonFormat(options), paths, _JSON, **how)


def read_text(paths: Paths, *, encoding: str = "utf-8", drop_empty_lines: bool = True, **how: Any) -> Dataset:
    """Return the lines of files in the column "text"; the further parameters are those of `read_parquet`.

    Example: `shoal.data.read_text("book.txt")`
    """
    return _read(TextFormat(encoding, drop_empty_lines), paths, None, **how)


def read_binary_files(paths: Paths, **how: Any) -> Dataset:
    """Return a row for each file with its bytes in the column "bytes"; parameters as of `read_parquet`.

    Example: `shoal.data.read_binary_files("pictures/", include_paths=True)`
    """
    return _read(BinaryFormat(), paths, None, **how)


def read_numpy(paths: Paths, **how: Any) -> Dataset:
    """Return the arrays of `.npy` files in the column "data"; parameters as of `read_parquet`.

    Example: `shoal.data.read_numpy("arrays/")`
    """
    return _read(NumpyFormat(), paths, ("npy",), **how)


def read_images(
    paths: Paths, *, size: tuple[int, int] | None = None, mode: str | None = None, **how: Any
) -> Dataset:
    """Return pictures as arrays in the column "image". Needs Pillow.

    Parameters: `size` is (height, width) to resize to, `mode` one of Pillow's, such as "RGB"; further ones as of
    `read_parquet`.

    Example: `shoal.data.read_images("pictures/", size=(32, 32), mode="RGB")`
    """
    return _read(ImageFormat(size, mode), paths, IMAGE_EXTENSIONS, **how)
