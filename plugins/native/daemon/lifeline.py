"""How a daemon notices that its driver is gone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable


class ProcessEnd:
    """A process whose end is noticed."""

    __slots__ = ("_descriptor", "on_readable")

    def __init__(self, descriptor: int, end: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self.on_readable = end

    def fileno(self) -> int:
        """Return the process's descriptor, which is readable when it has ended."""
        return self._descriptor


class Lifeline:
    """A socket whose other end only the driver holds: its end of file is the driver's end, kill -9 included."""

    __slots__ = ("_end", "_sock")

    def __init__(self, sock: socket.socket, end: Callable[[], None]) -> None:
        self._sock = sock
        self._end = end

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

    def on_readable(self) -> None:
        """End of file, or the driver's word to end."""
        with contextlib.suppress(OSError):
            self._sock.recv(16)
        self._end()
