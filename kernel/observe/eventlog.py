"""The event log of a session: one folder a node, in it a few append-only segments for each process.

A segment is a sequence of blocks. Each is written by one `write` and can be read alone: 16 bytes of head (magic with
the version of the format, length, CRC-32 and number of events of what follows), then MessagePack: `[identity, calls,
facts]`. What a crash has torn, or a full disk has cut, fails its checksum and is skipped; the next magic begins anew.

`identity` says who wrote: `process`, `kind`, `pid`, `node`, `job`, and in numbers that only grow `first` (how many
events it had told before this block), `sampled` (calls left out since there were too many) and `lost` (events that
could not be written). So a reader can tell what is missing, also of segments that were removed to keep the log within
its bound.

A call (the hot path: positions, no names) is `CALL_FIELDS`; a fact is `[kind, seconds since 1970, {fields}]`.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

MAGIC = b"SEV1"
HEAD = struct.Struct("<4sIII")  # magic, bytes, CRC-32, events
SUFFIX = ".events"
FOLDER = "events"  # below a session's folder

# An attempt of a call that is over, as its owner knows it. Times in seconds since 1970, the duration in microseconds.
CALL_FIELDS = (
    "name",
    "attempt",
    "actor",  # empty for a task
    "worker",
    "ended",
    "duration",
    "status",  # FAILED, or any other number
    "counter",  # with the owner's identifier before it: the call's own
    "created",
    "parent",  # counter of the call that made it, None at the top
    "error",  # "Class: text" if it failed
)
FAILED = 3
Call = Sequence[Any]
Fact = Sequence[Any]

_SEGMENTS = 16  # of a full log
_SMALLEST_SEGMENT = 1 << 14


class EventLog:
    """One process's end of the log, for writing. Nothing is made before the first event. For one thread at a time.

    Parameters: `folder` is made if it is missing, `identity` says who writes (`process`, `kind`, `pid`, `node`, `job`),
    and `limit` is how many bytes the whole folder may have. Never raises: what cannot be written is counted.

    Example: `EventLog(folder, {"process": "0a"}, 1 << 20).append([], [["node", time.time(), {"state": "ALIVE"}]])`
    """

    __slots__ = ("_file", "_folder", "_identity", "_limit", "_number", "_size", "lost", "sampled", "told")

    def __init__(self, folder: str, identity: Mapping[str, Any], limit: int) -> None:
        self._folder = folder
        self._identity = dict(identity)
        self._limit = limit
        self._file = -1
        self._number = 0
        self._size = 0
        self.told = 0
        self.sampled = 0
        self.lost = 0

    def append(self, calls: Sequence[Call], facts: Sequence[Fact], sampled: int = 0) -> bool:
        """Write events as one block; `sampled` calls more were left out. Returns whether that went well."""
        self.sampled += sampled
        count = len(calls) + len(facts)
        header = {**self._identity, "first": self.told, "sampled": self.sampled, "lost": self.lost}
        try:
            whole = self.write(encode_block(header, calls, facts))
        except (TypeError, OverflowError, ValueError):  # what MessagePack cannot say
            whole = False
        self.told += count
        if not whole:
            self.lost += count
        return whole

    def write(self, block: bytes) -> bool:
        """Write a block that is encoded already. Returns whether that went well."""
        try:
            self._open(len(block))
            whole = os.write(self._file, block) == len(block)
        except OSError:
            whole = False
        if not whole:
            self.close()  # the next block goes into a segment of its own
            return False
        self._size += len(block)
        return True

    def _open(self, size: int) -> None:
        segment = max(_SMALLEST_SEGMENT, self._limit // _SEGMENTS)
        if self._file >= 0:
            if self._size + size <= segment and os.fstat(self._file).st_nlink:
                return
            self.close()
        os.makedirs(self._folder, mode=0o700, exist_ok=True)
        trim(self._folder, self._limit - segment)
        self._number += 1
        name = f"{self._identity['process']}-{self._number:06d}{SUFFIX}"
        self._file = os.open(
            os.path.join(self._folder, name), os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600
        )
        self._size = 0

    def close(self) -> None:
        """Close the segment; the next event opens another."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def encode_block(identity: Mapping[str, Any], calls: Sequence[Call], facts: Sequence[Fact]) -> bytes:
    """Return a block; see the module's text. Raises TypeError for what MessagePack cannot say."""
    import msgspec  # here, since verbs of the command line import this module when they are only listed

    data = msgspec.msgpack.encode([identity, calls, facts])
    return HEAD.pack(MAGIC, len(data), zlib.crc32(data), len(calls) + len(facts)) + data


def segments(folder: str) -> list[str]:
    """Return the paths of a log's segments, that which was written to last at the end. An absent log has none."""
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith(SUFFIX):
                    try:
                        found.append((entry.stat().st_mtime_ns, entry.path))
                    except FileNotFoundError:  # trimmed meanwhile
                        continue
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [path for _, path in sorted(found)]


def trim(folder: str, limit: int) -> None:
    """Remove the segments that were written to longest ago, until the rest is within `limit` bytes."""
    sizes = []
    for path in segments(folder):
        try:
            sizes.append((path, os.path.getsize(path)))
        except FileNotFoundError:
            continue
    total = sum(size for _, size in sizes)
    for path, size in sizes:
        if total <= limit:
            return
        try:
            os.unlink(path)
        except FileNotFoundError:
            continue
        total -= size
