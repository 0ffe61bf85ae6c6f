"""Both servers under TLS, with certificates asked of both sides."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from real_servers import Etcd, RealServer, Redis

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write
from shoal.metadata.etcd import EtcdMetadata
from shoal.metadata.redis import RedisMetadata
from shoal.native.security.certificates import Credentials, make_authority, make_credentials

Start = Callable[[RealServer], RealServer]
Make = Callable[[str], Credentials]
Store = type[EtcdMetadata] | type[RedisMetadata]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Return a function that makes credentials for a host, all by one authority."""
    authority = make_authority(str(tmp_path), "test")

    def credentials(host: str) -> Credentials:
        folder = tmp_path / f"of-{host}"
        folder.mkdir()
        return make_credentials(authority, str(folder), [host])

    return credentials


def secure_server(kind: str, folder: Path, credentials: Credentials) -> tuple[RealServer, Store]:
    folder.mkdir()
    cert, key, ca = credentials.cert_file, credentials.key_file, credentials.ca_file
    if kind == "redis":
        words = ["--tls-cert-file", cert, "--tls-key-file", key, "--tls-ca-cert-file", ca]
        return Redis(folder, *words, tls=True), RedisMetadata
    words = [f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={ca}", "--client-cert-auth"]
    return Etcd(folder, "one", *words, scheme="https"), EtcdMetadata


def opened(store: Store, location: str, mine: Credentials) -> Metadata:
    """Open a store as soon as its server is ready: etcd takes connections before it has a leader."""
    options = {"ca_file": mine.ca_file, "cert_file": mine.cert_file, "key_file": mine.key_file}
    deadline = time.monotonic() + 30
    while True:
        try:
            return store(location, options)
        except ConfigError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_certificates_are_asked_of_both_sides(kind: str, tmp_path: Path, make: Make, started: Start) -> None:
    server, store = secure_server(kind, tmp_path / "server", make("127.0.0.1"))
    started(server)
    assert isinstance(server, (Redis, Etcd))
    mine = make("client.example")
    metadata = opened(store, server.url(), mine)
    metadata.apply([Write("t", b"k", b"v")])
    assert metadata.get("t", b"k") == b"v"
    metadata.close()
    with pytest.raises(ConfigError):  # without a certificate of ours
        store(server.url(), {"ca_file": mine.ca_file})
    with pytest.raises(
        ConfigError, match=r"(?i)certificate verify failed"
    ):  # an authority that we do not trust
        store(server.url(), {"cert_file": mine.cert_file, "key_file": mine.key_file})
    with pytest.raises(ConfigError):  # without TLS
        store(server.url().replace("s://", "://"), {"timeout": 2})


@pytest.mark.parametrize("kind", ["redis", "etcd"])
def test_a_server_for_another_host_is_refused(kind: str, tmp_path: Path, make: Make, started: Start) -> None:
    server, store = secure_server(kind, tmp_path / "server", make("other.example"))
    started(server)
    assert isinstance(server, (Redis, Etcd))
    mine = make("client.example")
    options = {"ca_file": mine.ca_file, "cert_file": mine.cert_file, "key_file": mine.key_file}
    with pytest.raises(ConfigError, match=r"certificate verify failed|doesn't match"):
        store(server.url(), options)
