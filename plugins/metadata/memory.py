"""MemoryMetadata: a dictionary. The plain model of the others, and enough where nothing need outlive the head."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write


class MemoryMetadata(Metadata):
    """Forgets everything with the process. `location` is not used and there are no options."""

    name: ClassVar[str] = "memory"
    durable: ClassVar[bool] = False
    __slots__ = ("_closed", "_lock", "_tables")

    def __init__(self, location: str, options: Mapping[str, Any] | None = None) -> None:
        if options:
            raise ConfigError(f"the metadata store 'memory' has no options, got {sorted(options)}")
        self._tables: dict[str, dict[bytes, bytes]] = {}
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

    def close(self) -> None:
        with self._lock:
            self._tables.clear()
            self._closed = True

    def _table(self, name: str) -> dict[bytes, bytes]:
        if self._closed:
            raise ValueError("the metadata store is closed")
        return self._tables.setdefault(name, {})
