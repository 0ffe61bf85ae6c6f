"""A folder in shared memory for each test, and the check that a store leaves nothing open."""

from __future__ import annotations

import gc
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from shoal.testing.leaks import no_leaks

PREFIX = f"shoal-store-test-{os.getpid()}-"  # tests of other processes make such folders meanwhile


@pytest.fixture
def memory() -> Iterator[Path]:
    with no_leaks(shared_prefix=PREFIX):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir="/dev/shm"))
        yield folder
        shutil.rmtree(folder)
        gc.collect()
