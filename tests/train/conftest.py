"""One session for the tests of training, and folders for their runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import shoal
from shoal.train import RunConfig


@pytest.fixture(scope="module")
def session() -> Iterator[None]:
    """A session with eight CPUs, so that groups of four fit twice."""
    shoal.init(num_cpus=8, log_to_driver=False)
    yield
    shoal.shutdown()


@pytest.fixture
def run_config(tmp_path: Path) -> Callable[..., RunConfig]:
    """Make a RunConfig whose files go to the test's folder."""

    def make(**options: Any) -> RunConfig:
        return RunConfig(storage_path=str(tmp_path / "runs"), **{"verbose": 0, **options})

    return make
