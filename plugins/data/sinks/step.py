"""Writing as a step of a task."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import pyarrow as pa

from shoal.data.block import Block
from shoal.data.sinks.datasink import Datasink, TaskContext
from shoal.data.tasks import TASK
from shoal.data.transforms import Step, Transform


@attrs.frozen(eq=False)
class WriteBlocks(Transform):
    """Writes to a sink; gives a row with what the sink returned, and how much was written."""

    sink: Datasink[Any]

    @property
    def label(self) -> str:
        """What a person calls this step."""
        return f"Write{self.sink.describe()}"

    def open(self) -> Step:
        """Return what does it."""
        return self._write

    def _write(self, blocks: Iterator[Block]) -> Iterator[Block]:
        import cloudpickle

        rows = size = 0

        def counted() -> Iterator[Block]:
            nonlocal rows, size
            for block in blocks:
                rows += block.num_rows
                size += block.nbytes
                yield block

        result = self.sink.write(counted(), TaskContext(TASK.get()))
        yield pa.table({"rows": [rows], "bytes": [size], "result": [cloudpickle.dumps(result)]})
