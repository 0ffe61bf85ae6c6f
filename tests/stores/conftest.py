"""A folder in shared memory for each test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture
def memory() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="shoal-test-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)
