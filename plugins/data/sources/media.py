"""Formats of sound and moving pictures."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block, to_column
from shoal.data.checks import need
from shoal.data.sources.files import FileFormat
from shoal.data.sources.paths import File

_BYTES_AT_A_TIME = 32 * 2**20  # of frames in one table


@attrs.frozen(eq=False)
class AudioFormat(FileFormat):
    """Sound by soundfile: a row for each file, "amplitude" (a list for each channel) and "sample_rate" (a second).

    Example: `FileDatasource(AudioFormat(), filesystem, files)`
    """

    name = "Audio"
    expands = 4.0

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield one row. Raises soundfile.LibsndfileError for what is no sound."""
        soundfile = need("soundfile", "read_audio")
        with filesystem.open_input_stream(file.path, compression=None) as opened:
            samples, rate = soundfile.read(io.BytesIO(opened.read()), always_2d=True, dtype="float32")
        channels = pa.array([list(samples.T)], pa.list_(pa.list_(pa.float32())))
        yield pa.table({"amplitude": channels, "sample_rate": pa.array([rate], pa.int64())})


@attrs.frozen(eq=False)
class VideoFormat(FileFormat):
    """Moving pictures by PyAV: a row for each frame, "frame" (height, width, 3) and "frame_index".

    Parameters: `fps` keeps so many frames of each second, the nearest ones (None: all); `resize` is (height, width);
    `include_timestamps` adds "frame_timestamp" in seconds.

    Example: `FileDatasource(VideoFormat(fps=1), filesystem, files)`
    """

    name = "Video"
    expands = 100.0

    fps: float | None = None
    resize: tuple[int, int] | None = None
    include_timestamps: bool = False

    def read(self, filesystem: Any, file: File, part: Any) -> Iterator[Block]:
        """Yield a table for each stretch of frames. Raises av.error.InvalidDataError for what is no video."""
        av = need("av", "read_videos")
        with (
            filesystem.open_input_file(file.path) as opened,
            av.open(opened) as container,
        ):
            frames: list[Any] = []
            places: list[int] = []
            times: list[float] = []
            for index, frame in self._wanted(container):
                frames.append(frame.to_ndarray(format="rgb24", **self._size()))
                places.append(index)
                times.append(float(frame.time or 0.0))
                if len(frames) * frames[0].nbytes >= _BYTES_AT_A_TIME:
                    yield self._table(frames, places, times)
                    frames, places, times = [], [], []
            if frames:
                yield self._table(frames, places, times)

    def _wanted(self, container: Any) -> Iterator[tuple[int, Any]]:
        due = 0.0
        for index, frame in enumerate(container.decode(video=0)):
            if self.fps is not None:
                if (frame.time or 0.0) + 1e-9 < due:
                    continue
                due += 1.0 / self.fps
            yield index, frame

    def _size(self) -> dict[str, int]:
        return {} if self.resize is None else {"height": self.resize[0], "width": self.resize[1]}

    def _table(self, frames: list[Any], places: list[int], times: list[float]) -> Block:
        import numpy as np

        columns = {"frame": to_column("frame", np.stack(frames)), "frame_index": pa.array(places, pa.int64())}
        if self.include_timestamps:
            columns["frame_timestamp"] = pa.array(times, pa.float64())
        return pa.table(columns)
