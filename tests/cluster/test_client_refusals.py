"""A driver outside the cluster that cannot be let in, or whose cluster ends, is told why; strangers do no harm."""

from __future__ import annotations

import contextlib
import http.server
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_support import SECONDS, connect, credentials, free_port, gateways, wait_for
from forwarder import Forwarder
from hosts import SHOAL

import shoal
from shoal.cluster_utils import Cluster
from shoal.errors import AuthenticationFailed, ConfigError, SystemFailure
from shoal.native.remote.greet import greet
from shoal.native.security.bundle import make_bundle, read_bundle, write_bundle
from shoal.native.transport.links import Links
from shoal.native.wire import preamble
from shoal.native.wire.kinds import PROTOCOL
from shoal.spec.version import VERSION


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        yield cluster


@pytest.fixture(autouse=True)
def _no_session_is_left() -> Iterator[None]:
    yield
    shoal.shutdown()


@shoal.remote
def one() -> int:
    return 1


@pytest.mark.parametrize(
    "address", ["shoal://", "shoal://host", "shoal://:6389", "shoal://host:x", "shoal://h:0"]
)
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ConfigError, match="shoal://HOST:PORT"):
        shoal.init(address=address)


def test_a_client_brings_no_resources(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match=r"num_cpus.*brings no resources"):
        connect(cluster, num_cpus=2)
    with pytest.raises(ConfigError, match="credentials_file is for programs outside"):
        shoal.init(**cluster.init_arguments(), credentials_file=credentials(cluster))


def test_the_engine_for_clients_needs_such_an_address(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match='address="shoal://HOST:PORT", not None'):
        shoal.init(engine="client")
    with connect(cluster, engine="client"):
        assert shoal.get(one.remote(), timeout=SECONDS) == 1


def test_no_credentials(cluster: Cluster, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no credentials.*credentials_file.*SHOAL_CREDENTIALS_FILE"):
        shoal.init(address=f"shoal://{cluster.address}", temp_dir=str(tmp_path))


def test_credentials_of_a_node_on_this_machine_are_found(cluster: Cluster) -> None:
    arguments = cluster.init_arguments()
    with shoal.init(address=f"shoal://{cluster.address}", temp_dir=arguments["temp_dir"]) as context:
        assert f"shoal://{cluster.address}" == context["address"]
        assert shoal.get(one.remote(), timeout=SECONDS) == 1


def test_credentials_come_from_the_environment(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHOAL_CREDENTIALS_FILE", credentials(cluster))
    monkeypatch.setenv("SHOAL_ADDRESS", f"shoal://{cluster.address}")
    with shoal.init():
        assert shoal.get(one.remote(), timeout=SECONDS) == 1


def test_another_clusters_token(cluster: Cluster, tmp_path: Path) -> None:
    path = str(tmp_path / "other")
    write_bundle(path, make_bundle(with_authority=False))
    with pytest.raises(AuthenticationFailed, match="does not accept this client's token"):
        shoal.init(address=f"shoal://{cluster.address}", credentials_file=path)


def test_credentials_that_others_can_read(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "open"
    path.write_bytes(Path(credentials(cluster)).read_bytes())
    path.chmod(0o644)
    with pytest.raises(ConfigError, match="open"):
        shoal.init(address=f"shoal://{cluster.address}", credentials_file=str(path))


def test_another_version_names_both(cluster: Cluster) -> None:
    token = read_bundle(credentials(cluster)).token
    facts = {"protocol": PROTOCOL, "shoal": VERSION, "python": "3.2", "grace": 1.0}
    ours = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(ConfigError, match=rf"Python 3\.2, the cluster {ours}"):
        greet(cluster.address, token, Links(None), facts, 5)
    with pytest.raises(ConfigError, match=rf"Shoal 0\.0\.0, the cluster {VERSION}"):
        greet(cluster.address, token, Links(None), {**facts, "python": ours, "shoal": "0.0.0"}, 5)
    with pytest.raises(ConfigError, match="client_grace_seconds must be from"):
        greet(cluster.address, token, Links(None), {**facts, "python": ours, "grace": 1e9}, 5)
    assert not gateways(cluster)


def test_nobody_there_is_waited_for_and_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = str(tmp_path / "credentials")
    write_bundle(path, make_bundle(with_authority=False))
    port = free_port()
    with pytest.raises(SystemFailure, match=rf"nobody answers at 127.0.0.1:{port}.*refused.*0\.5 s"):
        shoal.init(address=f"shoal://127.0.0.1:{port}", credentials_file=path, head_wait_seconds=0.5)
    assert "waiting up to 0.5 s" in caplog.text


@pytest.mark.slow
def test_a_head_that_comes_later_is_found(tmp_path: Path) -> None:
    port = free_port()
    program = (
        "import sys, shoal\n"
        "shoal.init(address=sys.argv[1], credentials_file=sys.argv[2], head_wait_seconds=60)\n"
        "print(shoal.cluster_resources()['CPU'])\n"
    )
    credentials_file = tmp_path / "credentials"
    bundle = make_bundle(with_authority=False)
    write_bundle(str(credentials_file), bundle)
    with (
        tempfile.TemporaryDirectory() as folder,  # short: a socket's path has little room
        subprocess.Popen(
            [sys.executable, "-c", program, f"shoal://127.0.0.1:{port}", str(credentials_file)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as waiting,
    ):
        assert waiting.stderr is not None
        assert "waiting up to 60 s" in waiting.stderr.readline()
        start = [
            "start",
            "--head",
            "--port",
            str(port),
            "--num-cpus",
            "3",
            "--credentials",
            str(credentials_file),
        ]
        started = subprocess.run(
            [SHOAL, *start, "--temp-dir", folder], capture_output=True, text=True, timeout=SECONDS
        )
        assert started.returncode == 0, started.stderr
        try:
            said, wrong = waiting.communicate(timeout=SECONDS)
        finally:
            subprocess.run([SHOAL, "stop", "--temp-dir", folder], check=True, capture_output=True)
    assert said.strip() == "3.0", wrong


@pytest.mark.slow
def test_what_answers_at_a_wrong_port_is_named(cluster: Cluster) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with pytest.raises(ConfigError, match=r"not Shoal, but (an HTTP server|b'<!DOCTYPE)"):
                connect(cluster, f"127.0.0.1:{server.server_port}")
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.slow
def test_somebody_who_says_nothing_and_somebody_who_hangs_up(cluster: Cluster) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        pytest.raises(ConfigError, match=r"says nothing.*credentials_file"),
    ):
        connect(cluster, f"127.0.0.1:{silent.getsockname()[1]}")
    with (
        Forwarder("127.0.0.1:1") as nobody,
        pytest.raises(SystemFailure, match=r"closes the connection|reset by peer"),
    ):
        connect(cluster, nobody.address, head_wait_seconds=0.3)


def test_tls_that_the_client_cannot_speak(tmp_path: Path) -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "tls": "on"}) as cluster:
        other = str(tmp_path / "other")
        write_bundle(other, make_bundle(with_authority=True))
        with pytest.raises(AuthenticationFailed, match="authority"):
            shoal.init(address=f"shoal://{cluster.address}", credentials_file=other)
        with connect(cluster):
            assert shoal.get(one.remote(), timeout=SECONDS) == 1


def _read_to_the_end(stranger: socket.socket) -> None:
    """Wait until the other side closes, be it with a reset."""
    with contextlib.suppress(ConnectionError):
        while stranger.recv(4096):
            pass


def test_strangers_at_a_clients_gateway_are_shut_out(cluster: Cluster) -> None:
    with connect(cluster):
        from shoal.interfaces.current import current

        tunnel: Any = current.engine.client.tunnel  # type: ignore[union-attr]
        host, _, port = cluster.address.rpartition(":")
        strangers = [socket.create_connection((host, int(port))) for _ in range(100)]
        for stranger in strangers:
            stranger.sendall(preamble.naming(tunnel._gateway))
        for stranger in strangers[50:]:
            stranger.sendall(secrets.token_bytes(10_000))
        assert shoal.get(one.remote(), timeout=SECONDS) == 1
        for stranger in strangers[50:]:
            stranger.settimeout(SECONDS)
            _read_to_the_end(stranger)
        assert shoal.get(one.remote(), timeout=SECONDS) == 1
        assert tunnel.connections == 1, "the client's own connection was not touched"
        for stranger in strangers:
            stranger.close()


def test_garbage_instead_of_a_greeting(cluster: Cluster) -> None:
    wait_for(lambda: not gateways(cluster), "those of earlier clients have ended", SECONDS)
    host, _, port = cluster.address.rpartition(":")
    for said in (
        preamble.naming(preamble.CLIENT) + secrets.token_bytes(200),
        b"S" + secrets.token_bytes(300),
    ):
        with socket.create_connection((host, int(port)), timeout=SECONDS) as stranger:
            stranger.sendall(said)
            _read_to_the_end(stranger)
    assert not gateways(cluster)
    with connect(cluster):
        assert shoal.get(one.remote(), timeout=SECONDS) == 1


def test_the_end_of_the_node_is_told() -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        connect(cluster)
        assert shoal.get(one.remote(), timeout=SECONDS) == 1
        [gateway] = gateways(cluster)
        ref = one.options(num_cpus=2).remote()
        assert cluster.head_node is not None
        cluster.remove_node(cluster.head_node)
        began = time.monotonic()
        with pytest.raises(SystemFailure, match="the node has ended"):
            shoal.get(ref, timeout=SECONDS)
        assert time.monotonic() - began < 20
        wait_for(lambda: not os.path.exists(f"/proc/{gateway}"), "the gateway has ended", 10)


@pytest.mark.slow
def test_the_death_of_the_daemon_is_told() -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as cluster:
        connect(cluster)
        assert shoal.get(one.remote(), timeout=SECONDS) == 1
        assert cluster.head_node is not None
        [gateway] = gateways(cluster)
        ref = one.options(num_cpus=2).remote()
        cluster.remove_node(cluster.head_node, allow_graceful=False)
        with pytest.raises((SystemFailure, shoal.exceptions.NodeDied)):
            shoal.get(ref, timeout=SECONDS)
        wait_for(lambda: not os.path.exists(f"/proc/{gateway}"), "the gateway has ended", 10)
