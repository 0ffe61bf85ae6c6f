"""Metadata in one file of JSON lines: easy to read, to copy and to mend by hand."""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import attrs

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write


class JsonLinesMetadata(Metadata):
    """A log of writes, one line for each `apply`; the records are what the log adds up to.

    A line is a write's unit of atomicity: one that a crash cut short has no newline, and the next writer removes it.
    Several processes may share the file: a lock on it guards each operation, which first reads what others appended.
    """

    name: ClassVar[str] = "jsonlines"
    durable: ClassVar[bool] = True
    __slots__ = ("_descriptor", "_lock", "_read", "_sync", "_tables")

    @attrs.frozen
    class Options:
        """`sync=False` leaves it to the system when bytes reach the disk: faster, and lost if the machine fails."""

        sync: bool = attrs.field(default=True, validator=attrs.validators.instance_of(bool))

    def __init__(self, location: str, options: Mapping[str, Any] | None = None) -> None:
        try:
            self._sync = self.Options(**(options or {})).sync
        except TypeError as error:
            raise ConfigError(f"metadata store {self.name!r}: {error}") from error
        try:
            self._descriptor = os.open(location, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ConfigError(f"metadata store {self.name!r} cannot open {location!r}: {error}") from error
        self._lock = threading.Lock()
        self._read = 0  # how far the file has been read
        self._tables: dict[str, dict[bytes, bytes]] = {}

    def get(self, table: str, key: bytes) -> bytes | None:
        with self._current():
            return self._tables.get(table, {}).get(key)

    def apply(self, writes: Sequence[Write]) -> None:
        with self._current():
            self._append(writes)

    def put_if_absent(self, table: str, key: bytes, value: bytes) -> bool:
        with self._current():
            if key in self._tables.get(table, {}):
                return False
            self._append([Write(table, key, value)])
            return True

    def items(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        with self._current():
            records = self._tables.get(table, {})
            return sorted((key, value) for key, value in records.items() if key.startswith(prefix))

    def close(self) -> None:
        with self._lock:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    @contextmanager
    def _current(self) -> Iterator[None]:
        """Hold the file for one operation, and know all that is in it."""
        with self._lock:
            if self._descriptor < 0:
                raise ValueError("the metadata store is closed")
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            try:
                self._catch_up()
                yield
            finally:
                fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    def _catch_up(self) -> None:
        size = os.fstat(self._descriptor).st_size
        if size == self._read:
            return
        fresh = os.pread(self._descriptor, size - self._read, self._read)
        whole = fresh[: fresh.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self._take(
                [Write(table, bytes.fromhex(key), _bytes(value)) for table, key, value in json.loads(line)]
            )
        self._read += len(whole)
        os.ftruncate(self._descriptor, self._read)

    def _append(self, writes: Sequence[Write]) -> None:
        rows = [[one.table, one.key.hex(), _text(one.value)] for one in writes]
        line = json.dumps(rows).encode() + b"\n"
        try:
            written = os.pwrite(self._descriptor, line, self._read)
            if written < len(line):  # a full disk takes what fits
                raise OSError(f"only {written} of {len(line)} bytes could be written")
            if self._sync:
                os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self._read)  # all or none
            raise
        self._read += len(line)
        self._take(writes)

    def _take(self, writes: Sequence[Write]) -> None:
        for one in writes:
            records = self._tables.setdefault(one.table, {})
            if one.value is None:
                records.pop(one.key, None)
            else:
                records[one.key] = one.value


def _text(value: bytes | None) -> str | None:
    return None if value is None else memoryview(value).hex()  # TypeError for what is not bytes


def _bytes(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)
