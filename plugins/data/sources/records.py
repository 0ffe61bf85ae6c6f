"""Formats of files that are rows one after another: Avro, TFRecord, WebDataset; and ORC."""

from __future__ import annotations

import fnmatch
import io
import json
import logging
import posixpath
import tarfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block, from_rows
from shoal.data.sources.examples import decode_example, read_frames
from shoal.data.sources.files import FileFormat
from shoal.data.sources.paths import File

logger = logging.getLogger(__name__)

_ROWS_AT_A_TIME = 2**12


def in_tables(rows: Iterable[Mapping[str, Any]]) -> Iterator[Block]:
    """Yield rows as tables of a few thousand each.

    Example: `in_tables(fastavro.reader(stream))`
    """
    gathered: list[Mapping[str, Any]] = []
    for row in rows:
        gathered.append(row)
        if len(gathered) >= _ROWS_AT_A_TIME:
            yield from_rows(gathered)
            gathered = []
    if gathered:
        yield from_rows(gathered)


@attrs.frozen(eq=False)
class AvroFormat(FileFormat):
    """Avro, by fastavro.

    Example: `FileDatasource(AvroFormat(), filesystem, files)`
    """

    name = "Avro"
    expands = 2.0

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of records. Raises ValueError for what is no Avro."""
        import fastavro

        if not file.size:
            return
        with filesystem.open_input_stream(file.path, compression=None) as opened:
            records: Any = fastavro.reader(opened)
            yield from in_tables(records)


@attrs.frozen(eq=False)
class OrcFormat(FileFormat):
    """ORC, stripe by stripe; columns that are not needed stay unread.

    Example: `FileDatasource(OrcFormat(), filesystem, files)`
    """

    name = "ORC"
    expands = 3.0

    columns: tuple[str, ...] | None = None

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stripe."""
        from pyarrow import orc

        if not file.size:
            return
        columns = None if self.columns is None else list(self.columns)
        with filesystem.open_input_file(file.path) as opened:
            stripes = orc.ORCFile(opened)
            for number in range(stripes.nstripes):
                yield pa.Table.from_batches([stripes.read_stripe(number, columns)])
            if not stripes.nstripes:
                yield stripes.read(columns)

    def with_columns(self, columns: Sequence[str]) -> OrcFormat:
        """Return a format that reads these columns only."""
        return attrs.evolve(self, columns=tuple(columns))


@attrs.frozen(eq=False)
class TfRecordFormat(FileFormat):
    """TFRecord files of tf.train.Example. A feature of one value in all rows of a table is a plain column, else a list.

    Checksums are compared. Compressed files are recognised by their names.

    Example: `FileDatasource(TfRecordFormat(), filesystem, files)`
    """

    name = "TFRecords"
    expands = 1.5

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of examples. Raises ValueError for damaged records."""
        with filesystem.open_input_stream(file.path) as opened:
            for table in in_tables(decode_example(frame) for frame in read_frames(opened)):
                yield _single_values(table)


@attrs.frozen(eq=False)
class WebDatasetFormat(FileFormat):
    """Tar files in which files of one name and different endings are one row: columns are the endings.

    With `decode`, text, whole numbers (cls), JSON, arrays (npy) and pictures become values; else all are bytes. The
    column "__key__" has the name.

    Example: `FileDatasource(WebDatasetFormat(), filesystem, files)`
    """

    name = "WebDataset"

    decode: bool = True
    suffixes: tuple[str, ...] | None = None
    select: Callable[[str], bool] | Sequence[str] | None = None
    rename: Callable[[str], str] | Mapping[str, str] | None = None
    logs: bool = False
    expand_json: bool = False

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of rows. Raises tarfile.TarError for what is no tar file."""
        if self.logs:
            logger.info("opening %s", file.path)
        with (
            filesystem.open_input_stream(file.path) as opened,
            tarfile.open(fileobj=opened, mode="r|*") as archive,
        ):
            yield from in_tables(self._rows(archive))

    def _rows(self, archive: tarfile.TarFile) -> Iterator[dict[str, Any]]:
        row: dict[str, Any] = {}
        for member in archive:
            if not member.isfile() or posixpath.basename(member.name).startswith("."):
                continue
            if not self._wants(member.name):
                continue
            folder, name = posixpath.split(self._renamed(member.name))
            stem, _, ending = name.partition(".")
            key = posixpath.join(folder, stem)
            if row and row["__key__"] != key:
                yield row
                row = {}
            row["__key__"] = key
            if self.suffixes is None or ending in self.suffixes:
                opened = archive.extractfile(member)
                assert opened is not None
                data = opened.read()
                value = decoded(ending, data) if self.decode else data
                if self.expand_json and isinstance(value, dict):
                    row.update(value)
                else:
                    row[ending] = value
        if row:
            yield row

    def _wants(self, name: str) -> bool:
        if self.select is None:
            return True
        return (
            self.select(name)
            if callable(self.select)
            else any(fnmatch.fnmatch(name, each) for each in self.select)
        )

    def _renamed(self, name: str) -> str:
        if self.rename is None:
            return name
        if callable(self.rename):
            return self.rename(name)
        stem, mark, ending = name.partition(".")
        return f"{stem}{mark}{self.rename.get(ending, ending)}"


def decoded(ending: str, data: bytes) -> Any:
    """Return the value of a file of a WebDataset by its ending; bytes for endings that are not known.

    Example: `decoded("cls", b"3")  # 3`
    """
    last = ending.rpartition(".")[2].lower()
    if last in ("txt", "text", "transcript"):
        return data.decode()
    if last in ("cls", "cls2", "index", "inx", "id"):
        return int(data)
    if last in ("json", "jsn"):
        return json.loads(data)
    if last == "npy":
        import numpy as np

        return np.load(io.BytesIO(data), allow_pickle=False)
    if last in ("jpg", "jpeg", "png", "ppm", "pgm", "pbm", "pnm"):
        import numpy as np
        from PIL import Image

        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture)
    return data


def _single_values(table: Block) -> Block:
    """Lists of one value in every row become the values."""
    columns = {}
    for name in table.column_names:
        column = table.column(name).combine_chunks()
        is_list = pa.types.is_list(column.type)
        lengths = column.value_lengths().to_pylist() if is_list else []
        if lengths and all(length == 1 for length in lengths):
            column = column.flatten()
        columns[name] = column
    return pa.table(columns)
