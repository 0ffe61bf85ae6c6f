"""One session for the tests of tuning, and folders for their experiments."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.tune import RunConfig


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """A session with four CPUs."""
    shoal.init(num_cpus=4, log_to_driver=False)
    yield
    shoal.shutdown()


@pytest.fixture
def run_config(tmp_path: Path) -> Callable[..., RunConfig]:
    """Make a RunConfig whose files go to the test's folder."""

    def make(**options: Any) -> RunConfig:
        return RunConfig(storage_path=str(tmp_path / "runs"), **{"name": "search", "verbose": 0, **options})

    return make
