"""HTTP/2 at the proxy: over TLS as clients prefer, and without TLS for those that begin with it."""

from __future__ import annotations

import asyncio
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asking_services import until

import shoal
from shoal import serve
from shoal.errors import ConfigError

pytest.importorskip("hypercorn")
pytestmark = pytest.mark.processes


@pytest.fixture(scope="module")
def plain() -> Iterator[str]:
    """Services without TLS; gives their address."""
    with shoal.init(num_cpus=4, num_gpus=0):
        options = {
            "port": 0,
            "http2": True,
            "max_body_bytes": 100_000,
            "header_timeout_s": 1.0,
            "request_timeout_s": 10,
        }
        serve.start(http_options=options)
        yield serve.proxies()[0].url
        serve.shutdown()


@serve.deployment(max_ongoing_requests=100)
class Site:
    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self.together = 0
        self.most = 0

    async def __call__(self, request: Any) -> Any:
        match request.url.path:
            case "/version":
                return request.scope["http_version"]
            case "/echo":
                return await request.body()
            case "/pieces":
                return self.pieces()
            case "/together":
                self.together += 1
                self.most = max(self.most, self.together)
                await asyncio.sleep(0.2)
                self.together -= 1
                return self.most
        (self.folder / "began").touch()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            (self.folder / "cancelled").touch()
            raise

    async def pieces(self) -> Any:
        for number in range(100):
            yield f"{number}\n"


@pytest.fixture
def url(plain: str, tmp_path: Path) -> str:
    """The address of a site."""
    serve.run(Site.bind(str(tmp_path)))
    return plain


def both(**options: Any) -> Iterator[httpx.Client]:
    """Give a client that begins with HTTP/2, and one that knows HTTP/1.1 only."""
    for http2 in (True, False):
        with httpx.Client(http1=not http2, http2=http2, timeout=30, **options) as client:
            yield client


def test_requests_streams_and_bounds_are_as_over_http1(url: str) -> None:
    for client, version in zip(both(base_url=url), ("HTTP/2", "HTTP/1.1"), strict=True):
        answer = client.get("/version", headers={"x-request-id": "mine"})
        assert (answer.http_version, answer.text) == (version, version.removeprefix("HTTP/"))
        assert answer.headers["x-request-id"] == "mine"
        assert client.post("/echo", content=b"x" * 90_000).content == b"x" * 90_000
        assert client.get("/pieces").text.split() == [str(each) for each in range(100)]
        refused = client.post("/echo", content=b"x" * 100_001)
        assert refused.status_code == 413
        assert ("connection" in refused.headers) == (version == "HTTP/1.1")

        def pieces() -> Iterator[bytes]:
            for _ in range(200):
                yield b"x" * 1000

        assert client.post("/echo", content=pieces()).status_code == 413
        assert client.post("/-/nothing", content=b"x" * 90_000).status_code == 404
        assert client.get("/version").status_code == 200


def test_one_connection_carries_many_requests_at_once(url: str) -> None:
    async def ask() -> list[int]:
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(
            base_url=url, http1=False, http2=True, limits=limits, timeout=30
        ) as client:
            answers = await asyncio.gather(*(client.get("/together") for _ in range(20)))
        return [each.json() for each in answers]

    assert max(asyncio.run(ask())) > 10


def test_a_client_that_leaves_a_stream_cancels_its_request(url: str, tmp_path: Path) -> None:
    with httpx.Client(base_url=url, http1=False, http2=True, timeout=30) as client:
        assert client.get("/version").text == "2"
        with pytest.raises(httpx.TimeoutException):
            client.get("/", timeout=1)
        until((tmp_path / "cancelled").exists)
        assert client.get("/version").status_code == 200


def test_over_tls_the_client_chooses(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extension = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", *words, *extension, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    shoal.shutdown()
    with shoal.init(num_cpus=2, num_gpus=0):
        files = {"ssl_certfile": str(certificate), "ssl_keyfile": str(key)}
        serve.start(http_options={"port": 0, "http2": True, **files})
        serve.run(Site.bind(str(tmp_path)))
        url = serve.proxies()[0].url
        trust = ssl.create_default_context(cafile=str(certificate))
        for http2, version in ((True, "2"), (False, "1.1")):
            with httpx.Client(http2=http2, verify=trust, timeout=30) as client:
                assert client.get(f"{url}/version").text == version
        serve.shutdown()


def test_who_cannot_speak_it_says_so() -> None:
    with pytest.raises(ConfigError, match="direct"):
        serve.start(http_options={"port": 0, "ingress": "direct", "http2": True})
