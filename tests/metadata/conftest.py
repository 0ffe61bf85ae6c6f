"""Real servers for the stores that are servers: one of each for a whole run, and more for tests that kill them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from real_servers import Etcd, RealServer, Redis


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Redis]:
    """A Redis that nobody may stop: tests keep apart by the prefix of their keys."""
    server = Redis(tmp_path_factory.mktemp("redis"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Etcd]:
    """An etcd that nobody may stop: tests keep apart by the prefix of their keys."""
    server = Etcd(tmp_path_factory.mktemp("etcd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[[RealServer], RealServer]]:
    """Return a function that starts a server; it is stopped at the end of the test."""
    servers: list[RealServer] = []

    def start(server: RealServer) -> RealServer:
        servers.append(server)
        server.start()
        return server

    yield start
    for server in servers:
        server.stop()
