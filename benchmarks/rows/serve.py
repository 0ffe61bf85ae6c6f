"""Serving: requests over HTTP and by handles. The load comes from `wrk` (Debian's package), in a process of its own."""

from __future__ import annotations

import importlib
import time
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.serve_floors import free_port, load

ROWS = Rows()
CALLS = 2000


def _serve(bench: Bench) -> Any:
    serve = importlib.import_module(f"{bench.api.__name__}.serve")
    if not hasattr(_serve, "port"):
        _serve.port = free_port()  # type: ignore[attr-defined]
        serve.start(http_options={"port": _serve.port})  # type: ignore[attr-defined]
    return serve


@ROWS.row(
    "serve: no-op JSON through the proxy",
    required=6,
    floor="bare uvicorn, no-op JSON",
    share=0.5,
    seconds=120,
)
def proxied(bench: Bench) -> Reading:
    """Requests a second through the proxy to one replica."""
    serve = _serve(bench)

    @serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
    class NoOp:
        async def __call__(self, request: Any) -> Any:
            return {"ok": True}

    serve.run(NoOp.bind(), name="noop", route_prefix="/noop")
    got = load(f"http://127.0.0.1:{_serve.port}/noop")  # type: ignore[attr-defined]
    serve.delete("noop")
    return Reading(got)


@ROWS.row("serve: calls of a handle, one after the other", required=10, seconds=120)
def calls(bench: Bench) -> Reading:
    """Calls a second of an async method, each result waited for."""
    serve = _serve(bench)

    @serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
    class Echo:
        async def echo(self, value: int) -> int:
            return value

    handle = serve.run(Echo.bind(), name="echo", route_prefix=None)
    handle.echo.remote(0).result()
    began = time.perf_counter()
    for number in range(CALLS):
        handle.echo.remote(number).result()
    seconds = time.perf_counter() - began
    serve.delete("echo")
    return Reading(CALLS / seconds)


@ROWS.row("serve: composition of 3, 100 at a time", required=6, seconds=120)
def composed(bench: Bench) -> Reading:
    """Calls a second of a deployment that awaits another one, which awaits a third."""
    serve = _serve(bench)

    @serve.deployment(max_ongoing_requests=200, ray_actor_options={"num_cpus": 0})
    class Last:
        async def __call__(self, value: int) -> int:
            return value + 1

    @serve.deployment(max_ongoing_requests=200, ray_actor_options={"num_cpus": 0})
    class Next:
        def __init__(self, after: Any) -> None:
            self.after = after

        async def __call__(self, value: int) -> int:
            got: int = await self.after.remote(value)
            return got + 1

    handle = serve.run(Next.bind(Next.bind(Last.bind())), name="three", route_prefix=None)
    handle.remote(0).result()
    began = time.perf_counter()
    for _ in range(CALLS // 100):
        for response in [handle.remote(number) for number in range(100)]:
            response.result()
    seconds = time.perf_counter() - began
    serve.delete("three")
    return Reading(CALLS / seconds)
