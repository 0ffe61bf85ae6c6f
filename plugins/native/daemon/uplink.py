"""How a daemon and the head reach each other: in one process here, over gRPC in `plugins/native/head/rpc.py`."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from shoal.native.daemon.daemon import Daemon
    from shoal.native.head.head import Head

Message = list[Any]


class Uplink(Protocol):
    """The head as its nodes reach it."""

    def up(self, message: Message) -> None:
        """Queue a message; what was sent before arrives before."""
        ...


class LocalLink:
    """The head's own node. Messages are handled at once, but never one inside another."""

    def __init__(self, daemon: Daemon, head: Head) -> None:
        self._daemon = daemon
        self._head = head
        self._queue: deque[Callable[[], None]] = deque()
        self._busy = False

    def up(self, message: Message) -> None:
        """Give a message to the head."""
        self._queue.append(lambda: self._head.on_message(self._daemon.number, message))
        self._run()

    def send(self, message: Message, soon: bool = True) -> None:
        """Give a message to the node."""
        self._queue.append(lambda: self._daemon.on_head_message(message))
        self._run()

    def refresh(self) -> None:
        """Tell the head what is free now: the node lives as long as the head does."""
        self._head.membership.renew(self._daemon.number, time.monotonic())
        book = self._daemon.scheduling.book
        self._head.membership.resources(self._daemon.number, book.available, len(book.wants))

    def report(self) -> None:
        """Tell the head what waits here, and what each job has."""
        self.refresh()
        for message in self._daemon.reports.of_people():
            self._head.on_message(self._daemon.number, message)

    def _run(self) -> None:
        if self._busy:
            return
        self._busy = True
        try:
            while self._queue:
                self._queue.popleft()()
        finally:
            self._busy = False
