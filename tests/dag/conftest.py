"""Sessions for the tests of graphs: on the engine in this process, and on real processes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import shoal


@pytest.fixture(
    scope="module", params=["inline", pytest.param("native", marks=pytest.mark.processes)], ids=str
)
def session(request: pytest.FixtureRequest) -> Iterator[str]:
    """A session of four CPUs; gives the engine's name."""
    with shoal.init(engine=request.param, num_cpus=4, num_gpus=0):
        yield request.param


@pytest.fixture(scope="module")
def processes() -> Iterator[None]:
    """A session of four CPUs with real processes."""
    with shoal.init(engine="native", num_cpus=4, num_gpus=0):
        yield
