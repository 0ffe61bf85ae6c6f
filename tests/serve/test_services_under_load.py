"""Slow: ten thousand idle connections, updates under full load, and memory over a long time of it."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from collections.abc import Iterator
from typing import Any

import pytest
from asking_services import base_url, until
from hammering import Line, hammered

import shoal
from shoal import serve
from shoal.serve.api import controller_or_none

pytest.importorskip("uvicorn")
SOAK_SECONDS = float(os.environ.get("SOAK_SECONDS", "120"))
pytestmark = [pytest.mark.processes, pytest.mark.slow, pytest.mark.timeout(420 + SOAK_SECONDS)]
IDLE = 10_000


@pytest.fixture(params=["proxy", "direct"])
def services(request: pytest.FixtureRequest) -> Iterator[str]:
    """Services that keep idle connections for long, by each way of HTTP to replicas."""
    # Calls are kept for the timeline, up to this number: memory is to be flat from the beginning.
    with shoal.init(num_cpus=4, num_gpus=0, timeline_events_max=1000):
        serve.start(http_options={"port": 0, "ingress": request.param, "keep_alive_timeout_s": 600})
        yield request.param
        serve.shutdown()


@serve.deployment(max_ongoing_requests=100)
class Echo:
    def __init__(self, version: int) -> None:
        self.version = version

    async def __call__(self, request: Any) -> str:
        assert await request.body() == b"hi"
        return str(self.version)


async def _idle(url: str) -> None:
    lines = [Line(url) for _ in range(IDLE)]
    try:
        for at in range(0, IDLE, 50):
            answers = await asyncio.gather(*(line.ask() for line in lines[at : at + 50]))
            assert set(answers) == {(200, "1")}
        # All are there still: each is used once more, by the same connection.
        used = [line._streams for line in lines]
        assert None not in used
        for at in range(0, IDLE, 50):
            answers = await asyncio.gather(*(line.ask() for line in lines[at : at + 50]))
            assert set(answers) == {(200, "1")}
        assert [line._streams for line in lines] == used
    finally:
        for line in lines:
            line.close()


def test_ten_thousand_connections_may_be_idle(services: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < IDLE + 1000:
        pytest.skip(f"a process may have {hard} descriptors here, this takes {IDLE + 1000}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        if soft < IDLE + 1000:
            serve.shutdown()  # processes that serve are to have the new bound
            shoal.shutdown()
            shoal.init(num_cpus=4, num_gpus=0, timeline_events_max=1000)
            serve.start(http_options={"port": 0, "ingress": services, "keep_alive_timeout_s": 600})
        serve.run(Echo.bind(1))
        asyncio.run(_idle(base_url() + "/"))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_updates_under_full_load_fail_no_request(services: str) -> None:
    serve.run(Echo.options(num_replicas=2).bind(1))
    with hammered(base_url() + "/") as seen:
        for version in (2, 3, 4):
            count = seen.count
            until(lambda count=count: seen.count > count + 500, 60)  # type: ignore[misc]
            serve.run(Echo.options(num_replicas=2).bind(version))
        count = seen.bodies["4"]
        until(lambda: seen.bodies["4"] > count + 500, 60)
    assert not seen.failures
    assert set(seen.statuses) == {200}
    assert set(seen.bodies) == {"1", "2", "3", "4"}


def _resident() -> dict[str, int]:
    """Return the bytes that each process of the services has in memory."""
    told = shoal.get(controller_or_none().details.remote(), timeout=60)
    pids = {f"proxy {each['pid']}": each["pid"] for each in told["proxies"].values()}
    for each in told["applications"]["default"]["deployments"]["Echo"]["replicas"]:
        pids[f"replica {each['pid']}"] = each["pid"]
    controller = controller_or_none()
    pids["controller"] = shoal.get(controller.__shoal_call__.remote(lambda self: os.getpid()), timeout=60)
    found = {}
    for name, pid in pids.items():
        with open(f"/proc/{pid}/statm") as statm:
            found[name] = int(statm.read().split()[1]) * resource.getpagesize()
    return found


def test_memory_stays_flat(services: str) -> None:
    serve.run(Echo.options(num_replicas=2).bind(1))
    with hammered(base_url() + "/") as seen:
        time.sleep(max(10.0, SOAK_SECONDS / 4))  # caches and pools fill
        before, count = _resident(), seen.count
        time.sleep(SOAK_SECONDS)
        after = _resident()
        assert seen.count > count + 1000
    assert not seen.failures
    assert set(seen.statuses) == {200}
    assert before.keys() == after.keys()
    grown = {name: after[name] - before[name] for name in before if after[name] - before[name] > 8 << 20}
    assert not grown, f"of {count} to {seen.count} requests"
