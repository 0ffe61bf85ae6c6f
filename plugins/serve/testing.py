"""The contracts of routers and of ingresses, for whoever writes one.

class TestMine(RouterContract):
    @pytest.fixture
    def router(self):
        return MyRouter()


class TestMyIngress(IngressContract):
    ingress = "mine"  # its name as a plugin
"""

from __future__ import annotations

import concurrent.futures
import http.client
import pickle
import random
import threading
import time
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import urlsplit

import cloudpickle
import pytest

import shoal
from shoal import serve
from shoal.serve.ingresses.base import Ingress
from shoal.serve.ingresses.loading import make_ingress
from shoal.serve.routers.base import Asked, Candidate, Router


def candidates(count: int, most: int = 4) -> list[Candidate]:
    """Return idle replicas, half of them on the caller's node.

    Example: `router.choose(candidates(3), Asked("__call__"))`
    """
    return [
        Candidate(
            replica_id=f"r{number}", node_id=f"n{number % 2}", max_ongoing=most, is_local=number % 2 == 0
        )
        for number in range(count)
    ]


class RouterContract:
    """What every router must do."""

    @pytest.fixture
    def router(self) -> Router:
        """Return a new router."""
        raise NotImplementedError("return a new router")

    def test_its_class_can_be_sent(self, router: Router) -> None:
        assert pickle.loads(cloudpickle.dumps(type(router))).__name__ == type(router).__name__
        assert router.name

    def test_it_chooses_one_that_has_room(self, router: Router) -> None:
        rng = random.Random(7)
        there = candidates(5)
        router.update(there)
        for number in range(2000):
            chosen = router.choose(there, Asked("__call__", (f"prompt {number % 50}",)))
            if chosen is None:
                assert not any(each.has_room for each in there), "somebody had room"
            else:
                assert chosen in there
                assert chosen.has_room
                chosen.ongoing += 1
            busy = [each for each in there if each.ongoing]
            if busy and (chosen is None or rng.random() < 0.5):
                rng.choice(busy).ongoing -= 1

    def test_with_no_room_anywhere_it_says_so(self, router: Router) -> None:
        there = candidates(3, most=1)
        router.update(there)
        for each in there:
            each.ongoing = 1
        assert router.choose(there, Asked("__call__", ("text",))) is None

    def test_one_replica_is_enough_and_others_may_come_and_go(self, router: Router) -> None:
        for count in (1, 4, 2, 1):
            there = candidates(count)
            router.update(there)
            assert router.choose(there, Asked("__call__", ("text",))) in there

    def test_all_replicas_get_work_when_there_is_much(self, router: Router) -> None:
        there = candidates(4, most=10)
        router.update(there)
        for number in range(40):
            chosen = router.choose(there, Asked("__call__", (f"{number} is another prompt",)))
            assert chosen is not None
            chosen.ongoing += 1
        assert all(each.ongoing == 10 for each in there)

    def test_arguments_of_any_kind_are_looked_at_with_care(self, router: Router) -> None:
        there = candidates(2)
        router.update(there)
        for args in ((), (None,), (object(),), (b"\xff\xfe",), ({"prompt": 3},), ({"messages": []},)):
            assert router.choose(there, Asked("__call__", args, {})) in there


class _Client:
    """One HTTP/1.1 connection, made again when the server has closed it in order."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, "the address of a node's server has a host"
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def __enter__(self) -> _Client:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._connection.close()

    def ask(self, path: str, body: bytes | None = None) -> tuple[int, bytes, dict[str, str]]:
        """Return status, body and fields of an answer. Raises OSError and HTTPException if the connection breaks."""
        self._connection.request("GET" if body is None else "POST", path, body)
        answer = self._connection.getresponse()
        content = answer.read()
        return answer.status, content, {name.lower(): value for name, value in answer.getheaders()}


class IngressContract:
    """What every ingress must do. Each test has a session of its own."""

    ingress: ClassVar[str] = ""

    @pytest.fixture
    def url(self) -> Iterator[str]:
        """The address of a node's server."""
        with shoal.init(num_cpus=4, num_gpus=0):
            options = {"port": 0, "ingress": self.ingress, "max_body_bytes": 10_000, "request_timeout_s": 20}
            serve.start(http_options=options)
            [proxy] = serve.proxies()
            assert not proxy.message
            yield proxy.url
            serve.shutdown()

    @staticmethod
    def site(version: int) -> Any:
        """Return an application that answers with its version, or with what it got."""

        class Site:
            def __init__(self, version: int) -> None:
                self.version = version

            async def __call__(self, request: Any) -> bytes:
                return await request.body() or str(self.version).encode()

        deployed: Any = serve.deployment(name="Site", num_replicas=2, max_ongoing_requests=20)(Site)
        return deployed.bind(version)

    def test_it_is_a_plugin_of_this_name(self) -> None:
        found = make_ingress(self.ingress)
        assert isinstance(found, Ingress)
        assert found.name == self.ingress

    def test_requests_reach_the_application_of_their_route(self, url: str) -> None:
        serve.run(self.site(1), name="one", route_prefix="/one")
        serve.run(self.site(2), name="two", route_prefix="/two")
        for _ in range(5):
            with _Client(url) as client:
                assert client.ask("/one")[:2] == (200, b"1")
                assert client.ask("/two/more")[:2] == (200, b"2")
                status, text, fields = client.ask("/two", b"sent")
                assert (status, text) == (200, b"sent")
                assert fields["x-request-id"]
                assert client.ask("/three")[0] == 404
                assert client.ask("/-/healthz")[0] == 200
                assert client.ask("/one", b"x" * 10_001)[0] == 413

    def test_updates_lose_no_request(self, url: str) -> None:
        ended = threading.Event()
        seen: list[tuple[int, bytes]] = []

        def ask() -> None:
            with _Client(url) as client:
                while not ended.is_set():
                    seen.append(client.ask("/")[:2])

        def until_more(count: int) -> None:
            bound = time.monotonic() + 60
            while len(seen) < count and time.monotonic() < bound and not any(each.done() for each in asking):
                time.sleep(0.01)

        serve.run(self.site(1))
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            asking = [pool.submit(ask) for _ in range(4)]
            try:
                for version in (2, 3):
                    until_more(len(seen) + 50)
                    serve.run(self.site(version))
                until_more(len(seen) + 50)
            finally:
                ended.set()
            for each in asking:
                each.result()
        assert {status for status, _ in seen} == {200}
        assert {text for _, text in seen} == {b"1", b"2", b"3"}
        assert seen[-1][1] == b"3"

    def test_a_shutdown_closes_the_port(self, url: str) -> None:
        serve.run(self.site(1))
        with _Client(url) as client:
            assert client.ask("/")[0] == 200
        serve.shutdown()
        with _Client(url) as client, pytest.raises(ConnectionRefusedError):
            client.ask("/")
