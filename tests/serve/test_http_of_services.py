"""What HTTP clients get: streams, websockets, uploads, bounds, faults."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking_services import base_url, until

import shoal
from shoal import serve
from shoal.serve.api import controller_or_none

fastapi = pytest.importorskip("fastapi")
from fastapi import FastAPI, UploadFile, WebSocket  # noqa: E402
from starlette.responses import StreamingResponse  # noqa: E402

pytest.importorskip("uvicorn")
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module", params=["proxy", "direct"])
def services(request: pytest.FixtureRequest) -> Iterator[str]:
    """Services with bounds that tests reach, by each way of HTTP to replicas."""
    with shoal.init(num_cpus=8, num_gpus=0):
        serve.start(
            http_options={
                "port": 0,
                "max_body_bytes": 100_000,
                "max_header_bytes": 4096,
                "header_timeout_s": 1.0,
                "request_timeout_s": 8.0,
                "ingress": request.param,
            }
        )
        yield request.param
        serve.shutdown()


def _ingress() -> Any:
    app = FastAPI()

    @serve.deployment(max_ongoing_requests=50)
    @serve.ingress(app)
    class Site:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        @app.get("/square/{number}")
        async def square(self, number: int) -> int:
            return number * number

        @app.get("/events")
        async def events(self) -> StreamingResponse:
            async def made() -> Any:
                for number in range(3):
                    yield f"data: {number}\n\n"
                    await asyncio.sleep(0.01)

            return StreamingResponse(made(), media_type="text/event-stream")

        @app.get("/breaks")
        async def breaks(self) -> StreamingResponse:
            async def made() -> Any:
                yield "the beginning"
                raise RuntimeError("half way")

            return StreamingResponse(made())

        @app.get("/forever")
        async def forever(self) -> StreamingResponse:
            async def made() -> Any:
                try:
                    while True:
                        yield "x" * 10_000
                        await asyncio.sleep(0.001)
                finally:
                    Path(self.folder, "ended").touch()

            return StreamingResponse(made())

        @app.post("/upload")
        async def upload(self, file: UploadFile) -> dict[str, Any]:
            content = await file.read()
            return {"name": file.filename, "size": len(content)}

        @app.websocket("/talk")
        async def talk(self, websocket: WebSocket) -> None:
            await websocket.accept()
            while (text := await websocket.receive_text()) != "bye":
                await websocket.send_text(text.upper())
            await websocket.close(code=4001)

    return Site


def test_a_fastapi_application_is_served_with_its_documentation(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(_ingress().bind(str(tmp_path)), route_prefix="/site")
    assert client.get("/site/square/12").json() == 144
    assert client.get("/site/square/x").status_code == 422
    assert "/square/{number}" in client.get("/site/openapi.json").json()["paths"]
    assert [
        each["in"]
        for each in client.get("/site/openapi.json").json()["paths"]["/square/{number}"]["get"]["parameters"]
    ] == ["path"]
    assert client.get("/site/docs").status_code == 200


def test_events_stream_and_files_go_up(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(_ingress().bind(str(tmp_path)))
    with client.stream("GET", "/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert [line for line in answer.iter_lines() if line] == ["data: 0", "data: 1", "data: 2"]
    sent = client.post("/upload", files={"file": ("a.bin", os.urandom(50_000))})
    assert sent.json() == {"name": "a.bin", "size": 50_000}


def test_a_stream_that_breaks_off_is_seen_by_the_client(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(_ingress().bind(str(tmp_path)))
    with client.stream("GET", "/breaks") as answer:
        assert answer.status_code == 200
        with pytest.raises(httpx.RemoteProtocolError):
            list(answer.iter_bytes())


def test_a_client_that_leaves_a_stream_ends_it_at_the_replica(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(_ingress().bind(str(tmp_path)))
    with client.stream("GET", "/forever") as answer:
        next(answer.iter_bytes())
    until((tmp_path / "ended").exists)


def test_websockets_carry_messages_both_ways_and_the_code_at_the_end(
    client: httpx.Client, tmp_path: Path
) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    serve.run(_ingress().bind(str(tmp_path)))
    with connect(base_url().replace("http", "ws") + "/talk") as talk:
        for word in ("one", "two"):
            talk.send(word)
            assert talk.recv(timeout=20) == word.upper()
        talk.send("bye")
        with pytest.raises(ConnectionClosed):
            talk.recv(timeout=20)
        assert talk.close_code == 4001


@serve.deployment(max_ongoing_requests=1, max_queued_requests=1)
class Slow:
    """Answers when told to, and writes down what becomes of a request."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    async def __call__(self, request: Any) -> Any:
        if request.url.path == "/error":
            raise ValueError("secret details")
        if request.url.path == "/pid":
            return os.getpid()
        if request.url.path == "/set":
            return {object()}
        if request.url.path == "/timeout":
            raise asyncio.TimeoutError("of some other service")
        (self.folder / "began").touch()
        try:
            while not (self.folder / "go").exists():
                await asyncio.sleep(0.01)
        except asyncio.CancelledError:
            (self.folder / "cancelled").touch()
            raise
        return "done"


def test_what_raises_is_a_500_that_tells_nothing(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    answer = client.get("/error")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert client.get("/set").status_code == 500
    assert client.get("/timeout").status_code == 500


def test_too_much_at_once_is_a_503_that_says_when_to_come_again(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(client.get, "/")
        until((tmp_path / "began").exists)
        others = [pool.submit(client.get, "/") for _ in range(3)]  # one waits, two are too many
        until(lambda: sum(each.done() for each in others) == 2)
        refused = [each.result() for each in others if each.done()]
        (tmp_path / "go").touch()
        assert first.result().text == "done"
        assert sorted(each.result().status_code for each in others) == [200, 503, 503]
    for answer in refused:
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) >= 1


def test_a_client_that_leaves_cancels_its_request(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    with pytest.raises(httpx.TimeoutException):
        client.get("/", timeout=0.5)
    until((tmp_path / "cancelled").exists)
    assert client.get("/pid").status_code == 200


def test_a_request_that_takes_too_long_is_408_and_is_cancelled(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    assert client.get("/").status_code == 408
    until((tmp_path / "cancelled").exists)


def test_bodies_and_heads_have_bounds(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    assert client.post("/pid", content=b"x" * 100_001).status_code == 413

    def pieces() -> Iterator[bytes]:
        for _ in range(200):
            yield b"x" * 1000

    assert client.post("/pid", content=pieces()).status_code == 413
    assert raw(b"GET / HTTP/1.1\r\nhost: x\r\nx: " + b"y" * 10_000).startswith(b"HTTP/1.1 431")
    assert client.post("/pid", content=b"x" * 100_000).status_code == 200


def raw(sent: bytes, seconds: float = 20.0) -> bytes:
    """Send bytes and return what comes until the connection is closed."""
    url = httpx.URL(base_url())
    with socket.create_connection((url.host, url.port), timeout=seconds) as sock:
        sock.sendall(sent)
        got = b""
        while piece := sock.recv(65536):
            got += piece
        return got


def test_who_sends_nonsense_or_nothing_is_let_go(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    assert raw(b"nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert raw(b"GET / HTTP/1.1\r\nhost:").startswith(b"HTTP/1.1 408")  # and then nothing more
    assert raw(b"").startswith(b"HTTP/1.1 408")


def test_a_body_that_stops_coming_is_408(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    begun = b"POST /pid HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc"
    assert raw(begun).startswith(b"HTTP/1.1 408")


def test_requests_that_come_in_one_piece_are_answered_in_order(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    one = b"GET /pid HTTP/1.1\r\nhost: x\r\nx-request-id: %d\r\n%s\r\n"
    told = raw(one % (1, b"") + one % (2, b"") + one % (3, b"connection: close\r\n"))
    assert [told.count(b"HTTP/1.1 200"), told.count(b"\r\nx-request-id: ")] == [3, 3]
    assert told.index(b"id: 1") < told.index(b"id: 2") < told.index(b"id: 3")


def test_request_ids_are_kept_or_made(client: httpx.Client, tmp_path: Path) -> None:
    serve.run(Slow.bind(str(tmp_path)))
    assert client.get("/pid", headers={"x-request-id": "mine"}).headers["x-request-id"] == "mine"
    assert len(client.get("/pid").headers["x-request-id"]) == 32


def test_a_replica_that_dies_is_replaced_and_what_can_be_repeated_is(
    client: httpx.Client, services: str, tmp_path: Path
) -> None:
    serve.run(Slow.options(health_check_period_s=1).bind(str(tmp_path)))
    pid = client.get("/pid").json()
    with ThreadPoolExecutor(2) as pool:
        asked = pool.submit(client.post, "/")
        until((tmp_path / "began").exists)
        os.kill(pid, signal.SIGKILL)
        if services == "direct":  # nobody stands between the client and the process that died
            with pytest.raises(httpx.TransportError):
                asked.result()
            until(lambda: client.get("/pid").json() not in (pid, None))
            return
        assert asked.result().status_code == 503  # a POST may have had effects
        until(lambda: client.get("/pid").json() not in (pid, None))
        (tmp_path / "began").unlink()
        repeated = pool.submit(client.get, "/")
        until((tmp_path / "began").exists)
        os.kill(client_pid(), signal.SIGKILL)
        (tmp_path / "go").touch()
        assert repeated.result().text == "done"


def client_pid() -> int:
    """Return the process of the only replica."""
    told = shoal.get(controller_or_none().details.remote())
    [replica] = told["applications"]["default"]["deployments"]["Slow"]["replicas"]
    return int(replica["pid"])


@serve.deployment(num_replicas=2, max_ongoing_requests=10)
class Versioned:
    def __init__(self, version: int) -> None:
        self.version = version

    async def __call__(self, request: Any) -> int:
        await asyncio.sleep(0.005)
        return self.version


def test_an_update_under_load_loses_no_request(client: httpx.Client) -> None:
    serve.run(Versioned.bind(1))
    ended = threading.Event()
    statuses: list[tuple[int, str]] = []

    def ask() -> None:
        with httpx.Client(base_url=base_url(), timeout=30) as mine:
            while not ended.is_set():
                answer = mine.post("/")
                statuses.append((answer.status_code, answer.text))

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        until(lambda: len(statuses) > 50)
        serve.run(Versioned.bind(2))
        count = len(statuses)
        until(lambda: len(statuses) > count + 50)
        ended.set()
        for each in asking:
            each.result()
    assert {status for status, _ in statuses} == {200}
    assert statuses[0][1] == "1"
    assert {text for _, text in statuses[count + 8 :]} == {"2"}


def test_a_proxy_that_is_killed_comes_back_at_its_port(client: httpx.Client) -> None:
    serve.run(Versioned.bind(1))
    port = httpx.URL(base_url()).port
    [proxy] = shoal.get(controller_or_none().details.remote())["proxies"].values()
    os.kill(proxy["pid"], signal.SIGKILL)

    def works() -> bool:
        try:
            url = base_url()
            return httpx.get(url, timeout=5).status_code == 200
        except (httpx.TransportError, AssertionError):
            return False

    until(works, 40)
    assert port


def test_a_controller_that_is_killed_comes_back_and_nobody_notices(client: httpx.Client) -> None:
    handle = serve.run(Versioned.bind(7))
    controller = controller_or_none()
    pid = shoal.get(controller.__shoal_call__.remote(lambda self: os.getpid()))
    before = json.dumps(sorted(each["pid"] for each in replicas()))
    os.kill(pid, signal.SIGKILL)
    assert client.get("/").text == "7"
    assert handle.remote(None).result(timeout_s=20) == 7
    until(lambda: serve.status().applications["default"].status == "RUNNING", 40)
    assert json.dumps(sorted(each["pid"] for each in replicas())) == before
    serve.run(Versioned.bind(8))
    until(lambda: client.get("/").text == "8")


def replicas() -> list[dict[str, Any]]:
    """Return what is known of the replicas."""
    told = shoal.get(controller_or_none().details.remote(), timeout=60)
    found: list[dict[str, Any]] = told["applications"]["default"]["deployments"]["Versioned"]["replicas"]
    return found


def test_a_new_configuration_reaches_replicas_that_run(client: httpx.Client) -> None:
    @serve.deployment(user_config={"word": "one"})
    class Configured:
        def reconfigure(self, config: dict[str, str]) -> None:
            if config["word"] == "bad":
                raise ValueError("no such word")
            self.word = config["word"]

        def __call__(self, request: Any) -> dict[str, Any]:
            return {"word": self.word, "pid": os.getpid()}

    serve.run(Configured.bind())
    first = client.get("/").json()
    assert first["word"] == "one"
    serve.run(Configured.options(user_config={"word": "two"}).bind())
    until(lambda: client.get("/").json() == {**first, "word": "two"})


def test_a_replica_that_says_it_is_ill_is_replaced(client: httpx.Client, tmp_path: Path) -> None:
    @serve.deployment(health_check_period_s=0.1, health_check_timeout_s=5)
    class Ill:
        def __init__(self, folder: str) -> None:
            self.folder = folder

        def check_health(self) -> None:
            if Path(self.folder, str(os.getpid())).exists():
                raise RuntimeError("out of sorts")

        def __call__(self, request: Any) -> int:
            return os.getpid()

    serve.run(Ill.bind(str(tmp_path)))
    pid = client.get("/").json()
    (tmp_path / str(pid)).touch()
    until(lambda: client.get("/").json() != pid)
