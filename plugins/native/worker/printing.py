"""Standard output and error of a worker: what is printed is marked with the call that prints it."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING, TextIO

from shoal.observe.marks import mark

if TYPE_CHECKING:
    from shoal.native.worker.execution import Execution
    from shoal.native.worker.worker import Worker

_MOST_PRINTED = 4_000  # characters that are kept of each call, for the error if it raises


class MarkedStream(io.TextIOWrapper):
    """A worker's stream. What reaches the descriptor in other ways counts as printed by the last call that printed."""

    def __init__(self, stream: TextIO, worker: Worker) -> None:
        # Not the stream's own buffer: it was made by the zygote, for another file under the same descriptor.
        buffer = open(stream.fileno(), "wb", closefd=False)  # noqa: SIM115 (as long as the process lives)
        super().__init__(buffer, encoding=stream.encoding, errors=stream.errors, line_buffering=True)
        self._worker = worker
        self._marked: Execution | None = None

    def write(self, text: str, /) -> int:
        execution = self._worker.execution()
        if execution is not self._marked:
            self._marked = execution
            super().write(self._mark(execution))
        if execution is not None:
            execution.printed = (execution.printed + text)[-_MOST_PRINTED:]
        return super().write(text)

    def _mark(self, execution: Execution | None) -> str:
        host = self._worker.host
        actor = "" if host is None else host.actor_id.hex()
        if execution is None or not execution.counter:
            return mark("", actor)
        return mark((execution.peer.worker_id + execution.counter.to_bytes(8, "big")).hex(), actor)


def mark_streams(worker: Worker) -> None:
    """Mark what this process prints from now on."""
    sys.stdout = MarkedStream(sys.stdout, worker)
    sys.stderr = MarkedStream(sys.stderr, worker)
