"""What is known of the session: events that have arrived, kept within bounds, and what is counted as they arrive.

Tables of everything are made when somebody asks for one; counts, charts and progress by function grow with the events,
so that they cost the same however many there were.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from shoal.looking import FAILED, Block, Losses, count_losses, parse_new
from shoal.state.tables import Tables

if TYPE_CHECKING:
    from shoal.interfaces.looking import SessionSeen

MOST_CALLS = 200_000  # that are kept: of more the oldest go
_SAMPLES = 720  # of a node: an hour
_SECONDS = 3600  # of throughput
_FUNCTIONS = 10_000
_OTHERS = "(other functions)"


@attrs.define
class Progress:
    """What became of one function's calls."""

    is_actor: bool
    finished: int = 0
    failed: int = 0
    seconds: float = 0.0  # all together
    longest: float = 0.0
    last: float = 0.0  # when one ended, seconds since 1970
    error: str = ""  # of the one that failed last


class _Segment:
    """The part of a process's event log that has arrived."""

    __slots__ = ("blocks", "damaged", "rest")

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.rest = b""
        self.damaged = 0

    def add(self, data: bytes) -> list[Block]:
        if not data:
            return []
        parsed, used = parse_new(self.rest + data)
        self.rest = (self.rest + data)[used:]
        new = [block for block in parsed if block is not None]
        self.damaged += len(parsed) - len(new)
        self.blocks += new
        return new


class Model:
    """The session's events. For one thread at a time."""

    def __init__(self, version: int = 0) -> None:
        self.version = version  # grows with every look
        self.left_out = 0  # calls that were dropped here, since there were too many
        self.seen: SessionSeen | None = None
        self.functions: dict[str, Progress] = {}
        self.samples: dict[str, deque[tuple[float, dict[str, Any]]]] = {}  # by node
        self.ended: dict[int, list[int]] = {}  # second: calls that finished and failed in it
        self._segments: dict[str, _Segment] = {}
        self._tables: Tables | None = None

    def update(self, seen: SessionSeen) -> None:
        """Take in what is new."""
        self.version += 1
        self.seen = seen
        self._tables = None
        kept: dict[str, _Segment] = self._segments if seen.silent else {}
        for node in seen.nodes:
            for name, _, data in node.parts:
                segment = self._segments.get(name) or _Segment()
                for block in segment.add(data):
                    self._count(block)
                kept.pop(name, None)
                kept[name] = segment  # written to last: at the end
        self._segments = kept
        self._forget()

    def _count(self, block: Block) -> None:
        for call in block.calls:
            name, actor, ended, seconds = call[0], call[2], call[4], call[5] * 1e-6
            has_failed = call[6] == FAILED
            progress = self.functions.get(name)
            if progress is None:
                name = name if len(self.functions) < _FUNCTIONS else _OTHERS
                progress = self.functions.setdefault(name, Progress(bool(actor)))
            if has_failed:
                progress.failed += 1
                progress.error = str(call[10])[:500]
            else:
                progress.finished += 1
            progress.seconds += seconds
            progress.longest = max(progress.longest, seconds)
            progress.last = max(progress.last, ended)
            self.ended.setdefault(int(ended), [0, 0])[has_failed] += 1
        for kind, when, fields in block.facts:
            if kind == "sample":
                mine = self.samples.setdefault(str(fields["node"]), deque(maxlen=_SAMPLES))
                mine.append((when, fields))
        if len(self.ended) > 2 * _SECONDS:
            for second in sorted(self.ended)[:-_SECONDS]:
                del self.ended[second]

    def _forget(self) -> None:
        count = sum(len(block.calls) for segment in self._segments.values() for block in segment.blocks)
        for segment in self._segments.values():
            for block in segment.blocks:
                if count <= MOST_CALLS:
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
            losses.trimmed = max(0, losses.trimmed - self.left_out)
            losses.damaged = sum(segment.damaged for segment in self._segments.values())
            losses.silent = self.seen.silent + sum(node.silent for node in self.seen.nodes)
            self._tables = Tables(self.seen, (blocks, losses))
        return self._tables

    def unfinished(self) -> dict[str, int]:
        """Return how many calls are not over, by state; of a dead session none."""
        found: dict[str, int] = {}
        if self.seen is not None and self.seen.is_live:
            for node in self.seen.nodes:
                for call in node.calls:
                    found[call["state"]] = found.get(call["state"], 0) + 1
        return found

    def missing(self) -> str:
        """Say what is missing from lists of calls, "" if all is there."""
        parts = [self.tables().losses.as_text()]
        if self.left_out:
            parts.append(
                f"only the newest {MOST_CALLS:,} calls are listed, {self.left_out:,} older ones are not"
            )
        return "; ".join(part for part in parts if part)
