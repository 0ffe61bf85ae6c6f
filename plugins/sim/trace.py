"""What happened in a simulated world, as lines that can be compared with those of another run."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator

_RECENT = 200  # notes that are kept in any case, for the story of a failure
_KEPT = 200_000  # and at most


class Trace:
    """Notes in the order of time, and a digest of all of them: equal digests mean equal worlds."""

    def __init__(self, keep: bool = False) -> None:
        """Keep notes for reading, the last 200,000 of them, or only a few."""
        self._lines: deque[str] = deque(maxlen=_KEPT if keep else _RECENT)
        self._hash = hashlib.sha256()
        self.count = 0

    def add(self, when: float, kind: str, facts: tuple[object, ...]) -> None:
        """Add a note; facts are shown as text, bytes in hexadecimal."""
        line = f"{when:.6f} {kind} {' '.join(map(_text, facts))}".rstrip()
        self._lines.append(line)
        self._hash.update(line.encode())
        self._hash.update(b"\n")
        self.count += 1

    def digest(self) -> str:
        """Return a number, in hexadecimal, that two different traces do not share."""
        return self._hash.hexdigest()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._lines))

    def last(self, count: int = 40) -> str:
        """Return the last notes as text, a line each."""
        return "\n".join(list(self._lines)[-count:])


def _text(fact: object) -> str:
    return fact.hex() if isinstance(fact, bytes) else str(fact)
