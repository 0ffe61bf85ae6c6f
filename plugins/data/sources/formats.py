"""The formats of files that are read."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import DEFAULT_COLUMN, Block, to_column
from shoal.data.checks import need_names
from shoal.data.sources.files import FileFormat
from shoal.data.sources.paths import File

_ROWS_AT_A_TIME = 2**16
_LARGE = 2**24  # bytes of a file


@attrs.frozen(eq=False)
class ParquetFormat(FileFormat):
    """Parquet: columns and row groups that are not needed stay unread; a large file is read by row groups.

    Example: `FileDatasource(ParquetFormat(), filesystem, files)`
    """

    name = "Parquet"
    expands = 3.0

    columns: tuple[str, ...] | None = None
    expression: Any = None

    def parts(self, filesystem: Any, file: File, wanted: int) -> list[Any]:
        """Return stretches of row groups."""
        import pyarrow.parquet as pq

        from shoal.data.sources.memory import cut

        with filesystem.open_input_file(file.path) as opened:
            groups = pq.read_metadata(opened).num_row_groups
        if groups < 2:
            return [None]
        return [tuple(range(start, stop)) for start, stop in cut(groups, wanted)]

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of rows."""
        import pyarrow.dataset as ds

        if not file.size:
            return
        fragment = ds.ParquetFileFormat().make_fragment(
            file.path, filesystem, row_groups=None if part is None else list(part)
        )
        columns = None if self.columns is None else list(self.columns)
        need_names(columns or (), fragment.physical_schema.names)
        # Of a large file one row group at a time is in memory; Arrow would read ahead.
        pieces = fragment.split_by_row_group(self.expression) if file.size > _LARGE else [fragment]
        empty = True
        for piece in pieces:
            for batch in self._scanner(piece, columns).to_batches():
                if batch.num_rows:
                    empty = False
                    yield pa.Table.from_batches([batch])
        if empty:
            yield self._scanner(fragment, columns).projected_schema.empty_table()

    def _scanner(self, fragment: Any, columns: list[str] | None) -> Any:
        return fragment.scanner(
            columns=columns, filter=self.expression, batch_size=_ROWS_AT_A_TIME, use_threads=False
        )

    def with_columns(self, columns: Sequence[str]) -> ParquetFormat:
        """Return a format that reads these columns only."""
        return attrs.evolve(self, columns=tuple(columns))

    def with_filter(self, expression: Any) -> ParquetFormat:
        """Return a format that leaves row groups and rows out."""
        return attrs.evolve(self, expression=expression)


@attrs.frozen(eq=False)
class CsvFormat(FileFormat):
    """Comma-separated values, by pyarrow's reader; its options are passed on.

    Example: `FileDatasource(CsvFormat({"parse_options": pyarrow.csv.ParseOptions(delimiter=";")}), filesystem, files)`
    """

    name = "CSV"
    expands = 1.5

    options: Mapping[str, Any] = attrs.field(factory=dict)
    skips_bad_lines: bool = False

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of lines. Compressed files are recognised by their names."""
        from pyarrow import csv

        if not file.size:
            return
        options = dict(self.options)
        if self.skips_bad_lines:
            parse = options.setdefault("parse_options", csv.ParseOptions())
            parse.invalid_row_handler = _skip
        with (
            filesystem.open_input_stream(file.path) as opened,
            csv.open_csv(opened, **options) as reader,
        ):
            empty = True
            for batch in reader:
                empty = False
                yield pa.Table.from_batches([batch])
            if empty:
                yield reader.schema.empty_table()


@attrs.frozen(eq=False)
class JsonFormat(FileFormat):
    """JSON: one object a line, or (where the first character is a bracket) an array of objects.

    Example: `FileDatasource(JsonFormat(), filesystem, files)`
    """

    name = "JSON"
    expands = 1.5

    options: Mapping[str, Any] = attrs.field(factory=dict)
    lines: bool = False
    skips_bad_lines: bool = False

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield the file's table."""
        import json

        from pyarrow import json as arrow_json

        if not file.size:
            return
        with filesystem.open_input_stream(file.path) as opened:
            data = opened.read()
        if not self.lines and data.lstrip()[:1] == b"[":
            items = json.loads(data)
            yield pa.Table.from_pylist(items)
        elif data.strip():
            if self.skips_bad_lines:
                data = b"\n".join(line for line in data.splitlines() if _is_object(line))
            if data:
                yield arrow_json.read_json(io.BytesIO(data), **self.options)


@attrs.frozen(eq=False)
class TextFormat(FileFormat):
    """Lines of text, in the column "text".

    Example: `FileDatasource(TextFormat(), filesystem, files)`
    """

    name = "Text"
    expands = 1.5

    encoding: str = "utf-8"
    drop_empty_lines: bool = True

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of lines. Raises UnicodeDecodeError."""
        with filesystem.open_input_stream(file.path) as opened:
            lines: list[str] = []
            for line in io.TextIOWrapper(opened, encoding=self.encoding):
                text = line.rstrip("\r\n")
                if text or not self.drop_empty_lines:
                    lines.append(text)
                if len(lines) >= _ROWS_AT_A_TIME:
                    yield pa.table({"text": pa.array(lines, pa.string())})
                    lines = []
        yield pa.table({"text": pa.array(lines, pa.string())})


@attrs.frozen(eq=False)
class BinaryFormat(FileFormat):
    """The bytes of each file, in the column "bytes".

    Example: `FileDatasource(BinaryFormat(), filesystem, files)`
    """

    name = "Binary"

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield one row."""
        with filesystem.open_input_stream(file.path, compression=None) as opened:
            yield pa.table({"bytes": pa.array([opened.read()], pa.binary())})


@attrs.frozen(eq=False)
class NumpyFormat(FileFormat):
    """Arrays in `.npy` files, in the column "data". Pickled objects are refused, unless `allow_pickle` says otherwise.

    Example: `FileDatasource(NumpyFormat(), filesystem, files)`
    """

    name = "Numpy"

    allow_pickle: bool = False

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield the file's table. Raises ValueError."""
        import numpy as np

        with filesystem.open_input_stream(file.path, compression=None) as opened:
            array = np.load(io.BytesIO(opened.read()), allow_pickle=self.allow_pickle)
        yield pa.table({DEFAULT_COLUMN: to_column(DEFAULT_COLUMN, np.atleast_1d(array))})


@attrs.frozen(eq=False)
class ImageFormat(FileFormat):
    """Pictures by Pillow, in the column "image" as arrays of bytes.

    Parameters: `size` is (height, width) to resize to, `mode` one of Pillow's, such as "RGB".

    Example: `FileDatasource(ImageFormat((32, 32), "RGB"), filesystem, files)`
    """

    name = "Image"
    expands = 10.0

    size: tuple[int, int] | None = None
    mode: str | None = None
    skips_bad_files: bool = False

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield one row. Raises PIL.UnidentifiedImageError for what is no picture."""
        import numpy as np
        from PIL import Image

        with filesystem.open_input_stream(file.path, compression=None) as opened:
            data = opened.read()
        try:
            with Image.open(io.BytesIO(data)) as picture:
                shown = picture if self.mode is None else picture.convert(self.mode)
                if self.size is not None:
                    shown = shown.resize((self.size[1], self.size[0]))
                array = np.asarray(shown)
        except OSError:  # Pillow's word for what is no picture, or half of one
            if self.skips_bad_files:
                return
            raise
        yield pa.table({"image": to_column("image", array[np.newaxis])})


def _skip(row: Any) -> str:
    return "skip"


def _is_object(line: bytes) -> bool:
    import json

    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
