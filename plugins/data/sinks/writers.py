"""Formats of files that are written besides the plain ones, and tables of databases."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing
from typing import Any

import attrs

from shoal.data.block import Block, rows_of, to_numpy
from shoal.data.sinks.datasink import Datasink, TaskContext
from shoal.data.sinks.files import FileWriter
from shoal.data.sources.examples import encode_example, frame
from shoal.data.transforms import need_columns
from shoal.errors import describe


@attrs.frozen(eq=False)
class OrcWriter(FileWriter):
    """ORC; `options` are those of pyarrow.orc.write_table."""

    name = "ORC"
    extension = "orc"

    options: Mapping[str, Any] = attrs.field(factory=dict)
    more: Callable[[], Mapping[str, Any]] | None = None  # options that are made where the file is written

    def write(self, table: Block, stream: Any) -> None:
        """Write a table."""
        from pyarrow import orc

        orc.write_table(table, stream, **{**self.options, **(self.more() if self.more else {})})


@attrs.frozen(eq=False)
class TfRecordWriter(FileWriter):
    """TFRecord files of tf.train.Example."""

    name = "TFRecords"
    extension = "tfrecords"

    def write(self, table: Block, stream: Any) -> None:
        """Write a table. Raises TypeError for values that a feature has no form for."""
        for row in rows_of(table):
            plain = {
                name: value.tolist() if hasattr(value, "tolist") else value for name, value in row.items()
            }
            stream.write(frame(encode_example(plain)))


@attrs.frozen(eq=False)
class WebDatasetWriter(FileWriter):
    """Tar files with a file for each value; "__key__" is its name, columns are endings."""

    name = "WebDataset"
    extension = "tar"

    encoder: bool | Callable[[dict[str, Any]], Mapping[str, Any]] | None = True

    def write(self, table: Block, stream: Any) -> None:
        """Write a table. Raises TypeError for values that their column's ending has no form for."""
        with tarfile.open(fileobj=stream, mode="w|") as archive:
            for number, row in enumerate(rows_of(table)):
                made = dict(self.encoder(row)) if callable(self.encoder) else row
                key = str(made.pop("__key__", row.get("__key__", f"{number:08}")))
                for ending, value in made.items():
                    if value is None:
                        continue
                    data = self._bytes(ending, value)
                    info = tarfile.TarInfo(f"{key}.{ending}")
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))

    def _bytes(self, ending: str, value: Any) -> bytes:
        if self.encoder is True:
            return _encoded(ending, value)
        if not isinstance(value, bytes):
            raise TypeError(
                f"column {ending!r} must be bytes where nothing encodes it, not {describe(value)}"
            )
        return value


@attrs.frozen(eq=False)
class PictureWriter(FileWriter):
    """The array of one row as a picture; `extension` is its kind."""

    column: str
    extension: str = "png"

    name = "Images"

    def write(self, table: Block, stream: Any) -> None:
        """Write the only row. Raises KeyError, or what Pillow raises for what is no picture."""
        need_columns(table, [self.column])
        [array] = to_numpy(table.column(self.column))
        stream.write(_picture(array, self.extension))


@attrs.frozen(eq=False)
class SqlDatasink(Datasink[int]):
    """Rows for an SQL statement with a placeholder for each column, such as `insert into rides values (?, ?)`.

    Each task's rows are one transaction. A worker that dies after it committed and before it said so has its rows
    written again: let the statement replace what is there where that matters.

    Parameters: `connect` returns a new connection; it travels to tasks.

    Example: `ds.write_datasink(SqlDatasink("insert into t values (?)", lambda: sqlite3.connect("a.db")))`
    """

    sql: str
    connect: Callable[[], Any]

    def write(self, blocks: Iterable[Block], ctx: TaskContext) -> int:
        """Write rows; return how many. Raises what the database raises, and then nothing of this task is written."""
        written = 0
        with closing(self.connect()) as connection:
            try:
                with closing(connection.cursor()) as cursor:
                    takes_arrow = hasattr(cursor, "adbc_ingest")
                    for block in blocks:
                        if takes_arrow:
                            for batch in block.to_batches():
                                cursor.executemany(self.sql, batch)
                            written += block.num_rows
                            continue
                        rows = [tuple(row.values()) for row in rows_of(block)]
                        if rows:
                            cursor.executemany(self.sql, rows)
                        written += len(rows)
                connection.commit()
            except BaseException:
                connection.rollback()
                raise
        return written

    def describe(self) -> str:
        """Return what a person calls this sink."""
        return "SQL"


def _picture(array: Any, kind: str) -> bytes:
    from PIL import Image

    made = io.BytesIO()
    Image.fromarray(array).save(made, format={"jpg": "jpeg"}.get(kind, kind))
    return made.getvalue()


def _encoded(ending: str, value: Any) -> bytes:
    last = ending.rpartition(".")[2].lower()
    if isinstance(value, bytes):
        return value
    if last == "npy":
        import numpy as np

        made = io.BytesIO()
        np.save(made, value, allow_pickle=False)
        return made.getvalue()
    if last in ("jpg", "jpeg", "png"):
        return _picture(value, last)
    if last in ("json", "jsn"):
        return json.dumps(value, ensure_ascii=False).encode()
    if isinstance(value, (str, int, float)):
        return str(value).encode()
    raise TypeError(
        f"column {ending!r} cannot be a file of a WebDataset: {describe(value)} is written for the endings npy, png, "
        "jpg and json; others take bytes, text and numbers"
    )
