"""MemoryMetadata: a dictionary. The plain model of the others, and enough where nothing need outlive the head."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write
from shoal.metadata.values import check_seconds


class MemoryMetadata(Metadata):
    """Forgets everything with the process. `location` is not used and there are no options."""

    name: ClassVar[str] = "memory"
    durable: ClassVar[bool] = False
    __slots__ = ("_closed", "_leases", "_lock", "_tables")

    def __init__(self, location: str, options: Mapping[str, Any] | None = None) -> None:
        if options:
            raise ConfigError(f"the metadata store 'memory' has no options, got {sorted(options)}")
        self._tables: dict[str, dict[bytes, bytes]] = {}
        self._leases: dict[str, tuple[bytes, float]] = {}  # owner, end by the monotonic clock
        self._lock = threading.Lock()
        self._closed = False

    def get(self, table: str, key: bytes) -> bytes | None:
        with self._lock:
            return self._table(table).get(key)

    def apply(self, writes: Sequence[Write]) -> None:
        # Converted before the first is carried out, so that a bad one undoes nothing because nothing was done.
        ready = [(w.table, bytes(w.key), None if w.value is None else bytes(w.value)) for w in writes]
        with self._lock:
            self._table("")  # raises when closed, even if there is nothing to do
            for table, key, value in ready:
                rows = self._table(table)
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value

    def put_if_absent(self, table: str, key: bytes, value: bytes) -> bool:
        with self._lock:
            rows = self._table(table)
            if key in rows:
                return False
            rows[bytes(key)] = bytes(value)
            return True

    def items(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        with self._lock:
            return sorted(pair for pair in self._table(table).items() if pair[0].startswith(prefix))

    def acquire(self, name: str, owner: bytes, seconds: float) -> bool:
        """Take a lease; see SupportsLeases."""
        return self._lend(name, owner, check_seconds(seconds), (None, owner))

    def renew(self, name: str, owner: bytes, seconds: float) -> bool:
        """Prolong a lease; see SupportsLeases."""
        return self._lend(name, owner, check_seconds(seconds), (owner,))

    def release(self, name: str, owner: bytes) -> bool:
        """Give a lease back; see SupportsLeases."""
        with self._lock:
            if self._holder(name) != owner:
                return False
            del self._leases[name]
            return True

    def holder(self, name: str) -> bytes | None:
        """Tell whose a lease is; see SupportsLeases."""
        with self._lock:
            return self._holder(name)

    def close(self) -> None:
        with self._lock:
            self._tables.clear()
            self._leases.clear()
            self._closed = True

    def _lend(self, name: str, owner: bytes, seconds: float, may_be: tuple[bytes | None, ...]) -> bool:
        with self._lock:
            if self._holder(name) not in may_be:
                return False
            self._leases[name] = bytes(owner), time.monotonic() + seconds
            return True

    def _holder(self, name: str) -> bytes | None:
        self._table("")  # raises when closed
        owner, end = self._leases.get(name, (None, 0.0))
        return owner if time.monotonic() < end else None

    def _table(self, name: str) -> dict[bytes, bytes]:
        if self._closed:
            raise ValueError("the metadata store is closed")
        return self._tables.setdefault(name, {})
