"""A real gRPC server and channel over loopback, each with the certificates that the test gives it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
import pytest

from shoal.native.security.certificates import Authority, Credentials, make_authority, make_credentials
from shoal.native.security.tls import CLUSTER_HOST, grpc_channel_credentials, grpc_server_credentials

SECONDS = 10
Node = Callable[..., Credentials]
Serve = Callable[[Credentials], str]


@pytest.fixture
def node(tmp_path: Path) -> Node:
    """Return a function that makes credentials, by the cluster's authority or by another's."""
    made: dict[str, Authority] = {}

    def make(*hosts: str, days: float = 1, by: str = "ours") -> Credentials:
        if by not in made:
            (tmp_path / by).mkdir()
            made[by] = make_authority(str(tmp_path / by), by)
        folder = tmp_path / f"node-{len(list(tmp_path.iterdir()))}"
        folder.mkdir()
        return make_credentials(made[by], str(folder), hosts, days)

    return make


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Return a function that starts a server which echoes; it gives the address."""
    servers: list[grpc.Server] = []

    def start(credentials: Credentials) -> str:
        server = grpc.server(futures.ThreadPoolExecutor(1))
        handler = grpc.unary_unary_rpc_method_handler(lambda request, context: request)
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("test.Echo", {"Say": handler}),)
        )
        port = server.add_secure_port("127.0.0.1:0", grpc_server_credentials(credentials))
        server.start()
        servers.append(server)
        return f"127.0.0.1:{port}"

    yield start
    for server in servers:
        server.stop(None).wait(SECONDS)


def say(address: str, made: Any, options: Any = ()) -> bytes:
    with grpc.secure_channel(address, made, options=options) as channel:
        answer: bytes = channel.unary_unary("/test.Echo/Say")(b"hello", timeout=SECONDS)
    return answer


def test_two_nodes_of_one_cluster_talk(node: Node, serve: Serve) -> None:
    assert say(serve(node()), *grpc_channel_credentials(node())) == b"hello"
    assert say(serve(node("one.example")), *grpc_channel_credentials(node(), "one.example")) == b"hello"


def refused(address: str, made: Any, options: Any = ()) -> str:
    with pytest.raises(grpc.RpcError) as raised:
        say(address, made, options)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
    return str(raised.value.details())


def test_an_expired_certificate_is_refused_on_either_side(node: Node, serve: Serve) -> None:
    assert "certificate" in refused(serve(node(days=-1)), *grpc_channel_credentials(node())).lower()
    refused(serve(node()), *grpc_channel_credentials(node(days=-1)))


def test_another_authority_is_refused_on_either_side(node: Node, serve: Serve) -> None:
    refused(serve(node(by="theirs")), *grpc_channel_credentials(node()))
    refused(serve(node()), *grpc_channel_credentials(node(by="theirs")))


def test_another_host_is_refused(node: Node, serve: Serve) -> None:
    refused(serve(node("one.example")), *grpc_channel_credentials(node(), "two.example"))


def test_a_client_without_a_certificate_is_refused(node: Node, serve: Serve) -> None:
    mine = node()
    bare = grpc.ssl_channel_credentials(Path(mine.ca_file).read_bytes())
    refused(serve(mine), bare, (("grpc.ssl_target_name_override", CLUSTER_HOST),))


def test_a_client_without_tls_is_refused(node: Node, serve: Serve) -> None:
    with grpc.insecure_channel(serve(node())) as channel, pytest.raises(grpc.RpcError) as raised:
        channel.unary_unary("/test.Echo/Say")(b"hello", timeout=SECONDS)
    assert raised.value.code() is grpc.StatusCode.UNAVAILABLE
