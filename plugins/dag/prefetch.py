"""Reading ahead: the next value is received and unpickled while the actor computes with the one before."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Any

from shoal.dag.failures import ChannelClosed
from shoal.dag.ring import Reader

_AHEAD = 1
_LOOK_SECONDS = 0.5


class Prefetcher:
    """A Reader whose values are read by a thread. `read` and `release` as there."""

    def __init__(self, reader: Reader, check: Callable[[], None]) -> None:
        self._reader = reader
        self._check = check
        self._values: queue.Queue[tuple[int, Any] | BaseException] = queue.Queue(_AHEAD)
        self._thread = threading.Thread(target=self._run, name="graph-prefetch", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def read(self, timeout: float | None, check: Callable[[], None]) -> tuple[int, Any]:
        """Return the next (kind, value), when it comes. Raises as `Reader.read` does."""
        while True:
            try:
                got = self._values.get(timeout=_LOOK_SECONDS)
                break
            except queue.Empty:
                if not self._thread.is_alive():
                    raise ChannelClosed("the compiled graph was torn down") from None
        if isinstance(got, BaseException):
            raise got
        return got

    def release(self) -> None:
        """Give back the slots whose values are not used any more."""
        self._reader.release()

    def _run(self) -> None:
        closed = False
        while not closed:
            try:
                got: tuple[int, Any] | BaseException = self._reader.read(None, self._check)
            except ChannelClosed as error:
                got, closed = error, True
            except Exception as error:  # does not unpickle, or the driver is gone: for who reads
                got = error
            while True:
                try:
                    self._values.put(got, timeout=_LOOK_SECONDS)
                    break
                except queue.Full:
                    if self._reader.ring.closed:
                        return
            del got
