"""Connections under TLS on a real reactor and real sockets: messages of all sizes, and callers who are not members."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from shoal.native.security.certificates import Authority, Credentials, make_authority, make_credentials
from shoal.native.transport.admission import Admission
from shoal.native.transport.connection import Connection
from shoal.native.transport.links import Links
from shoal.native.transport.reactor import Reactor
from shoal.native.wire import preamble
from shoal.native.wire.handshake import ClientHandshake, ServerHandshake

TOKEN = b"t" * 32
SECONDS = 20
NAMING = preamble.naming(b"server-1")


def links_of(folder: Path, days: float = 1) -> Links:
    folder.mkdir()
    (folder / "node").mkdir()
    authority: Authority = make_authority(str(folder), "test")
    made: Credentials = make_credentials(authority, str(folder / "node"), days=days)
    return Links(made, "node.shoal.internal")


@attrs.define(eq=False)
class End:
    """One process: its reactor, the connection that is looked at, and what that has delivered."""

    reactor: Reactor = attrs.field(factory=Reactor)
    got: list[Any] = attrs.field(factory=list)
    opened: list[Connection] = attrs.field(factory=list)
    closed: list[Connection] = attrs.field(factory=list)
    served: list[Connection] = attrs.field(factory=list)

    def on_message(self, connection: Connection, message: Any) -> None:
        self.got.append(message)

    def on_close(self, connection: Connection) -> None:
        self.reactor.unwatch(connection.data)
        self.closed.append(connection)

    def serve(self, connection: Connection) -> Connection:
        connection.data = connection.fileno()
        self.reactor.add_connection(connection)
        self.served.append(connection)
        return connection


class Pair:
    """A listener, the server's end and the client's."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(SECONDS)
        self.address = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.server, self.client = End(), End()

    def accept(self, links: Links) -> Connection:
        """Let the caller in as a node's door does."""
        sock, _ = self.listener.accept()
        sock.settimeout(SECONDS)
        assert sock.recv(len(NAMING), socket.MSG_WAITALL) == NAMING
        end = self.server
        handshake = ServerHandshake(TOKEN, b"server-1")
        return end.serve(links.accepted(sock, handshake, end.on_message, end.on_close, end.opened.append))

    def call(self, links: Links, token: bytes = TOKEN) -> Connection:
        from shoal.native.transport.connection import connect_tcp

        end = self.client
        handshake = ClientHandshake(token, b"client-1")
        sock = connect_tcp(self.address)
        return end.serve(
            links.calling(
                sock, self.address, NAMING, handshake, end.on_message, end.on_close, end.opened.append
            )
        )

    def run_until(self, done: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not done():
            assert time.monotonic() < deadline, "it did not come"
            for end in (self.client, self.server):
                with end.reactor.lock:
                    end.reactor.flush()
                end.reactor.poll(0.001)

    def begin(self, links: Links) -> tuple[Connection, Connection]:
        calling = self.call(links)
        with self.client.reactor.lock:
            self.client.reactor.flush()
        self.client.reactor.poll(0.1)
        accepted = self.accept(links)
        return calling, accepted

    def close(self) -> None:
        self.listener.close()
        for end in (self.client, self.server):
            for connection in end.served:
                connection.close()
            end.reactor.close()


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.close()


@pytest.fixture(params=["plain", "tls"])
def links(request: pytest.FixtureRequest, tmp_path: Path) -> Links:
    return Links(None) if request.param == "plain" else links_of(tmp_path / "cluster")


def test_messages_of_all_sizes_arrive_in_order_both_ways(pair: Pair, links: Links) -> None:
    calling, accepted = pair.begin(links)
    there = [
        [number, b"x" * size] for number, size in enumerate([0, 1, 16_380, 16_384, 16_385, 300_000, 5 << 20])
    ]
    for message in there:  # before any handshake is over: the last ones do not fit into the socket
        calling.send(message)
        accepted.send(message)
    pair.run_until(lambda: len(pair.server.got) == len(there) and len(pair.client.got) == len(there))
    assert pair.server.got == there
    assert pair.client.got == there
    assert (calling.peer, accepted.peer) == (b"server-1", b"client-1")
    for number in range(2_000):
        pair.client.reactor.send(calling, [number])
    pair.run_until(lambda: len(pair.server.got) == len(there) + 2_000)
    assert pair.server.got[-1] == [1_999]
    calling.close()
    pair.run_until(lambda: bool(pair.server.closed))
    assert pair.server.closed == [accepted]


def test_under_tls_nothing_of_a_message_can_be_seen(tmp_path: Path) -> None:
    pair = Pair()
    try:
        links = links_of(tmp_path / "cluster")
        calling = pair.call(links)
        calling.send(["a secret word"])
        with pair.client.reactor.lock:
            pair.client.reactor.flush()
        pair.client.reactor.poll(0.1)
        sock, _ = pair.listener.accept()
        with sock:
            sock.settimeout(SECONDS)
            seen = sock.recv(1 << 16)
        assert seen.startswith(NAMING + b"\x16\x03")  # a TLS record of a handshake
        assert b"secret" not in seen
        assert TOKEN not in seen
        pair.run_until(lambda: bool(pair.client.closed))
    finally:
        pair.close()


def test_a_member_of_another_cluster_gets_nowhere(pair: Pair, tmp_path: Path) -> None:
    ours, theirs = links_of(tmp_path / "ours"), links_of(tmp_path / "theirs")
    calling = pair.call(theirs)
    with pair.client.reactor.lock:
        pair.client.reactor.flush()
    pair.client.reactor.poll(0.1)
    accepted = pair.accept(ours)
    pair.run_until(lambda: bool(pair.server.closed) and bool(pair.client.closed))
    assert not accepted.established
    assert not calling.established
    assert not pair.server.opened


def test_who_has_a_certificate_but_not_the_token_gets_nowhere(pair: Pair, tmp_path: Path) -> None:
    links = links_of(tmp_path / "cluster")
    pair.call(links, token=b"another token of 32 bytes length")
    with pair.client.reactor.lock:
        pair.client.reactor.flush()
    pair.client.reactor.poll(0.1)
    pair.accept(links)
    pair.run_until(lambda: bool(pair.server.closed))
    assert not pair.server.opened
    assert not pair.server.got


@pytest.mark.parametrize(
    "bytes_", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\x00" * 100, b"\xff" * 4096]
)
def test_garbage_in_place_of_tls_ends_the_connection(pair: Pair, tmp_path: Path, bytes_: bytes) -> None:
    links = links_of(tmp_path / "cluster")
    host, _, port = pair.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
        raw.sendall(NAMING)
        pair.accept(links)
        raw.sendall(bytes_)
        pair.run_until(lambda: bool(pair.server.closed))
    assert not pair.server.opened


def test_a_caller_without_a_certificate_is_refused(pair: Pair, tmp_path: Path) -> None:
    links = links_of(tmp_path / "cluster")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    host, _, port = pair.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
        raw.sendall(NAMING)
        pair.accept(links)
        raw.setblocking(False)
        with context.wrap_socket(raw, do_handshake_on_connect=False) as wrapped:

            def refused() -> bool:
                try:
                    wrapped.do_handshake()
                    wrapped.recv(1)
                except ssl.SSLWantReadError:
                    return False
                except OSError:
                    return True
                return False

            pair.run_until(refused)
            pair.run_until(lambda: bool(pair.server.closed))
    assert not pair.server.opened


def test_who_proves_nothing_is_shut_out_in_time_and_by_number(pair: Pair, links: Links) -> None:
    admission = Admission(pair.server.reactor, most=3, seconds=0.2)
    host, _, port = pair.address.rpartition(":")
    silent = [socket.create_connection((host, int(port)), timeout=SECONDS) for _ in range(5)]
    try:
        connections = []
        for raw in silent:
            raw.sendall(NAMING)
            connections.append(pair.accept(links))
            admission.add(connections[-1])
        assert [connection.closed for connection in connections] == [True, True, False, False, False]
        pair.run_until(lambda: len(pair.server.closed) == 5)
    finally:
        for raw in silent:
            raw.close()
