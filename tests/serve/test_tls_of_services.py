"""TLS at the proxy, and handles that wait for nobody when nothing is served."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

import shoal
from shoal import serve
from shoal.errors import ConfigError
from shoal.serve.exceptions import DeploymentUnavailableError, ServeError

pytestmark = pytest.mark.processes


@serve.deployment
def word(request: Any) -> str:
    return request.url.scheme  # type: ignore[no-any-return]


def test_a_proxy_speaks_tls(tmp_path: Path) -> None:
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    words = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"]
    extension = ["-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        ["openssl", "req", *words, *extension, "-keyout", str(key), "-out", str(certificate)],
        check=True,
        capture_output=True,
    )
    with shoal.init(num_cpus=2, num_gpus=0):
        serve.start(http_options={"port": 0, "ssl_certfile": str(certificate), "ssl_keyfile": str(key)})
        serve.run(word.bind())
        [proxy] = serve.proxies()
        assert proxy.url.startswith("https://")
        trust = ssl.create_default_context(cafile=str(certificate))
        assert httpx.get(proxy.url, verify=trust, timeout=20).text == "https"
        with pytest.raises(httpx.TransportError):
            httpx.get(proxy.url.replace("https", "http"), timeout=20)
        serve.shutdown()
        with pytest.raises(ServeError, match="not running"):
            serve.get_app_handle()
        with pytest.raises(DeploymentUnavailableError, match="not running"):
            serve.get_deployment_handle("word", _check_exists=False).remote(1).result(timeout_s=30)


def test_a_port_that_is_taken_is_said_at_once() -> None:
    import socket

    with socket.socket() as sock, shoal.init(num_cpus=2, num_gpus=0):
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        with pytest.raises(ServeError, match=r"cannot listen .* 0 takes any that is free"):
            serve.start(http_options={"port": sock.getsockname()[1]})
        assert serve.status().proxies == {}
    with pytest.raises(ConfigError, match="go together"):
        serve.HTTPOptions(ssl_certfile="a.pem")
