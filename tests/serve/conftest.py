"""A session with services, on a port of its own, and an HTTP client."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from asking_services import base_url

import shoal
from shoal import serve


@pytest.fixture(scope="module")
def services() -> Iterator[None]:
    """A session of eight CPUs with services at a free port."""
    with shoal.init(num_cpus=8, num_gpus=0):
        serve.start(http_options={"port": 0})
        yield
        serve.shutdown()


@pytest.fixture
def client(services: None) -> Iterator[httpx.Client]:
    """A client of the proxy; applications are deleted afterwards."""
    with httpx.Client(base_url=base_url(), timeout=30) as client:
        yield client
    for name in serve.status().applications:
        serve.delete(name)
