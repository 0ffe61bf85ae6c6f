"""Marks in what workers print: they tell which call the lines that follow are of.

A mark is `\\x1e TASK : ACTOR \\x1f` with identifiers in hexadecimal, either of them empty. A worker writes one before
what it prints when the call is another one than before; in log files it stands on a line of its own. Who prints such
bytes deceives about the origin of its own lines, no others.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import attrs

BEGIN, END = b"\x1e", b"\x1f"
MOST_BYTES = 160  # of one mark
PATTERN = re.compile(rb"\x1e([0-9a-f]{0,64}):([0-9a-f]{0,64})\x1f")
_JSON = '{"time": '
_LINE = re.compile("\x1e([0-9a-f]{0,64}):([0-9a-f]{0,64})\x1f")


def mark(task: str, actor: str) -> str:
    """Return the mark of a call; identifiers in hexadecimal.

    Example: `mark("0a", "")` is `"\\x1e0a:\\x1f"`
    """
    return f"\x1e{task}:{actor}\x1f"


def with_marks(lines: int) -> int:
    """Return how many lines of a file have so many lines at least that are no marks: each may have one."""
    return 2 * lines + 1


@attrs.frozen
class MarkedLine:
    """A line of a log without its end, and what it is of, in hexadecimal ("": of no call, of no actor)."""

    text: str
    task: str
    actor: str


class MarkReader:
    """Takes the lines of one log in order, and tells what each is of.

    Example: `[line.text for line in MarkReader().read(["\\x1e0a:\\x1f", "hello"])]` is `["hello"]`
    """

    def __init__(self) -> None:
        self._task = self._actor = ""

    def read(self, lines: Iterable[str]) -> Iterator[MarkedLine]:
        """Yield the lines but for the marks."""
        for line in lines:
            found = _LINE.fullmatch(line)
            if line.startswith(_JSON):  # log_format = "json"
                facts = json.loads(line)
                yield MarkedLine(line, facts.get("task", ""), facts.get("actor", ""))
            elif found is None:
                yield MarkedLine(line, self._task, self._actor)
            else:
                self._task, self._actor = found[1], found[2]
