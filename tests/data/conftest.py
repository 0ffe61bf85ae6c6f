"""Sessions for the tests of datasets: in this process, which is fast, and on real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import shoal


@pytest.fixture(scope="module")
def inline() -> Iterator[None]:
    """A session in this process."""
    with shoal.init(engine="inline", num_cpus=2, num_gpus=0):
        yield


@pytest.fixture(scope="module")
def processes() -> Iterator[None]:
    """A session of two CPUs with real processes."""
    with shoal.init(engine="native", num_cpus=2, num_gpus=0):
        yield


@pytest.fixture(
    scope="module", params=["inline", pytest.param("native", marks=pytest.mark.processes)], ids=str
)
def session(request: pytest.FixtureRequest) -> Iterator[str]:
    """Both, one after the other; gives the engine's name."""
    with shoal.init(engine=request.param, num_cpus=2, num_gpus=0):
        yield request.param
