"""The smallest task and actors, as Ray's own microbenchmark has them. Made for one system at a time."""

from __future__ import annotations

import os
from typing import Any

MANY = max(1, (os.cpu_count() or 2) // 2)  # the "n" of 1:n and n:n


def small_task(api: Any) -> Any:
    """Return a remote function that does nothing."""

    @api.remote
    def small_value() -> bytes:
        return b"ok"

    return small_value


def actor_class(api: Any) -> Any:
    """Return an actor class of plain methods."""
    small_value = small_task(api)

    @api.remote(num_cpus=0)
    class Actor:
        def small_value(self) -> bytes:
            return b"ok"

        def small_value_arg(self, x: object) -> bytes:
            return b"ok"

        def small_value_batch(self, n: int) -> None:
            api.get([small_value.remote() for _ in range(n)])

    return Actor


def async_actor_class(api: Any) -> Any:
    """Return an actor class of coroutine methods."""

    @api.remote
    class AsyncActor:
        async def small_value(self) -> bytes:
            return b"ok"

        async def small_value_with_arg(self, x: object) -> bytes:
            return b"ok"

    return AsyncActor


def client_class(api: Any) -> Any:
    """Return a class of actors that call other actors."""

    @api.remote(num_cpus=0)
    class Client:
        def __init__(self, servers: Any) -> None:
            self.servers = servers if isinstance(servers, list) else [servers]

        def small_value_batch(self, n: int) -> None:
            api.get([server.small_value.remote() for server in self.servers for _ in range(n)])

        def small_value_batch_arg(self, n: int) -> None:
            x = api.put(0)
            api.get([server.small_value_arg.remote(x) for server in self.servers for _ in range(n)])

    return Client


def caller_task(api: Any) -> Any:
    """Return a remote function that calls actors in turn."""

    @api.remote
    def work(actors: list[Any], n: int) -> None:
        api.get([actors[i % len(actors)].small_value.remote() for i in range(n)])

    return work
