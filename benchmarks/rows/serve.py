"""Serving: requests over HTTP and by handles. The load comes from `wrk` (Debian's package), in a process of its own."""

from __future__ import annotations

import importlib
import time
import urllib.request
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.serve_floors import free_port, load, paced

ROWS = Rows()
CALLS = 2000
# Requests a second for rows of latency, the same for both: at most half of what Ray Serve takes on two cores, where
# 275 and 488 were seen. At half of its own rate each would be measured with another load of the client beside it.
HALF_LOAD = 100


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


def _at_half_load(bench: Bench) -> dict[str, float]:
    """Return what requests take, in seconds, at `HALF_LOAD`."""
    serve = _serve(bench)

    @serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
    class Steady:
        async def __call__(self, request: Any) -> Any:
            return {"ok": True}

    serve.run(Steady.bind(), name="steady", route_prefix="/steady")
    url = f"http://127.0.0.1:{_serve.port}/steady"  # type: ignore[attr-defined]
    load(url)  # to warm up
    told = paced(url, HALF_LOAD)
    serve.delete("steady")
    return told


@ROWS.row("serve: p50 at half load", unit="ms", less_is_better=True, required=4, seconds=180)
def median(bench: Bench) -> Reading:
    """The median of the time to an answer, at half the load that the reference system takes."""
    return Reading(_at_half_load(bench)["p50"] * 1e3)


@ROWS.row("serve: p99 at half load", unit="ms", less_is_better=True, required=4, seconds=180)
def tail(bench: Bench) -> Reading:
    """What one request in a hundred takes longer than, at half the load that the reference system takes."""
    return Reading(_at_half_load(bench)["p99"] * 1e3)


@ROWS.row("serve: first answer from zero replicas", unit="s", less_is_better=True, required=5, seconds=180)
def woken(bench: Bench) -> Reading:
    """Seconds to the answer of a deployment that has scaled to zero."""
    serve = _serve(bench)

    @serve.deployment(
        ray_actor_options={"num_cpus": 0},
        autoscaling_config={
            "min_replicas": 0,
            "initial_replicas": 0,
            "max_replicas": 1,
            "upscale_delay_s": 0,
        },
    )
    class Asleep:
        async def __call__(self, request: Any) -> Any:
            return {"ok": True}

    serve.run(Asleep.bind(), name="asleep", route_prefix="/asleep")
    time.sleep(2)  # what deploying leaves to do
    began = time.perf_counter()
    with urllib.request.urlopen(
        f"http://127.0.0.1:{_serve.port}/asleep",  # type: ignore[attr-defined]
        timeout=120,
    ) as answer:
        answer.read()
    seconds = time.perf_counter() - began
    serve.delete("asleep")
    return Reading(seconds)


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


@ROWS.row(
    "serve: no-op JSON, direct ingress",
    required=None,
    only_ours=True,
    floor="bare uvicorn, no-op JSON",
    share=0.85,
    seconds=120,
)
def direct(bench: Bench) -> Reading:
    """Requests a second to one replica that accepts connections itself. The last row: services start anew for it."""
    serve = _serve(bench)
    serve.shutdown()
    del _serve.port  # type: ignore[attr-defined]
    port = free_port()
    serve.start(http_options={"port": port, "ingress": "direct"})

    @serve.deployment(max_ongoing_requests=100, ray_actor_options={"num_cpus": 0})
    class NoOp:
        async def __call__(self, request: Any) -> Any:
            return {"ok": True}

    serve.run(NoOp.bind(), name="noop", route_prefix="/noop")
    got = load(f"http://127.0.0.1:{port}/noop")
    serve.shutdown()
    return Reading(got)
