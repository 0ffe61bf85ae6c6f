"""What is known of the session: events that have arrived, kept within a bound, and tables made of them when asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

from shoal.looking import Block, Losses, count_losses, parse_new
from shoal.state.tables import Tables

if TYPE_CHECKING:
    from shoal.interfaces.looking import SessionSeen

_MOST_CALLS = 200_000  # that are kept: of more the oldest go


class _Segment:
    """The part of a process's event log that has arrived."""

    __slots__ = ("blocks", "damaged", "rest")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.rest = b""
        self.damaged = 0

    def add(self, begin: int, data: bytes) -> None:
        if not data:
            return
        parsed, used = parse_new(self.rest + data)
        self.rest = (self.rest + data)[used:]
        self.damaged += parsed.count(None)
        self.blocks += [block for block in parsed if block is not None]


class Model:
    """The session's events. For one thread at a time."""

    def __init__(self) -> None:
        self.version = 0  # grows with every look
        self.left_out = 0  # calls that were dropped here, since there were too many
        self.seen: SessionSeen | None = None
        self._segments: dict[str, _Segment] = {}
        self._tables: Tables | None = None

    def update(self, seen: SessionSeen) -> None:
        """Take in what is new."""
        self.version += 1
        self.seen = seen
        self._tables = None
        kept: dict[str, _Segment] = self._segments if seen.silent else {}
        for node in seen.nodes:
            for name, begin, data in node.parts:
                segment = self._segments.get(name) or _Segment()
                segment.add(begin, data)
                kept.pop(name, None)
                kept[name] = segment  # written to last: at the end
        self._segments = kept
        self._forget()

    def _forget(self) -> None:
        blocks = [block for segment in self._segments.values() for block in segment.blocks]
        count = sum(len(block.calls) for block in blocks)
        if count <= _MOST_CALLS:
            return
        for segment in self._segments.values():
            for block in segment.blocks:
                if count <= _MOST_CALLS:
                    return
                count -= len(block.calls)
                self.left_out += len(block.calls)
                block.calls.clear()  # its facts stay: they are few, and old ones still hold

    def tables(self) -> Tables:
        """Return the tables of what is known now; the same ones until the next look."""
        assert self.seen is not None
        if self._tables is None:
            blocks = [block for segment in self._segments.values() for block in segment.blocks]
            losses = Losses()
            count_losses(blocks, losses)
            losses.damaged = sum(segment.damaged for segment in self._segments.values())
            losses.silent = self.seen.silent + sum(node.silent for node in self.seen.nodes)
            self._tables = Tables(self.seen, (blocks, losses))
        return self._tables
