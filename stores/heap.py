"""HeapStore: objects in one process's ordinary memory. The plain model that the fast stores are compared with."""

from __future__ import annotations

import threading
from typing import ClassVar

from shoal.errors import ConfigError, ObjectStoreFull
from shoal.interfaces.store import ObjectStore, StoreSettings, StoreStatistics
from shoal.stores.room import full_message


class HeapStore(ObjectStore):
    """A dictionary of bytes. No other process sees it, so it serves the inline engine and tests.

    Example: `store.create(oid, 3)[:] = b"abc"; store.seal(oid); bytes(store.get(oid)) == b"abc"`.
    """

    name: ClassVar[str] = "heap"
    shared: ClassVar[bool] = False
    __slots__ = ("_closed", "_lock", "_open", "_sealed", "_settings", "_used")

    def __init__(self, settings: StoreSettings) -> None:
        if settings.options:
            raise ConfigError(f"the store 'heap' has no options, got {sorted(settings.options)}")
        self._settings = settings
        self._lock = threading.Lock()
        self._open: dict[bytes, bytearray] = {}
        self._sealed: dict[bytes, bytearray] = {}
        self._used = 0
        self._closed = False

    def create(self, object_id: bytes, size: int) -> memoryview:
        with self._lock:
            self._check_open()
            if object_id in self._open or object_id in self._sealed:
                raise ValueError(f"object {object_id.hex()} exists")
            if self._used + size > self._settings.capacity:
                raise ObjectStoreFull(full_message(size, self._used, self._settings.capacity))
            self._used += size
            self._open[object_id] = block = bytearray(size)
            return memoryview(block)

    def seal(self, object_id: bytes) -> None:
        with self._lock:
            self._check_open()
            self._sealed[object_id] = self._open.pop(object_id)

    def abort(self, object_id: bytes) -> None:
        with self._lock:
            self._check_open()
            self._used -= len(self._open.pop(object_id))

    def get(self, object_id: bytes) -> memoryview | None:
        with self._lock:
            self._check_open()
            block = self._sealed.get(object_id)
            return None if block is None else memoryview(block).toreadonly()

    def contains(self, object_id: bytes) -> bool:
        with self._lock:
            self._check_open()
            return object_id in self._sealed

    def delete(self, object_id: bytes) -> bool:
        with self._lock:
            self._check_open()
            block = self._sealed.pop(object_id, None)
            self._used -= 0 if block is None else len(block)
            return block is not None

    def ids(self) -> list[bytes]:
        with self._lock:
            self._check_open()
            return sorted(self._sealed)

    def statistics(self) -> StoreStatistics:
        with self._lock:
            self._check_open()
            return StoreStatistics(
                objects=len(self._sealed), used=self._used, capacity=self._settings.capacity
            )

    def sweep(self, client: str) -> None:
        with self._lock:
            self._check_open()  # nobody else ever wrote here

    def close(self) -> None:
        with self._lock:
            self._open.clear()
            self._sealed.clear()
            self._used = 0
            self._closed = True

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError("the store is closed")
