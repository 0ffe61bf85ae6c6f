"""States of durable actors on real servers, small ones and such of many pieces."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from real_servers import Etcd, Redis

import shoal

pytestmark = pytest.mark.processes
SECONDS = 60


@shoal.remote(durable=True, exactly_once=True)
class Book:
    def __init__(self) -> None:
        self.text = ""

    def write(self, letter: str, count: int) -> tuple[int, int]:
        self.text = letter * count
        return len(self.text), os.getpid()

    def read(self) -> tuple[str, int]:
        assert set(self.text) == {self.text[0]}
        return self.text[0], len(self.text)


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_states_come_back_from_a_server(kind: str, redis_server: Redis, etcd_server: Etcd) -> None:
    server = redis_server if kind == "redis" else etcd_server
    where: dict[str, Any] = {"metadata": kind, "metadata_location": server.url(f"durable-{os.getpid()}")}
    with shoal.init(engine="native", num_cpus=1, num_gpus=0, **where):
        book = Book.remote()
        for letter, count in (("a", 10), ("b", 5 << 20), ("c", 2 << 20), ("d", 20)):
            length, pid = shoal.get(book.write.remote(letter, count), timeout=SECONDS)
            assert length == count
            os.kill(pid, signal.SIGKILL)
            assert shoal.get(book.read.remote(), timeout=SECONDS) == (letter, count)
