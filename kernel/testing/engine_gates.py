"""Gates and marks between processes: files in a folder that all processes of the machine see. No pytest in here."""

from __future__ import annotations

import os
import time

SECONDS = 60.0  # no wait of the suite is longer
_STEP = 0.005


class Gate:
    """Closed until someone opens it, in any process.

    Example: a task calls `gate.pass_through()`, the test `gate.open()`.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def open(self) -> None:
        """Let everyone through, for ever."""
        with open(self.path, "ab"):
            pass

    def pass_through(self, seconds: float = SECONDS) -> None:
        """Wait until the gate is open. Raises TimeoutError."""
        wait_for(lambda: os.path.exists(self.path), f"gate {self.path} to open", seconds)

    async def pass_through_async(self) -> None:
        """Wait without stopping the event loop. Raises TimeoutError."""
        import asyncio

        deadline = time.monotonic() + SECONDS
        while not os.path.exists(self.path):
            if time.monotonic() > deadline:
                raise TimeoutError(f"gate {self.path} stayed closed")
            await asyncio.sleep(_STEP)


class Marks:
    """Counts what happened, in any process: each mark is a line in a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def add(self, text: str = "x") -> int:
        """Add a mark; return how many there are now. Marks of one process at a time count exactly."""
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(text + "\n")
        return len(self.all())

    def all(self) -> list[str]:
        """Return the marks, oldest first."""
        try:
            with open(self.path, encoding="utf-8") as file:
                return file.read().split("\n")[:-1]
        except FileNotFoundError:
            return []

    def wait_for(self, count: int) -> list[str]:
        """Wait until there are `count` marks. Raises TimeoutError."""
        wait_for(lambda: len(self.all()) >= count, f"{count} marks in {self.path}")
        return self.all()


def wait_for(condition: object, what: str, seconds: float = SECONDS) -> None:
    """Wait until `condition()` is true. Raises TimeoutError naming `what`."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {seconds} seconds for {what}")
        time.sleep(_STEP)
