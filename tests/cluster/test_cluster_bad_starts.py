"""Nodes that cannot start, or not yet, or not there: each says so, in time, or just works."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hosts import SHOAL, Network, why_not

import shoal
from shoal.cluster_utils import Cluster
from shoal.errors import ConfigError, SystemFailure
from shoal.native.daemon import remote_head
from shoal.native.process.node import find_nodes, read_node
from shoal.native.security.bundle import credentials_of as cluster_credentials
from shoal.native.security.bundle import read_bundle
from shoal.native.security.certificates import CLUSTER_HOST

pytestmark = pytest.mark.processes
SECONDS = 60
NO_HOSTS = why_not()
needs_hosts = pytest.mark.skipif(bool(NO_HOSTS), reason=NO_HOSTS)
SMALL = ["--num-cpus", "1", "--num-gpus", "0"]


def run(*words: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """Run a shoal command; `before`: shell commands in a mount namespace of its own before it."""
    line = [SHOAL, *words]
    if before:
        line = ["unshare", "--mount", "sh", "-c", f'{before}; exec "$0" "$@"', *line]
    return subprocess.run(
        line, capture_output=True, text=True, timeout=SECONDS, check=False, stdin=subprocess.DEVNULL
    )


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="shoal-") as made:  # short, for the names of Unix sockets
        yield made
        run("stop", "--temp-dir", made)
        assert not find_nodes(made)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 1}) as made:
        yield made


def credentials_of(cluster: Cluster) -> str:
    assert cluster.head_node is not None
    return os.path.join(cluster.head_node.folder, "credentials")


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """Return what a command that failed has said, which is no traceback."""
    assert done.returncode != 0, done.stdout
    assert "Traceback" not in done.stderr, done.stderr
    return done.stderr


# Versions


@pytest.mark.parametrize(
    ("name", "attribute", "value"),
    [
        ("protocol", "PROTOCOL", 1_000_000),
        ("Shoal", "VERSION", "0.0.1"),
        ("Python", "python_version", lambda: "3.9"),
    ],
)
def test_a_node_of_another_version_is_refused_with_both(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, attribute: str, value: Any
) -> None:
    theirs = value() if callable(value) else value
    ours = getattr(remote_head, attribute)
    ours = ours() if callable(ours) else ours
    monkeypatch.setattr(remote_head, attribute, value)
    bundle = read_bundle(credentials_of(cluster))
    proof = cluster_credentials(bundle, str(tmp_path), ["localhost"]) if bundle.has_authority else None
    node = remote_head.RemoteHead(
        cluster.address, bundle.token, bytes(8), os.urandom(8), proof, CLUSTER_HOST if proof else ""
    )
    with pytest.raises(
        SystemFailure, match=rf"(?s)the node has {name} {theirs}, the head {ours}.*install"
    ) as info:
        node.hello(10.0)
    node.close()
    assert "does not let this node join" in str(info.value)
    cluster.connect()  # the cluster is as it was
    assert len(shoal.nodes()) == 1
    shoal.shutdown()


def test_a_program_of_another_version_than_its_node_is_refused_with_both(folder: str) -> None:
    """What the node has written of itself is changed as another version would have written it."""
    words = ["start", "--head", "--port", "0", "--json", *SMALL, "--temp-dir", folder]
    node = json.loads(run(*words).stdout)
    settings = Path(node["folder"], "settings")
    fields = msgspec.msgpack.decode(settings.read_bytes())
    fields["made by"] = ["0.0.1", "3.9"]
    fields["something new"] = True
    settings.write_bytes(msgspec.msgpack.encode(fields))
    with pytest.raises(ConfigError, match=r"runs Shoal 0\.0\.1 on Python 3\.9, this program"):
        shoal.init(address=node["head_address"], temp_dir=folder)
    assert not shoal.is_initialized()


# Addresses


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


@pytest.mark.parametrize("address", ["nowhere", "127.0.0.1", "127.0.0.1:port", ":1", "127.0.0.1:99999", ""])
def test_what_is_no_address_is_refused_at_once(cluster: Cluster, folder: str, address: str) -> None:
    begun = time.monotonic()
    said = refusal(
        run("start", "--address", address, "--credentials", credentials_of(cluster), "--temp-dir", folder)
    )
    assert "HOST:PORT" in said or "host:port" in said
    assert time.monotonic() - begun < SECONDS / 2  # it has not waited for a head there


def test_where_nobody_answers_a_node_waits_as_long_as_it_was_told_to(cluster: Cluster, folder: str) -> None:
    port = free_port()
    words = ["start", "--address", f"127.0.0.1:{port}", "--credentials", credentials_of(cluster)]
    said = refusal(run(*words, "--temp-dir", folder, "--set", "head_wait_seconds=1"))
    assert f"no head answers at 127.0.0.1:{port} (tried for 1 s)" in said
    assert "shoal start --head" in said


def test_where_something_else_answers_a_node_says_so(cluster: Cluster, folder: str) -> None:
    """A web server, and one that says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as web, socket.create_server(("127.0.0.1", 0)) as silent:
        ended = threading.Event()

        def serve() -> None:
            web.settimeout(0.1)
            while not ended.is_set():
                with contextlib.suppress(TimeoutError, OSError):
                    sock, _ = web.accept()
                    with sock:
                        sock.recv(1)
                        sock.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            for sock in (web, silent):
                address = f"127.0.0.1:{sock.getsockname()[1]}"
                words = ["start", "--address", address, "--credentials", credentials_of(cluster)]
                said = refusal(run(*words, "--temp-dir", folder, "--set", "head_wait_seconds=1"))
                assert f"no head answers at {address}" in said
        finally:
            ended.set()
            thread.join()


def test_a_program_at_a_wrong_address_is_told_what_there_is(cluster: Cluster) -> None:
    with pytest.raises(ConfigError, match="shoal start"):
        shoal.init(address=f"127.0.0.1:{free_port()}")
    assert not shoal.is_initialized()


def test_a_node_that_comes_before_its_head_waits_for_it(folder: str) -> None:
    credentials = os.path.join(folder, "credentials")
    assert run("credentials", credentials).returncode == 0
    port = free_port()
    words = ["start", "--address", f"127.0.0.1:{port}", "--credentials", credentials, "--temp-dir", folder]
    with subprocess.Popen(
        [SHOAL, *words, *SMALL, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as early:
        assert early.stderr is not None
        said = early.stderr.readline()
        assert said.startswith(f"waiting for a head at 127.0.0.1:{port}"), said
        head = ["start", "--head", "--port", str(port), "--credentials", credentials, "--temp-dir", folder]
        assert run(*head, *SMALL).returncode == 0
        out, _ = early.communicate(timeout=SECONDS)
    assert early.returncode == 0
    assert json.loads(out)["head_address"] == f"127.0.0.1:{port}"


@pytest.mark.parametrize("setting", ["head_port", "node_port"])
def test_a_taken_port_is_named(folder: str, setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        words = ["start", "--head", "--temp-dir", folder, *SMALL]
        words += (
            ["--port", str(port)] if setting == "head_port" else ["--port", "0", "--set", f"node_port={port}"]
        )
        said = refusal(run(*words))
    assert str(port) in said
    assert "another" in said


# What a machine does not have


def test_more_shared_memory_than_there_is_is_refused(folder: str) -> None:
    said = refusal(
        run("start", "--head", "--port", "0", "--object-store-memory", str(1 << 50), "--temp-dir", folder)
    )
    assert f"{1 << 50:,}" in said
    assert "--shm-size" in said


def test_devices_that_are_not_there_can_be_offered_and_the_log_says_so(folder: str) -> None:
    """As the reference allows, for programs that are tried where there are none."""
    words = ["start", "--head", "--port", "0", "--num-cpus", "1", "--num-gpus", "3", "--json"]
    node = json.loads(run(*words, "--temp-dir", folder).stdout)
    log = Path(node["folder"], "logs", "daemon.log")
    deadline = time.monotonic() + SECONDS
    while "offers GPU" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@needs_hosts
@pytest.mark.parametrize("size", ["4k", "64k"])
def test_a_full_disk_is_named_at_the_start(folder: str, size: str) -> None:
    small = os.path.join(folder, "small")
    os.mkdir(small)
    before = f"mount -t tmpfs -o size={size} none {small}"
    said = refusal(run("start", "--head", "--port", "0", "--temp-dir", small, *SMALL, before=before))
    assert small in said
    assert "No space left on device" in said or "full" in said


@needs_hosts
def test_a_full_dev_shm_is_named_at_the_start(folder: str) -> None:
    before = "mount -t tmpfs -o size=4k none /dev/shm"
    said = refusal(run("start", "--head", "--port", "0", "--temp-dir", folder, *SMALL, before=before))
    assert "/dev/shm" in said
    assert "No space left on device" in said


TINY = """
import shoal
shoal.init(num_cpus=1)

@shoal.remote
def double(x): return 2 * x

assert shoal.get(double.remote(21)) == 42
try:
    shoal.get(shoal.put(bytes(10_000_000)))
except shoal.exceptions.ObjectStoreFull as error:
    print(error)
"""


@needs_hosts
def test_with_little_dev_shm_small_work_works_and_large_objects_are_refused_with_the_cure() -> None:
    line = ["unshare", "--mount", "sh", "-c", 'mount -t tmpfs -o size=2m none /dev/shm; exec "$0" "$@"']
    done = subprocess.run(
        [*line, sys.executable, "-c", TINY], capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "object_store" in done.stdout


# Clocks


@needs_hosts
def test_nodes_whose_machines_started_at_other_times_keep_each_other(folder: str) -> None:
    """Leases are counted by clocks that begin when a machine starts: the second one's is a day ahead."""
    words = ["--temp-dir", folder, "--json", *SMALL, "--set", "node_timeout_seconds=2"]
    head = json.loads(run("start", "--head", "--port", "0", *words).stdout)
    line = ["unshare", "--time", "--monotonic", "86400", "--boottime", "86400", "--fork", SHOAL, "start"]
    credentials = os.path.join(head["folder"], "credentials")
    line += ["--address", head["head_address"], "--credentials", credentials, *words]
    ahead = subprocess.run(line, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert ahead.returncode == 0, ahead.stderr
    shoal.init(address=head["head_address"], temp_dir=folder)
    try:
        there = json.loads(ahead.stdout)["node_id"]

        @shoal.remote
        def later(before: float) -> bool:
            return time.monotonic() - before > 80_000

        place = shoal.NodeAffinitySchedulingStrategy(node_id=there, soft=False)
        deadline = time.monotonic() + 3 * 2  # three times the timeout
        while time.monotonic() < deadline:
            assert shoal.get(
                later.options(scheduling_strategy=place).remote(time.monotonic()), timeout=SECONDS
            )
        assert all(node["Alive"] for node in shoal.nodes())
    finally:
        shoal.shutdown()


# IPv6

PROGRAM = """
import json, sys
import shoal
shoal.init(address=sys.argv[1], temp_dir=sys.argv[2])

@shoal.remote(scheduling_strategy="SPREAD", num_cpus=1)
def here(data): return shoal.get_runtime_context().get_node_id(), len(data)

data = shoal.put(bytes(3_000_000))
found = set()
while len(found) < 2:
    found |= set(map(tuple, shoal.get([here.remote(data) for _ in range(8)], timeout=60)))
print(json.dumps(sorted(found)))
"""


@needs_hosts
def test_hosts_that_have_only_ipv6(folder: str) -> None:
    with Network(2, ipv6=True) as network:
        first, second = network.hosts
        head = first.shoal("start", "--head", "--host", first.address, "--port", "0", *SMALL)
        assert head["head_address"].startswith(f"[{first.address}]:")
        credentials = os.path.join(head["folder"], "credentials")
        words = ["--address", head["head_address"], "--host", second.address, "--credentials", credentials]
        second.shoal("start", *words, *SMALL)
        with first.python(PROGRAM, head["head_address"], first.folder) as program:
            out, err = program.communicate(timeout=SECONDS)
        assert program.returncode == 0, err
        assert [size for _, size in json.loads(out)] == [3_000_000] * 2


@needs_hosts
def test_without_ipv4_the_loopback_is_that_of_ipv6() -> None:
    with Network(1, ipv6=True) as network:
        host = network.hosts[0]
        head = host.shoal("start", "--head", "--port", "0", *SMALL)
        assert head["head_address"].startswith("[::1]:")
        with host.python("import shoal; shoal.init(num_cpus=1); print(len(shoal.nodes()))") as program:
            out, err = program.communicate(timeout=SECONDS)
        assert out.strip() == "1", err


# Ends while a node starts


def test_a_start_that_is_killed_leaves_nothing_after_the_next(folder: str) -> None:
    with subprocess.Popen([SHOAL, "start", "--head", "--port", "0", "--temp-dir", folder, *SMALL]) as process:
        deadline = time.monotonic() + SECONDS
        while not any(Path(folder).glob("session_*")):
            assert time.monotonic() < deadline
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while any(read_node(str(path)) for path in Path(folder).glob("session_*")):
        run("stop", "--temp-dir", folder)
        assert time.monotonic() < deadline
