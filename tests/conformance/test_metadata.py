"""The contract of Metadata over each of our own stores."""

from __future__ import annotations

import pytest

from shoal.interfaces.metadata import Metadata
from shoal.metadata.memory import MemoryMetadata
from shoal.metadata.sqlite import SqliteMetadata
from shoal.testing.metadata import MetadataContract


class TestMemory(MetadataContract):
    @pytest.fixture
    def metadata_class(self) -> type[Metadata]:
        return MemoryMetadata


class TestSqlite(MetadataContract):
    @pytest.fixture
    def metadata_class(self) -> type[Metadata]:
        return SqliteMetadata
