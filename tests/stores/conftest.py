"""A folder in shared memory for each test, and the check that a store leaves nothing open."""

from __future__ import annotations

import gc
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.testing.leaks import no_leaks


@pytest.fixture
def memory() -> Iterator[Path]:
    with no_leaks(shared_prefix="shoal-store-test-"):
        folder = Path(tempfile.mkdtemp(prefix="shoal-store-test-", dir="/dev/shm"))
        yield folder
        shutil.rmtree(folder)
        gc.collect()
