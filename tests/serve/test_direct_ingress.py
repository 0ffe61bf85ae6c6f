"""The ingress `direct`: who accepts, and what becomes of connections as replicas and proxies come and go."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from asking_services import base_url, until

import shoal
from shoal import serve
from shoal.errors import PluginNotFound
from shoal.serve.api import controller_or_none
from shoal.serve.config import AutoscalingConfig

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def services() -> Iterator[None]:
    """A session whose replicas accept at the port themselves."""
    with shoal.init(num_cpus=8, num_gpus=0):
        serve.start(http_options={"port": 0, "ingress": "direct"})
        yield
        serve.shutdown()


@serve.deployment(num_replicas=2)
class Who:
    """Says which process answers, and of which version it is."""

    def __init__(self, version: int = 1) -> None:
        self.version = version

    async def __call__(self, request: Any) -> dict[str, int]:
        await asyncio.sleep(0.002)
        return {"pid": os.getpid(), "version": self.version}


def pids(deployment: str = "Who", app: str = "default") -> set[int]:
    """Return the processes of a deployment's replicas."""
    told = shoal.get(controller_or_none().details.remote(), timeout=60)
    return {each["pid"] for each in told["applications"][app]["deployments"][deployment]["replicas"]}


def proxy_pid() -> int:
    """Return the process of the node's proxy."""
    [proxy] = shoal.get(controller_or_none().details.remote(), timeout=60)["proxies"].values()
    return int(proxy["pid"])


def accepted_by() -> set[int]:
    """Return the processes that hold connections which clients have made to the port, as the kernel sees them."""
    port = httpx.URL(base_url()).port
    inodes = set()
    with open("/proc/net/tcp") as table:
        for line in list(table)[1:]:
            words = line.split()
            if int(words[1].rpartition(":")[2], 16) == port and words[3] == "01":
                inodes.add(f"socket:[{words[9]}]")
    found = set()
    for pid in {*pids(), proxy_pid()}:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{name}") in inodes:
                    found.add(pid)
            except FileNotFoundError:
                continue
    return found


def test_connections_end_at_replicas_and_all_get_some(client: httpx.Client) -> None:
    serve.run(Who.bind())
    there = pids()
    seen = set()
    clients = [httpx.Client(base_url=base_url(), timeout=30) for _ in range(12)]
    try:
        with ThreadPoolExecutor(12) as pool:
            for _ in range(20):
                seen |= {each.json()["pid"] for each in pool.map(lambda one: one.get("/"), clients)}
                if seen == there:
                    break
                for each in clients:
                    each.close()
                clients = [httpx.Client(base_url=base_url(), timeout=30) for _ in range(12)]
            assert seen == there
            list(pool.map(lambda one: one.get("/"), clients))
            assert accepted_by() <= there
    finally:
        for each in clients:
            each.close()


def test_the_proxy_answers_while_there_is_no_replica_and_steps_aside(client: httpx.Client) -> None:
    assert client.get("/nothing").status_code == 404  # by the proxy
    serve.run(Who.bind())
    first = client.get("/")  # by the connection to the proxy, which asks the client to come again
    assert first.headers["connection"] == "close"
    assert "connection" not in client.get("/").headers
    assert accepted_by() <= pids()


def test_several_applications_share_the_port(client: httpx.Client) -> None:
    serve.run(Who.options(num_replicas=1).bind(1), name="one", route_prefix="/one")
    serve.run(Who.options(num_replicas=1).bind(2), name="two", route_prefix="/two")
    [first], [second] = pids(app="one"), pids(app="two")
    for _ in range(6):  # whichever replica has the connection
        with httpx.Client(base_url=base_url(), timeout=30) as mine:
            assert mine.get("/one").json() == {"pid": first, "version": 1}
            assert mine.get("/two").json() == {"pid": second, "version": 2}
            assert mine.get("/three").status_code == 404
            assert mine.get("/-/healthz").text == "success"


def test_an_update_under_load_loses_no_connection(client: httpx.Client) -> None:
    serve.run(Who.bind(1))
    ended = threading.Event()
    seen: list[tuple[int, int]] = []

    def keep_asking() -> None:
        with httpx.Client(base_url=base_url(), timeout=30) as mine:
            while not ended.is_set():
                answer = mine.post("/")
                seen.append((answer.status_code, answer.json()["version"]))

    def connect_anew() -> None:
        while not ended.is_set():
            answer = httpx.post(base_url(), timeout=30)
            seen.append((answer.status_code, answer.json()["version"]))

    with ThreadPoolExecutor(5) as pool:
        asking = [pool.submit(each) for each in (keep_asking, keep_asking, keep_asking, connect_anew)]
        for version in (2, 3):
            count = len(seen)
            until(lambda count=count: len(seen) > count + 50)  # type: ignore[misc]
            serve.run(Who.bind(version))
        count = len(seen)
        until(lambda: len(seen) > count + 50)
        ended.set()
        for each in asking:
            each.result()
    assert {status for status, _ in seen} == {200}
    assert {version for _, version in seen} == {1, 2, 3}
    assert {version for _, version in seen[count + 8 :]} == {3}


def test_a_proxy_that_is_killed_is_not_missed_and_gets_its_socket_back(client: httpx.Client) -> None:
    serve.run(Who.bind(1))
    before, url = proxy_pid(), base_url()
    os.kill(before, signal.SIGKILL)
    for _ in range(20):
        assert httpx.get(url, timeout=20).status_code == 200
    until(lambda: proxy_pid() not in (before, 0) and base_url() == url, 40)
    serve.delete("default")  # the proxy takes over what nobody else takes
    assert httpx.get(url, timeout=20).status_code == 404


def test_a_replica_that_is_killed_leaves_the_port_to_others(client: httpx.Client) -> None:
    serve.run(Who.options(num_replicas=1, health_check_period_s=0.2).bind())
    [before] = pids()
    os.kill(before, signal.SIGKILL)
    # By the proxy, which waits for the next replica, and asks it.
    assert client.get("/").json()["pid"] != before
    until(lambda: "connection" not in client.get("/").headers)
    assert accepted_by() <= pids()


def test_a_deployment_that_sleeps_is_woken(client: httpx.Client) -> None:
    config = AutoscalingConfig(min_replicas=0, initial_replicas=0, max_replicas=2, upscale_delay_s=0)
    serve.run(Who.options(num_replicas=None, autoscaling_config=config).bind())
    assert client.get("/").json()["version"] == 1


def test_more_than_may_wait_is_a_503(client: httpx.Client) -> None:
    @serve.deployment(max_ongoing_requests=1, max_queued_requests=1)
    class Gate:
        def __init__(self) -> None:
            self.opened = asyncio.Event()

        async def __call__(self, request: Any) -> str:
            await self.opened.wait()
            return "through"

    serve.run(Gate.bind())
    told = shoal.get(controller_or_none().details.remote(), timeout=60)
    [replica] = told["applications"]["default"]["deployments"]["Gate"]["replicas"]
    actor = shoal.get_actor(replica["replica_id"], "serve")
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(httpx.get, base_url(), timeout=30) for _ in range(4)]
        until(lambda: sum(each.done() for each in asked) == 2)  # one runs, one waits
        for each in asked:
            if each.done():
                assert each.result().status_code == 503
                assert int(each.result().headers["retry-after"]) >= 1
        shoal.get(actor.__shoal_call__.remote(lambda self: self._user.opened.set()))
        assert sorted(each.result().status_code for each in asked) == [200, 200, 503, 503]


def test_an_actor_that_dies_under_a_request_is_no_dead_replica(client: httpx.Client) -> None:
    @shoal.remote(num_cpus=0)
    class Frail:
        async def work(self) -> None:
            os._exit(1)

    @serve.deployment
    class Front:
        async def __call__(self, request: Any) -> Any:
            await Frail.remote().work.remote()

    serve.run(Front.bind())
    before = pids("Front")
    answer = client.get("/")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error\n")
    assert pids("Front") == before


def test_an_ingress_that_there_is_not_is_named_with_those_that_there_are() -> None:
    with pytest.raises(PluginNotFound, match="direct"):
        serve.start(http_options={"port": 0, "ingress": "indirect"})
