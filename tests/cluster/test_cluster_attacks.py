"""A cluster of three nodes, in plaintext and under TLS, and strangers at its ports: nothing of theirs counts."""

from __future__ import annotations

import contextlib
import os
import pickle
import resource
import socket
import ssl
import subprocess
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import grpc
import msgspec
import numpy as np
import pytest
from conftest import make_three

import shoal
from shoal.errors import AuthenticationFailed
from shoal.native.daemon.remote_head import RemoteHead
from shoal.native.process.node import find_nodes
from shoal.native.security.bundle import Bundle, credentials_of, read_bundle
from shoal.native.security.certificates import CLUSTER_HOST, Credentials, make_authority, make_credentials
from shoal.native.security.tls import client_context, grpc_channel_credentials
from shoal.native.wire import preamble
from shoal.native.wire.handshake import ClientHandshake
from shoal.native.wire.nodes import daemon_of
from shoal.native.wire.protobuf import SERVICE

pytestmark = pytest.mark.processes
SECONDS = 40
SHOAL = str(Path(sysconfig.get_path("scripts")) / "shoal")


@shoal.remote
def total(array: Any) -> int:
    return int(array.sum())


@shoal.remote
def make(size: int) -> Any:
    return np.arange(size)


@shoal.remote(num_cpus=0)
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self, array: Any) -> int:
        self.count += int(array.sum())
        return self.count


def work() -> None:
    """Tasks, an actor and objects that are too large for messages, between nodes in both directions."""
    left, right = {"resources": {"left": 1}}, {"resources": {"right": 1}}
    made = [make.options(**left).remote(size) for size in (10, 100_000, 3_000_000)]
    sums = [total.options(**right).remote(ref) for ref in made]
    assert shoal.get(sums, timeout=SECONDS) == [sum(range(10)), 4_999_950_000, 4_499_998_500_000]
    counter = Counter.options(**right).remote()
    assert shoal.get(counter.add.remote(made[1]), timeout=SECONDS) == 4_999_950_000
    assert shoal.get(made[2], timeout=SECONDS).shape == (3_000_000,)


@attrs.frozen
class Target:
    """The cluster, and what somebody on the network may know or have stolen of it."""

    three: Any
    tls: bool
    bundle: Bundle
    certificate: Credentials | None  # of the cluster's authority
    number: int  # of the node that is attacked

    def knock(self, wanted: bytes | None = None, certificate: Credentials | None = None) -> socket.socket:
        """Connect to a door as far as the handshake: under TLS with a certificate, if need be a given one."""
        host, _, port = self.three.left.address.rpartition(":")
        raw = socket.create_connection((host, int(port)), timeout=SECONDS)
        try:
            raw.sendall(preamble.naming(wanted or daemon_of(self.number)))
            certificate = certificate or self.certificate
            if certificate is None:
                return raw
            return client_context(certificate).wrap_socket(raw, server_hostname=CLUSTER_HOST)
        except BaseException:
            raw.close()
            raise

    def shake(self, sock: socket.socket, token: bytes) -> None:
        """Shake hands as a member does. Raises AuthenticationFailed, or OSError if the other side hangs up."""
        client = ClientHandshake(token, daemon_of(77))
        sock.sendall(client.feed(receive(sock, 40)))
        client.feed(receive(sock, 40))


def receive(sock: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        part = sock.recv(count - len(data))
        if not part:
            raise ConnectionResetError("it hung up")
        data += part
    return data


def is_shut(sock: socket.socket) -> bool:
    """Whether the other side ends the connection; what it had said before is passed over."""
    try:
        while sock.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.fixture(scope="module", params=["plain", "tls"])
def target(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    tls = request.param == "tls"
    for three in make_three(tls="on" if tls else "off"):
        folder = three.cluster.init_arguments()["temp_dir"]
        bundle = read_bundle(os.path.join(folder, "credentials"))
        assert bundle.has_authority == tls
        certificate = None
        if tls:
            certificate = credentials_of(bundle, str(tmp_path_factory.mktemp("member")), ["localhost"])
        number = next(info.number for info in find_nodes(folder) if info.node_id == three.left.node_id)
        three.cluster.connect()
        yield Target(three, tls, bundle, certificate, number)


def test_work_goes_across_nodes(target: Target) -> None:
    work()


def test_without_tls_a_cluster_with_tls_is_not_to_be_spoken_to(target: Target) -> None:
    host, _, port = target.three.left.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=SECONDS) as raw:
        raw.sendall(preamble.naming(daemon_of(target.number)))
        if not target.tls:
            target.shake(raw, target.bundle.token)  # what follows is about TLS, and not about this
            return
        raw.sendall(b"\x00" * 80)
        assert is_shut(raw)


@pytest.mark.parametrize("wanted", ["daemon", "transfer"])
def test_a_wrong_token_opens_nothing(target: Target, wanted: str) -> None:
    name = preamble.TRANSFER if wanted == "transfer" else None
    for token in (os.urandom(32), b"\x00" * 32):
        with target.knock(name) as sock, pytest.raises((OSError, AuthenticationFailed)):
            target.shake(sock, token)
    with target.knock(name) as sock:
        target.shake(sock, target.bundle.token)
    work()


def test_a_replayed_handshake_proves_nothing(target: Target) -> None:
    client = ClientHandshake(target.bundle.token, daemon_of(77))
    with target.knock() as sock:
        recorded = client.feed(receive(sock, 40))
        sock.sendall(recorded)
        client.feed(receive(sock, 40))  # it was good
    with target.knock() as sock:
        receive(sock, 40)
        sock.sendall(recorded)
        assert is_shut(sock)


def test_nothing_of_a_stranger_is_unpickled(target: Target, tmp_path: Path) -> None:
    trap = tmp_path / "trapped"

    class Trap:
        def __reduce__(self) -> Any:
            return os.mkdir, (str(trap),)

    bomb = pickle.dumps(Trap())
    frame = msgspec.msgpack.encode([96, b"x" * 8, [76, 1, True, bomb]])
    framed = len(frame).to_bytes(4, "little") + frame
    for first in (bomb, framed, b"\x00" * 80 + framed, os.urandom(80) + framed):
        with target.knock() as sock:
            receive(sock, 40)
            with contextlib.suppress(OSError):
                sock.sendall(first.ljust(80, b"\x00"))
            assert is_shut(sock)
    assert not trap.exists()


@pytest.mark.parametrize(
    "junk", [b"\xff\xff\xff\xff", b"\x04\x00\x00\x00\xc1\xc1\xc1\xc1", b"\x01\x00\x00\x00\x90"]
)
def test_a_member_that_talks_nonsense_is_shut_out(target: Target, junk: bytes) -> None:
    """A frame of 4 GiB, one that is no MessagePack, one without a kind."""
    with target.knock() as sock:
        target.shake(sock, target.bundle.token)
        sock.sendall(junk)
        assert is_shut(sock)
    work()


def test_thousands_who_only_hold_on_keep_nobody_from_work(target: Target) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8_192), hard))
    daemon, transfer = preamble.naming(daemon_of(target.number)), preamble.naming(preamble.TRANSFER)
    grpc_port = target.three.cluster.address
    with contextlib.ExitStack() as held:
        held.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        # Half a preamble, a whole one, a handshake that was begun, and one that comes byte by byte.
        for said in (b"", daemon[:7], daemon, transfer, daemon + b"\x16\x03", transfer + b"\x00" * 79):
            for _ in range(300):
                sock = connect(target.three.left.address)
                held.enter_context(sock)
                with contextlib.suppress(OSError):  # it was shut out already
                    sock.sendall(said)
        for _ in range(300):
            held.enter_context(connect(grpc_port))
        work()
        work()
    work()


def connect(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    return socket.create_connection((host, int(port)), timeout=SECONDS)


def channel_to(target: Target, certificate: Credentials | None) -> grpc.Channel:
    address = target.three.cluster.address
    if certificate is None:
        return grpc.insecure_channel(address)
    made, options = grpc_channel_credentials(certificate)
    return grpc.secure_channel(address, made, options=options)


@pytest.mark.parametrize("said", [b"", b"\xff" * 50, pickle.dumps(os.getcwd), b"\x0a\x05\x0a\x03abc"])
def test_the_head_ends_a_stream_that_does_not_begin_with_a_proof(target: Target, said: bytes) -> None:
    with channel_to(target, target.certificate) as channel:
        call = channel.stream_stream(SERVICE)(iter([said]), timeout=SECONDS)
        with pytest.raises(grpc.RpcError) as caught:
            list(call)
    assert caught.value.code() is not grpc.StatusCode.DEADLINE_EXCEEDED
    work()


def test_a_node_with_a_wrong_token_may_not_join(target: Target) -> None:
    remote = RemoteHead(
        target.three.cluster.address,
        os.urandom(32),
        b"12345678",
        b"12345678",
        target.certificate,
        CLUSTER_HOST,
    )
    try:
        with pytest.raises(AuthenticationFailed, match="refuses this node"):
            remote.hello(1)
    finally:
        remote.close()


@pytest.mark.parametrize("kind", ["none", "stranger", "expired"])
def test_under_tls_a_certificate_must_be_of_the_cluster_and_valid(
    target: Target, tmp_path: Path, kind: str
) -> None:
    if not target.tls:
        target.knock().close()  # nothing asks for one
        return
    certificate = None
    for name in ("ours", "theirs", "made"):
        (tmp_path / name).mkdir()
    if kind == "stranger":
        certificate = make_credentials(
            make_authority(str(tmp_path / "theirs"), "theirs"), str(tmp_path / "made"), ["localhost"]
        )
        assert target.certificate is not None
        certificate = attrs.evolve(certificate, ca_file=target.certificate.ca_file)
    elif kind == "expired":
        certificate = expired(target.bundle, tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if certificate is None else client_context(certificate)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    with connect(target.three.left.address) as raw:
        raw.sendall(preamble.naming(daemon_of(target.number)))
        with pytest.raises(OSError), context.wrap_socket(raw) as sock:  # noqa: PT011 - of many kinds
            receive(sock, 40)
    if certificate is not None:
        with channel_to(target, certificate) as channel, pytest.raises(grpc.FutureTimeoutError):
            grpc.channel_ready_future(channel).result(timeout=1.5)


def expired(bundle: Bundle, folder: Path) -> Credentials:
    """Return a certificate of the cluster's authority that was valid until a minute ago."""
    from shoal.native.security.certificates import Authority
    from shoal.native.security.private import write_private

    authority = Authority(str(folder / "ours" / "ca.pem"), str(folder / "ours" / "ca.key"))
    write_private(authority.cert_file, bundle.authority_certificate)
    write_private(authority.key_file, bundle.authority_key)
    return make_credentials(authority, str(folder / "made"), ["localhost"], days=-60 / 86_400)


def start(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [SHOAL, "start", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )


def test_a_node_does_not_start_with_what_cannot_be_safe(target: Target, tmp_path: Path) -> None:
    if not target.tls:
        target.knock().close()
        return
    from shoal.native.security.bundle import write_bundle

    credentials = str(tmp_path / "credentials")
    write_bundle(credentials, target.bundle)
    for name in ("ours", "made"):
        (tmp_path / name).mkdir()
    old = expired(target.bundle, tmp_path)
    own = ["--tls-cert", old.cert_file, "--tls-key", old.key_file, "--tls-ca", old.ca_file]
    os.chmod(credentials, 0o644)
    head = ["--head", "--port", "0", "--temp-dir", str(tmp_path / "t")]
    refusals = [
        (["--credentials", credentials, *head], f"chmod 600 {credentials}"),
        ([*own, *head], "expired"),
        ([*own[:2], *head], "needs all three"),
        (["--host", "0.0.0.0", "--set", "tls=off", *head], "allow_plaintext"),
        (["--address", "192.0.2.1:1", "--token-file", token_file(tmp_path)], "only this machine reaches"),
        (
            ["--address", "192.0.2.1:1", "--host", "0.0.0.0", "--token-file", str(tmp_path / "token")],
            "--credentials",
        ),
    ]
    began = time.monotonic()
    for words, why in refusals:
        done = start(*words)
        assert done.returncode == 1, (words, done.stdout)
        assert why in done.stderr
    assert time.monotonic() - began < SECONDS


def token_file(folder: Path) -> str:
    from shoal.native.security.private import make_token

    make_token(str(folder / "token"))
    return str(folder / "token")
