"""Shows what workers print, at the driver: a prefix before each line, repeated lines folded."""

from __future__ import annotations

import functools
import sys
import time
from collections import OrderedDict
from collections.abc import Callable

from shoal.interfaces.lines import MARK, hand_over
from shoal.native.transport.connection import Message
from shoal.native.transport.reactor import Reactor

_FOLD_SECONDS = 5.0  # a line that another worker printed within this time is counted, not shown
_REMEMBERED = 1_000


class _Seen:
    __slots__ = ("at", "count", "prefix", "process", "stream")

    def __init__(self, at: float, process: int, prefix: str, stream: str) -> None:
        self.at = at
        self.process = process
        self.prefix = prefix
        self.stream = stream
        self.count = 0

    def told(self, line: str) -> str:
        """Return the line that tells how often it was repeated."""
        return f"{self.prefix} {line} [and {self.count} times in other workers]\n"


class LogPrinter:
    """Prints lines of workers. A line that other workers print as well appears once, with a count soon after."""

    def __init__(self, reactor: Reactor, write: Callable[[str, str], None] | None = None) -> None:
        self._reactor = reactor
        self._write = write or _write
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._ticking = False

    def on_lines(self, message: Message) -> None:
        """Take lines from the daemon. Called under the lock."""
        _, _, process, name, stream, lines = message
        if any(line.startswith(MARK) for line in lines):
            told = [hand_over(process, line) if line.startswith(MARK) else line for line in lines]
            lines = [line for line in told if line is not None]
        prefix = f"({name} pid={process})" if name else f"(pid={process})"
        shown = self.fold(lines, process, prefix, stream, time.monotonic())
        if shown:
            self._reactor.call_soon_unlocked(lambda: self._write(stream, shown))
        if not self._ticking and self._seen:
            self._ticking = True
            self._reactor.call_later(_FOLD_SECONDS, self._tick)

    def fold(self, lines: list[str], process: int, prefix: str, stream: str, now: float) -> str:
        """Return what to print of these lines."""
        shown = []
        for line in lines:
            seen = self._seen.get(line)
            if (
                seen is not None
                and seen.process != process
                and now - seen.at < _FOLD_SECONDS
                and line.strip()
            ):
                seen.count += 1
                continue
            if seen is None:
                self._seen[line] = _Seen(now, process, prefix, stream)
                if len(self._seen) > _REMEMBERED:
                    oldest, forgotten = self._seen.popitem(last=False)
                    if forgotten.count:
                        shown.append(forgotten.told(oldest))
            shown.append(f"{prefix} {line}\n")
        return "".join(shown)

    def finish(self) -> None:
        """Print the counts that are still to be told: the session ends."""
        for stream, text in self.settle(float("inf")):
            self._write(stream, text)

    def settle(self, now: float) -> list[tuple[str, str]]:
        """Return (stream, text) for lines whose repetitions are to be told, and forget old ones."""
        told = []
        for line, seen in list(self._seen.items()):
            if now - seen.at < _FOLD_SECONDS:
                break
            del self._seen[line]
            if seen.count:
                told.append((seen.stream, seen.told(line)))
        return told

    def _tick(self) -> None:
        self._ticking = False
        for stream, text in self.settle(time.monotonic()):
            self._reactor.call_soon_unlocked(functools.partial(self._write, stream, text))
        if self._seen:
            self._ticking = True
            self._reactor.call_later(_FOLD_SECONDS, self._tick)


def _write(stream: str, text: str) -> None:
    file = sys.stderr if stream == "stderr" else sys.stdout
    try:
        file.write(text)
        file.flush()
    except (OSError, ValueError):  # the program has closed its own output
        return
