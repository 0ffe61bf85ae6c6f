"""Two ends of a real connection over loopback, each with the certificates that the test gives it."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import attrs
import pytest

from shoal.errors import AuthenticationFailed, ConfigError
from shoal.native.security.certificates import (
    CLUSTER_HOST,
    Authority,
    Credentials,
    make_authority,
    make_credentials,
)
from shoal.native.security.tls import accept_tls, client_context, connect_tls, explain, server_context

BOUND = 1.0
Node = Callable[..., Credentials]


@attrs.define
class Server:
    """Accepts one connection, speaks first as Shoal's servers do, and remembers how that went."""

    port: int
    outcome: list[object] = attrs.field(factory=list)
    seconds: float = 0.0


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    (tmp_path / "authority").mkdir()
    return make_authority(str(tmp_path / "authority"), "test")


@pytest.fixture
def node(authority: Authority, tmp_path: Path) -> Node:
    """Return a function that makes the credentials of a new node."""

    def make(*hosts: str, days: float = 1, by: Authority = authority) -> Credentials:
        folder = tmp_path / f"node-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return make_credentials(by, str(folder), hosts, days)

    return make


@pytest.fixture
def stranger(tmp_path: Path) -> Authority:
    (tmp_path / "stranger").mkdir()
    return make_authority(str(tmp_path / "stranger"), "another")


@pytest.fixture
def serve() -> Iterator[Callable[[ssl.SSLContext], Server]]:
    """Return a function that starts a server thread with these settings."""
    threads: list[threading.Thread] = []
    listeners: list[socket.socket] = []

    def start(context: ssl.SSLContext) -> Server:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(30)
        server = Server(listener.getsockname()[1])

        def work() -> None:
            connection, _ = listener.accept()
            began = time.monotonic()
            try:
                with accept_tls(connection, context, BOUND) as secured:
                    secured.settimeout(5)
                    secured.sendall(b"hello")
                    server.outcome.append("served")
            except (AuthenticationFailed, OSError) as error:
                server.outcome.append(error)
            server.seconds = time.monotonic() - began

        threads.append(threading.Thread(target=work))
        threads[-1].start()
        listeners.append(listener)
        return server

    yield start
    for thread in threads:
        thread.join(30)
    for listener in listeners:
        listener.close()


def wait_for(server: Server) -> object:
    deadline = time.monotonic() + 30
    while not server.outcome or not server.seconds:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return server.outcome[0]


def connect(server: Server) -> socket.socket:
    return socket.create_connection(("127.0.0.1", server.port), timeout=10)


def talk(server: Server, context: ssl.SSLContext, host: str = CLUSTER_HOST) -> bytes:
    with connect_tls(connect(server), context, host, BOUND) as secured:
        secured.settimeout(5)
        try:
            answer = secured.recv(100)
        except OSError as error:
            raise explain(error) from error
        return answer


def test_two_nodes_of_one_cluster_talk(node: Node, serve) -> None:
    server = serve(server_context(node("one.example", "127.0.0.1")))
    assert talk(server, client_context(node())) == b"hello"
    assert wait_for(server) == "served"
    for host in ("one.example", "127.0.0.1"):
        assert (
            talk(serve(server_context(node("one.example", "127.0.0.1"))), client_context(node()), host)
            == b"hello"
        )


def test_nothing_below_tls_1_3_is_spoken(node: Node, serve) -> None:
    server = serve(server_context(node()))
    context = client_context(node())
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    with pytest.raises(AuthenticationFailed):
        talk(server, context)
    assert isinstance(wait_for(server), AuthenticationFailed)


def test_a_server_whose_certificate_has_expired_is_refused(node: Node, serve) -> None:
    server = serve(server_context(node(days=-1)))
    with pytest.raises(
        AuthenticationFailed, match=r"refused: its certificate has expired: restart that node"
    ):
        talk(server, client_context(node()))
    assert isinstance(wait_for(server), AuthenticationFailed)


def test_a_client_whose_certificate_has_expired_is_refused(node: Node, serve) -> None:
    server = serve(server_context(node()))
    with pytest.raises(AuthenticationFailed, match=r"refuses our certificate \(certificate expired\)"):
        talk(server, client_context(node(days=-1)))
    assert "its certificate has expired" in str(wait_for(server))


def test_a_server_of_another_authority_is_refused(node: Node, stranger: Authority, serve) -> None:
    server = serve(server_context(node(by=stranger)))
    with pytest.raises(AuthenticationFailed, match="of another authority than this cluster's"):
        talk(server, client_context(node()))
    assert isinstance(wait_for(server), AuthenticationFailed)


def test_a_client_of_another_authority_is_refused(
    node: Node, stranger: Authority, authority: Authority, serve
) -> None:
    server = serve(server_context(node()))
    theirs = attrs.evolve(node(by=stranger), ca_file=authority.cert_file)
    with pytest.raises(AuthenticationFailed, match="refuses our certificate"):
        talk(server, client_context(theirs))
    assert "of another authority than this cluster's" in str(wait_for(server))


def test_a_client_without_a_certificate_is_refused(node: Node, authority: Authority, serve) -> None:
    server = serve(server_context(node()))
    context = ssl.create_default_context(cafile=authority.cert_file)
    with pytest.raises(AuthenticationFailed, match="certificate required"):
        talk(server, context)
    assert "showed no certificate" in str(wait_for(server))


def test_a_server_for_another_host_is_refused(node: Node, serve) -> None:
    server = serve(server_context(node("one.example")))
    with pytest.raises(AuthenticationFailed, match="its certificate is for another host"):
        talk(server, client_context(node()), "two.example")
    assert isinstance(wait_for(server), AuthenticationFailed)


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\n\r\n", b"SHOAL\0" + bytes(100), b"\0" * 5])
def test_a_client_that_speaks_no_tls_is_refused(node: Node, serve, data: bytes) -> None:
    server = serve(server_context(node()))
    with connect(server) as plain:
        plain.sendall(data)
        assert isinstance(wait_for(server), AuthenticationFailed)
        with suppress(ConnectionResetError):
            assert b"hello" not in plain.recv(100)
    assert "does not speak TLS" in str(server.outcome[0])


def test_a_client_that_says_nothing_is_dropped_in_time(node: Node, serve) -> None:
    server = serve(server_context(node()))
    with connect(server):
        assert "in time" in str(wait_for(server))
    assert BOUND <= server.seconds < BOUND + 5


def test_a_client_that_speaks_too_slowly_is_dropped_in_time(node: Node, serve) -> None:
    """Each byte comes soon after the one before it; it is the whole that is too slow."""
    server = serve(server_context(node()))
    hello = b"\x16\x03\x01\x02\x00\x01" + bytes(506)
    with connect(server) as slow:
        for number in range(len(hello)):
            if server.outcome:
                break
            with suppress(OSError):
                slow.sendall(hello[number : number + 1])
            time.sleep(0.05)
    assert "in time" in str(wait_for(server))
    assert server.seconds < BOUND + 5


def test_a_server_that_speaks_no_tls_is_refused(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        plain = socket.create_connection(listener.getsockname())
        other, _ = listener.accept()
        with other:
            other.sendall(b"SHOAL\0 hello there")
            with pytest.raises(AuthenticationFailed, match="does not speak TLS"):
                connect_tls(plain, client_context(node()), seconds=BOUND)


def test_files_that_cannot_be_used_are_named(node: Node, tmp_path: Path) -> None:
    good = node()
    for bad in (
        attrs.evolve(good, key_file=node().key_file),
        attrs.evolve(good, ca_file=str(tmp_path / "absent")),
    ):
        for make in (server_context, client_context):
            with pytest.raises(ConfigError, match="cannot be used"):
                make(bad)


def test_a_key_with_a_password_is_refused_and_nobody_is_asked(node: Node) -> None:
    from cryptography.hazmat.primitives import serialization

    good = node()
    key = serialization.load_pem_private_key(Path(good.key_file).read_bytes(), None)
    locked = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"secret"),
    )
    Path(good.key_file).write_bytes(locked)
    with pytest.raises(ConfigError, match="must not have a password"):
        server_context(good)
