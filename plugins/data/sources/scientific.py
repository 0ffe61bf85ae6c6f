"""Arrays of Zarr, chunk by chunk, and messages of MCAP files, as robots log them."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block, to_column
from shoal.data.checks import need
from shoal.data.sources.datasource import Datasource, ReadTask
from shoal.data.sources.files import FileFormat
from shoal.data.sources.memory import cut
from shoal.data.sources.paths import File
from shoal.data.sources.records import in_tables


@attrs.frozen(eq=False)
class ZarrDatasource(Datasource):
    """Arrays of a Zarr store with a first axis in common: a row for each place on it, a column for each array.

    Parameters: `array_paths` are the arrays to read (None: all whose first axis is as long as the longest).

    Example: `read_datasource(ZarrDatasource("climate.zarr", ("temperature",)))`
    """

    path: str
    array_paths: tuple[str, ...] | None = None
    storage_options: Mapping[str, Any] | None = None

    def arrays(self) -> dict[str, Any]:
        """Return the arrays by their paths. Raises KeyError for one that is missing, ValueError for unequal lengths."""
        zarr = need("zarr", "read_zarr")
        options = None if self.storage_options is None else dict(self.storage_options)
        root = zarr.open(self.path, mode="r", storage_options=options)
        found = {"data": root} if hasattr(root, "shape") else dict(self._inside(root, ""))
        if self.array_paths is not None:
            missing = [name for name in self.array_paths if name not in found]
            if missing:
                raise KeyError(f"there is no array {', '.join(missing)}; there are {', '.join(found)}")
            found = {name: found[name] for name in self.array_paths}
        found = {name: array for name, array in found.items() if array.ndim}
        lengths = {name: array.shape[0] for name, array in found.items()}
        if self.array_paths is None and lengths:
            longest = max(lengths.values())
            found = {name: array for name, array in found.items() if lengths[name] == longest}
        elif len(set(lengths.values())) > 1:
            raise ValueError(f"arrays that are read together have as many rows, not {lengths}")
        return found

    def _inside(self, group: Any, before: str) -> Iterator[tuple[str, Any]]:
        for name, member in group.members():
            path = f"{before}{name}"
            if hasattr(member, "shape"):
                yield path, member
            else:
                yield from self._inside(member, f"{path}/")

    def estimate_inmemory_data_size(self) -> int | None:
        """Return the bytes of all arrays."""
        return sum(int(array.nbytes) for array in self.arrays().values())

    def get_read_tasks(self, parallelism: int, per_task_row_limit: int | None = None) -> list[ReadTask]:
        """Return stretches of whole chunks of the first axis."""
        arrays = self.arrays()
        if not arrays:
            return []
        step = math.lcm(*(max(1, array.chunks[0]) for array in arrays.values()))
        rows = next(iter(arrays.values())).shape[0]
        stretches = cut(-(-rows // step), parallelism)
        return [
            ReadTask(_ZarrRows(self, tuple(arrays), start * step, min(rows, stop * step), step))
            for start, stop in stretches
        ]

    def describe(self) -> str:
        """Return what a person calls this source."""
        return "Zarr"


@attrs.frozen(eq=False)
class _ZarrRows:
    source: ZarrDatasource
    names: tuple[str, ...]
    start: int
    stop: int
    step: int

    def __call__(self) -> Iterator[Block]:
        arrays = self.source.arrays()
        for start in range(self.start, self.stop, self.step):
            stop = min(start + self.step, self.stop)
            yield pa.table({name: to_column(name, arrays[name][start:stop]) for name in self.names})


@attrs.frozen
class TimeRange:
    """Times from `start_time` up to `end_time`, in nanoseconds since 1970. Raises ValueError for an empty one.

    Example: `TimeRange(start_time=0, end_time=10**9)`
    """

    start_time: int
    end_time: int

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.start_time < self.end_time:
            raise ValueError(
                f"start_time must be ≥ 0 and before end_time, not {self.start_time} and {self.end_time}"
            )


@attrs.frozen(eq=False)
class McapFormat(FileFormat):
    """Messages of MCAP files: "data" as JSON's value where that is their encoding, else as bytes, "topic" and times.

    Parameters: `topics` and `message_types` are those to read (None: all), `time_range` a TimeRange of the log's times;
    `include_metadata` adds the message's schema and channel.

    Example: `FileDatasource(McapFormat(topics=("/imu",)), filesystem, files)`
    """

    name = "MCAP"
    expands = 3.0

    topics: tuple[str, ...] | None = None
    time_range: TimeRange | None = None
    message_types: tuple[str, ...] | None = None
    include_metadata: bool = True

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of messages. Raises mcap.exceptions.McapError for what is no MCAP."""
        with filesystem.open_input_stream(file.path, compression=None) as opened:
            data = io.BytesIO(opened.read())
        yield from in_tables(self._rows(data))

    def _rows(self, data: Any) -> Iterator[dict[str, Any]]:
        import json

        reader = need("mcap.reader", "read_mcap", "mcap").make_reader(data)
        span = self.time_range
        bounds = {} if span is None else {"starting_at": span.start_time, "ending_before": span.end_time}
        topics = None if self.topics is None else list(self.topics)
        for schema, channel, message in reader.iter_messages(topics=topics, **bounds):
            kind = None if schema is None else schema.name
            if self.message_types is not None and kind not in self.message_types:
                continue
            value = json.loads(message.data) if channel.message_encoding == "json" else message.data
            row = {
                "data": value,
                "topic": channel.topic,
                "log_time": message.log_time,
                "publish_time": message.publish_time,
                "sequence": message.sequence,
            }
            if self.include_metadata:
                row |= {
                    "channel_id": channel.id,
                    "message_encoding": channel.message_encoding,
                    "schema_name": kind,
                    "schema_encoding": None if schema is None else schema.encoding,
                }
            yield row


def texts(name: str, given: str | Sequence[str] | None) -> tuple[str, ...] | None:
    """Return names as a tuple; None as it is. Raises TypeError for what is no text.

    Example: `texts("topics", "/imu")  # ("/imu",)`
    """
    if given is None:
        return None
    found = (given,) if isinstance(given, str) else tuple(given)
    if not all(isinstance(each, str) for each in found):
        raise TypeError(f"{name} must be text or a list of texts, not {given!r}")
    return found
