"""Connections whose other side has proved nothing yet: only so many, and only for so long."""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shoal.native.transport.connection import Connection
    from shoal.native.transport.reactor import Reactor

PATIENCE_SECONDS = 10.0
MOST = 256


class Admission:
    """Shuts connections out that do not prove themselves in time. Called with the reactor's lock held.

    When there are too many, those that began first go first: a member needs a few milliseconds, and who only holds on
    cannot keep members out.
    """

    def __init__(self, reactor: Reactor, most: int = MOST, seconds: float = PATIENCE_SECONDS) -> None:
        self._reactor = reactor
        self._most = most
        self._seconds = seconds
        self._began: OrderedDict[Connection, float] = OrderedDict()
        self._looking = False

    def add(self, connection: Connection) -> None:
        """A connection has begun."""
        while len(self._began) >= self._most:
            self._shut()
        self._began[connection] = time.monotonic()
        self._look_later()

    def discard(self, connection: Connection) -> None:
        """A connection has proved itself, or is closed."""
        self._began.pop(connection, None)

    def _shut(self) -> None:
        connection, _ = self._began.popitem(last=False)
        connection.close()

    def _look_later(self) -> None:
        if self._looking or not self._began:
            return
        self._looking = True
        first = next(iter(self._began.values()))
        self._reactor.call_later(max(0.0, first + self._seconds - time.monotonic()), self._look)

    def _look(self) -> None:
        self._looking = False
        late = time.monotonic() - self._seconds
        while self._began and next(iter(self._began.values())) <= late:
            self._shut()
        self._look_later()
