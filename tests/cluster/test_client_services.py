"""What a gateway does for its client when it is asked for what cannot be, and from many threads at once."""

from __future__ import annotations

import hashlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from client_support import SECONDS, connect, gateways, wait_for

import shoal
from shoal.cluster_utils import Cluster
from shoal.errors import ObjectStoreFull, RuntimeEnvSetup
from shoal.interfaces.current import current
from shoal.native.remote.tunnel import GatewayError


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    head = {"num_cpus": 2, "object_store_memory": 64 << 20, "store": "shm"}
    with Cluster(initialize_head=True, head_node_args=head) as cluster:
        yield cluster


@pytest.fixture
def tunnel(cluster: Cluster) -> Iterator[Any]:
    connect(cluster)
    yield current.engine.client.tunnel  # type: ignore[union-attr]
    shoal.shutdown()
    wait_for(lambda: not gateways(cluster), "the gateway is gone", 10)


def packages(cluster: Cluster) -> list[str]:
    assert cluster.head_node is not None
    folder = Path(cluster.head_node.folder) / "env" / "packages"
    return sorted(os.listdir(folder)) if folder.exists() else []


@pytest.mark.parametrize("digest", ["../../../tmp/x", "/etc/passwd", "", "A" * 64, "0" * 63])
def test_a_package_is_named_by_its_hash_and_by_nothing_else(tunnel: Any, digest: str) -> None:
    with pytest.raises(GatewayError, match="SHA-256"):
        tunnel.ask_and_wait("package", 1, digest, 10)


def test_a_package_that_is_not_what_was_announced_is_thrown_away(cluster: Cluster, tunnel: Any) -> None:
    digest = hashlib.sha256(b"what was meant").hexdigest()
    before = packages(cluster)
    assert tunnel.ask_and_wait("package", 1, digest, 100) == ""
    tunnel.ask_and_wait("package_part", 1, b"something else")
    with pytest.raises(GatewayError, match="has arrived as"):
        tunnel.ask_and_wait("package_end", 1)
    assert tunnel.ask_and_wait("package", 2, digest, 4) == ""
    with pytest.raises(GatewayError, match="more than the 4 bytes"):
        tunnel.ask_and_wait("package_part", 2, b"12345")
    with pytest.raises(GatewayError, match="KeyError"):
        tunnel.ask_and_wait("package_end", 2)
    with pytest.raises(GatewayError, match="at most"):
        tunnel.ask_and_wait("package", 3, digest, 1 << 40)
    assert packages(cluster) == before


def test_a_package_that_was_half_sent_goes_with_its_client(cluster: Cluster) -> None:
    with connect(cluster):
        other: Any = current.engine.client.tunnel  # type: ignore[union-attr]
        other.ask_and_wait("package", 1, hashlib.sha256(b"x").hexdigest(), 100)
        other.ask_and_wait("package_part", 1, b"half")
        assert any(name.endswith(".new") for name in packages(cluster))
    wait_for(lambda: not any(name.endswith(".new") for name in packages(cluster)), "it is gone", 10)


def test_questions_that_cannot_be_answered_harm_nobody(tunnel: Any) -> None:
    for name, arguments in (
        ("nothing", []),
        ("read", [b"x" * 20]),
        ("write", [b"x" * 20, 0, b"data"]),
        ("seal", [b"x" * 20]),
        ("create", ["x", -1]),
        ("importable", [7]),
    ):
        with pytest.raises(GatewayError):
            tunnel.ask_and_wait(name, *arguments)
    object_id = b"y" * 20
    tunnel.ask_and_wait("create", object_id, 10)
    with pytest.raises(GatewayError, match="bytes 8 to 12 of an object of 10"):
        tunnel.ask_and_wait("write", object_id, 8, b"1234")
    tunnel.ask_and_wait("abort", object_id)
    assert tunnel.ask_and_wait("find", object_id) == -1
    assert tunnel.connections == 1


def test_a_store_that_is_full_says_so_and_takes_the_next_value(tunnel: Any) -> None:
    with pytest.raises(ObjectStoreFull):
        shoal.put(b"x" * (100 << 20))
    ref = shoal.put(b"y" * (40 << 20))
    assert shoal.get(ref, timeout=SECONDS)[-1:] == b"y"
    del ref
    for _ in range(5):
        assert len(shoal.get(shoal.put(b"z" * (40 << 20)), timeout=SECONDS)) == 40 << 20


def test_a_missing_package_names_its_node(tunnel: Any) -> None:
    @shoal.remote(runtime_env={"working_dir": {"uri": f"node://77/{'0' * 64}", "hash": "0" * 64}})
    def never() -> None:
        raise AssertionError

    with pytest.raises(RuntimeEnvSetup, match="was on node 77, which is gone"):
        shoal.get(never.remote(), timeout=SECONDS)


def test_modules_that_threads_import_at_once(
    tunnel: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    for index in range(8):
        (tmp_path / f"threads_own_{index}.py").write_text(f"def number():\n    return {index}\n")
    found: dict[int, int] = {}

    def work(index: int) -> None:
        module = importlib.import_module(f"threads_own_{index}")
        found[index] = shoal.get(shoal.remote(module.number).remote(), timeout=SECONDS)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    for index in range(8):
        sys.modules.pop(f"threads_own_{index}", None)
    assert found == {index: index for index in range(8)}


def test_a_callback_that_calls_on(tunnel: Any) -> None:
    """Callbacks of futures run in whichever thread serves the connections: they may submit, and even wait."""

    @shoal.remote
    def more(number: int) -> int:
        return number + 1

    done = threading.Event()
    found: list[int] = []

    def go_on(future: Any) -> None:
        found.append(shoal.get(more.remote(future.result()), timeout=SECONDS))
        done.set()

    more.remote(1).future().add_done_callback(go_on)
    assert done.wait(SECONDS)
    assert found == [3]
