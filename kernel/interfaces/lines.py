"""Lines that workers print for a program at the driver instead of for a person: bars, and what libraries think of.

Such a line is `mark + kind + separator + text + separator + data`. At the driver it goes to whoever has registered for
its kind; without one the text is shown like any other line.
"""

from __future__ import annotations

from collections.abc import Callable

MARK = "\x1e"
SEPARATOR = "\x1f"

Taker = Callable[[int, str], None]

_takers: dict[str, Taker] = {}


def make_line(kind: str, text: str, data: str) -> str:
    """Return the line to print in a worker. Raises ValueError if a part holds a separator or more than one line."""
    for part in (kind, text, data):
        if SEPARATOR in part or "\n" in part:
            raise ValueError(f"a part of a line must be one line without separators, not {part!r}")
    return f"{MARK}{kind}{SEPARATOR}{text}{SEPARATOR}{data}"


def take_lines(kind: str, taker: Taker) -> None:
    """Have `taker(process, data)` called for lines of a kind, at the driver. It must be quick and must not raise."""
    _takers[kind] = taker


def hand_over(process: int, line: str) -> str | None:
    """Hand a marked line to whoever takes it and return None; return the text to show where nobody does."""
    kind, _, rest = line[len(MARK) :].partition(SEPARATOR)
    text, _, data = rest.partition(SEPARATOR)
    taker = _takers.get(kind)
    if taker is None:
        return text
    taker(process, data)
    return None
