"""The provider `ssh` with a real sshd on loopback: its contract, keys that are wrong, hosts that are away."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import Sshd

import shoal
from shoal.cluster_utils import Cluster
from shoal.errors import ConfigError, NodeProviderError
from shoal.interfaces.nodes import GONE, NodeStart, NodeType
from shoal.node_providers.openssh import Host, read_host
from shoal.node_providers.ssh import SshNodes
from shoal.scaling import end_machines
from shoal.spec.resources import ResourceSet
from shoal.testing.nodes import Make, NodeProviderContract

pytestmark = pytest.mark.processes
SMALL = NodeType(name="small", resources=ResourceSet.of(CPU=1))


@pytest.fixture(scope="module")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    server = Sshd(tmp_path_factory.mktemp("sshd"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def options(sshd: Sshd, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """One host under two names. Sessions there have a folder with a short name, for their sockets."""
    folder = tempfile.mkdtemp(prefix="s-")
    yield {
        "hosts": [f"127.0.0.1:{sshd.port}", f"localhost:{sshd.port}"],
        "identity_file": str(sshd.identity),
        "known_hosts": str(sshd.known_hosts),
        "python": sys.executable,
        "folder": str(tmp_path / "machines"),
        "temp_dir": folder,
    }
    shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.slow
class TestSsh(NodeProviderContract):
    @pytest.fixture
    def make(self, options: dict[str, Any]) -> Make:
        return lambda cluster, start: SshNodes(cluster, start, options)

    def test_no_more_machines_than_hosts(self, provider: SshNodes, node_type: NodeType) -> None:
        assert len(provider.launch(node_type, 3, "many")) == 2  # fewer is an answer
        with pytest.raises(NodeProviderError, match="only 0 hosts"):
            provider.launch(node_type, 1, "more")

    def test_a_type_may_have_hosts_of_its_own(self, provider: SshNodes, options: dict[str, Any]) -> None:
        one = NodeType(name="one", resources=SMALL.resources, options={"hosts": options["hosts"][1:]})
        provider.check_type(one)
        [machine] = provider.launch(one, 2, "own")
        assert "localhost" in machine.place
        strange = NodeType(name="strange", resources=SMALL.resources, options={"hosts": ["elsewhere"]})
        with pytest.raises(ConfigError, match=r"strange.*elsewhere"):
            provider.check_type(strange)

    def test_the_secret_lies_where_only_its_owner_reads_it(
        self, provider: SshNodes, node_type: NodeType, options: dict[str, Any], start: NodeStart
    ) -> None:
        provider.launch(node_type, 1, "some")
        [copy] = Path(options["folder"]).rglob("*.credentials")
        assert copy.read_text() == Path(start.credentials_file).read_text()
        assert copy.stat().st_mode & 0o777 == 0o600
        for path in copy.parent.rglob("*"):
            assert not path.is_dir() or path.stat().st_mode & 0o077 == 0


@pytest.fixture
def start(tmp_path: Path) -> NodeStart:
    path = tmp_path / "credentials"
    path.write_text("secret")
    return NodeStart(
        head_address="127.0.0.1:9", credentials_file=str(path), settings={"head_wait_seconds": 5.0}
    )


def test_a_wrong_key_is_refused_and_nothing_asks_for_a_password(
    options: dict[str, Any], start: NodeStart, tmp_path: Path
) -> None:
    wrong = tmp_path / "wrong"
    keygen = shutil.which("ssh-keygen")
    assert keygen is not None
    subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", str(wrong)], check=True)
    provider = SshNodes("c", start, {**options, "identity_file": str(wrong)})
    with pytest.raises(NodeProviderError, match="Permission denied") as caught:
        provider.machines()
    assert "secret" not in str(caught.value)


def test_a_host_that_is_not_who_it_was_is_refused(
    options: dict[str, Any], start: NodeStart, tmp_path: Path, sshd: Sshd
) -> None:
    other = tmp_path / "known"
    key = " ".join((sshd.folder / "identity.pub").read_text().split()[:2])
    other.write_text(f"[127.0.0.1]:{sshd.port} {key}\n")
    provider = SshNodes("c", start, {**options, "known_hosts": str(other)})
    with pytest.raises(NodeProviderError, match="verification failed"):
        provider.machines()


def test_hosts_that_are_away_do_not_hide_the_others(options: dict[str, Any], start: NodeStart) -> None:
    provider = SshNodes("c", start, {**options, "hosts": ["127.0.0.1:1", options["hosts"][0]]})
    launched = provider.launch(SMALL, 2, "some")
    try:
        assert [one.machine_id for one in launched] == ["some-0"]
        assert [one.machine_id for one in provider.machines()] == ["some-0"]
    finally:
        end_machines(provider)
    assert not [one for one in provider.machines() if one.state != GONE]


def test_a_machine_whose_host_goes_away_is_still_one(
    options: dict[str, Any], start: NodeStart, tmp_path: Path
) -> None:
    (tmp_path / "own").mkdir()
    server = Sshd(tmp_path / "own")
    server.start()
    given = {**options, "hosts": [f"127.0.0.1:{server.port}", options["hosts"][0]]}
    given["identity_file"] = str(server.identity)
    given["known_hosts"] = str(server.known_hosts)
    provider = SshNodes("c", start, given)
    try:
        provider.launch(SMALL, 1, "some")
        server.stop()
        with pytest.raises(NodeProviderError, match="reach any host"):
            provider.machines()
        server.start()
        assert [one.machine_id for one in provider.machines()] == ["some-0"]
    finally:
        end_machines(provider)
        server.stop()


def test_a_host_without_shoal_says_so(options: dict[str, Any], start: NodeStart) -> None:
    provider = SshNodes("c", start, {**options, "python": "/bin/echo"})
    with pytest.raises(NodeProviderError, match="is shoal installed for /bin/echo there"):
        provider.machines()
    provider = SshNodes("c", start, {**options, "python": "/no/python; touch /tmp/never"})
    with pytest.raises(NodeProviderError, match=r"/no/python; touch"):
        provider.machines()


@pytest.mark.parametrize(
    "changes",
    [
        {"hosts": []},
        {"hosts": "one"},
        {"hosts": ["-oProxyCommand=touch x"]},
        {"hosts": ["a b"]},
        {"hosts": ["host:0"]},
        {"hosts": ["host:99999"]},
        {"hosts": [3]},
        {"identity_file": "/no/such/key"},
        {"no_such_option": 1},
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], start: NodeStart, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="'ssh'"):
        SshNodes("c", start, {**options, **changes})


def test_hosts_are_read_with_user_and_port() -> None:
    assert read_host("x", "me@host.example:2222") == Host(name="host.example", user="me", port=2222)
    assert read_host("x", "[::1]:22", user="you") == Host(name="::1", user="you")
    words = Host(name="h", user="u").command(["echo", "a b; c"])
    assert words[-2:] == ["h", "echo 'a b; c'"]
    assert words[-3] == "--"


def test_work_brings_nodes_on_hosts(options: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "cluster.json"
    described = {
        "name": "hosts",
        "provider": {"kind": "ssh", **options},
        "node_types": {"small": {"resources": {"CPU": 2}, "max": 2}},
        "idle_seconds": 2,
        "interval_seconds": 0.2,
    }
    path.write_text(json.dumps(described))
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "autoscaling": str(path)}) as cluster:
        cluster.connect()

        @shoal.remote(num_cpus=2)
        def double(x: int) -> int:
            return 2 * x

        try:
            assert shoal.get([double.remote(x) for x in range(4)], timeout=60) == [0, 2, 4, 6]
        finally:
            shoal.shutdown()
            cluster.shutdown()
            end_machines(SshNodes("hosts", NodeStart(head_address="", credentials_file=""), options))
