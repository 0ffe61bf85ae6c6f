"""The contract of ObjectStore over each of our own stores."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from shoal.interfaces.store import ObjectStore, StoreSettings
from shoal.stores.arrow import ArrowStore
from shoal.stores.heap import HeapStore
from shoal.stores.segment import HEADER, read_size
from shoal.stores.shm import ShmStore
from shoal.stores.spill import SpillStore
from shoal.testing.stores import ObjectStoreContract


class TestHeapStore(ObjectStoreContract):
    @pytest.fixture
    def store_class(self) -> type[ObjectStore]:
        return HeapStore


class OnSharedMemory(ObjectStoreContract):
    @pytest.fixture
    def base(self) -> Iterator[Path]:
        folder = Path(tempfile.mkdtemp(prefix="shoal-test-", dir="/dev/shm"))
        yield folder
        shutil.rmtree(folder)

    def read_raw(self, settings: StoreSettings, object_id: bytes) -> bytes | None:
        try:
            file = (Path(settings.folder) / object_id.hex()).open("rb")
        except FileNotFoundError:
            return None
        with file:
            size = read_size(file.fileno())
            return file.read()[HEADER : HEADER + size]


class TestShmStore(OnSharedMemory):
    @pytest.fixture
    def store_class(self) -> type[ObjectStore]:
        return ShmStore


class TestArrowStore(OnSharedMemory):
    @pytest.fixture
    def store_class(self) -> type[ObjectStore]:
        pytest.importorskip("pyarrow")
        return ArrowStore


class TestSpillStore(OnSharedMemory):
    @pytest.fixture
    def store_class(self) -> type[ObjectStore]:
        return SpillStore


class TestSpillStoreOverArrow(OnSharedMemory):
    options: ClassVar[dict[str, Any]] = {"inner": "arrow", "high_water": 0.5}

    @pytest.fixture
    def store_class(self) -> type[ObjectStore]:
        pytest.importorskip("pyarrow")
        return SpillStore


class TestSpillStoreThatSpillsEverything(OnSharedMemory):
    """At a mark of nearly nothing every new object sends the last one to disk."""

    options: ClassVar[dict[str, Any]] = {"high_water": 0.000001}

    @pytest.fixture
    def store_class(self) -> type[ObjectStore]:
        return SpillStore

    def read_raw(self, settings: StoreSettings, object_id: bytes) -> bytes | None:
        spilled = StoreSettings(folder=settings.spill_folder, capacity=0, client="")
        return super().read_raw(settings, object_id) or super().read_raw(spilled, object_id)
