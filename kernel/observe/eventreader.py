"""Reading event logs: of a folder, or of bytes that another node has sent. Damage is skipped and counted."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from shoal.observe.eventlog import HEAD, MAGIC, segments

_LARGEST = 1 << 28  # bytes of one block: a length beyond it is damage


@attrs.frozen
class Block:
    """Events that one process wrote in one go."""

    identity: dict[str, Any]
    calls: list[list[Any]]
    facts: list[list[Any]]

    @property
    def process(self) -> str:
        """Who wrote, in hexadecimal."""
        return str(self.identity.get("process", ""))


@attrs.define
class Losses:
    """What is missing from a log, and why."""

    sampled: int = 0  # calls that were left out at the source, since there were too many
    unwritten: int = 0  # events that could not be written: the disk was full
    trimmed: int = 0  # events of segments that were removed to keep the log within its bound
    damaged: int = 0  # places where blocks were torn or damaged
    silent: int = 0  # processes and nodes that did not answer in time

    @property
    def any(self) -> bool:
        """Whether anything is missing."""
        return any(attrs.astuple(self))

    def matters(self, for_calls: bool) -> bool:
        """Whether something may be missing from a list: of calls, or of what is told of rarely."""
        return bool(self.unwritten or self.damaged or self.silent or (for_calls and self.any))

    def as_text(self) -> str:
        """Say in a line what is missing; nothing if all is there."""
        parts = [
            (self.sampled, "calls were not recorded, since there were too many at once"),
            (self.unwritten, "events could not be written"),
            (self.trimmed, "older events were removed, since the log is bounded"),
            (self.damaged, "blocks of the log are damaged"),
            (self.silent, "processes or nodes did not answer"),
        ]
        return "; ".join(f"{count:,} {text}" for count, text in parts if count)


def parse(data: bytes | memoryview) -> Iterator[Block | None]:
    """Yield the blocks of a segment; None for each place where something torn or damaged was skipped."""
    view = memoryview(data)
    raw = bytes(data) if isinstance(data, memoryview) else data
    position = 0
    while position < len(view):
        block, end = _block_at(view, position)
        if block is None:
            end = raw.find(MAGIC, position + 1)
            end = len(view) if end < 0 else end
        yield block
        position = end


def parse_new(data: bytes) -> tuple[list[Block | None], int]:
    """Return what `parse` gives for bytes of a segment that is still written to, and how many bytes that took.

    A last block of which not all has arrived is left for the next time.
    """
    found: list[Block | None] = []
    position = 0
    view = memoryview(data)
    while position < len(data):
        rest = data[position : position + HEAD.size]
        if rest[:4] == MAGIC[: len(rest)]:
            length = HEAD.unpack(rest)[1] if len(rest) == HEAD.size else _LARGEST
            if length <= _LARGEST and position + HEAD.size + length > len(data):
                break
        block, end = _block_at(view, position)
        if block is None:
            end = data.find(MAGIC, position + 1)
            end = len(data) if end < 0 else end
        found.append(block)
        position = end
    return found, position


def _block_at(view: memoryview, position: int) -> tuple[Block | None, int]:
    import msgspec  # here, since verbs of the command line import this module when they are only listed

    start = position + HEAD.size
    if start > len(view):
        return None, start
    magic, length, checksum, count = HEAD.unpack_from(view, position)
    end = start + length
    if magic != MAGIC or length > _LARGEST or end > len(view):
        return None, end
    payload = view[start:end]
    if zlib.crc32(payload) != checksum:
        return None, end
    try:
        identity, calls, facts = msgspec.msgpack.decode(payload)
        if not isinstance(identity, dict) or len(calls) + len(facts) != count:
            return None, end
    except (msgspec.DecodeError, ValueError, TypeError):
        return None, end
    return Block(identity, calls, facts), end


def read_raw(folder: str, most: int) -> list[bytes]:
    """Return the bytes of a log's segments, oldest first; of what is beyond `most` bytes the newest."""
    found: list[bytes] = []
    left = most
    for path in reversed(segments(folder)):
        if left <= 0:
            break
        try:
            with open(path, "rb") as file:
                data = file.read(left)
        except FileNotFoundError:  # trimmed meanwhile
            continue
        left -= len(data)
        found.append(data)
    return found[::-1]


def read_new(folder: str, have: Mapping[str, int], most: int) -> list[tuple[str, int, bytes]]:
    """Return (name, where it begins, bytes) of what is new of each segment, oldest first; all that there are are named.

    `have` says how many bytes of a segment are known; of more than `most` new bytes the newest segments are read.
    """
    found: list[tuple[str, int, bytes]] = []
    left = most
    for path in reversed(segments(folder)):
        name = os.path.basename(path)
        begin = have.get(name, 0)
        data = b""
        if left > 0:
            try:
                with open(path, "rb") as file:
                    file.seek(begin)
                    data = file.read(left)
            except FileNotFoundError:  # trimmed meanwhile
                continue
        left -= len(data)
        found.append((name, begin, data))
    return found[::-1]


def read_blocks(parts: Iterable[bytes]) -> tuple[list[Block], Losses]:
    """Return all blocks of segments, and what is missing."""
    blocks: list[Block] = []
    losses = Losses()
    for part in parts:
        for block in parse(part):
            if block is None:
                losses.damaged += 1
            else:
                blocks.append(block)
    count_losses(blocks, losses)
    return blocks, losses


def count_losses(blocks: Iterable[Block], losses: Losses) -> None:
    """Add to `losses` what blocks tell is missing beside them."""
    last: dict[
        str, tuple[int, int, int]
    ] = {}  # process: events told, sampled, unwritten, up to its last block
    have: dict[str, int] = {}
    for block in blocks:
        identity = block.identity
        count = len(block.calls) + len(block.facts)
        have[block.process] = have.get(block.process, 0) + count
        now = (
            int(identity.get("first", 0)) + count,
            int(identity.get("sampled", 0)),
            int(identity.get("lost", 0)),
        )
        last[block.process] = max(last.get(block.process, now), now)
    for process, (told, sampled, unwritten) in last.items():
        losses.sampled += sampled
        losses.unwritten += unwritten
        losses.trimmed += max(0, told - unwritten - have[process])


def read_log(folder: str, most: int = _LARGEST) -> tuple[list[Block], Losses]:
    """Return the blocks of a log's folder, and what is missing. An absent log is empty.

    Example: `blocks, losses = read_log(os.path.join(session_folder, "events"))`
    """
    return read_blocks(read_raw(folder, most))
