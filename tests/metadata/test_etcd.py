"""The contract of Metadata over a real etcd, and what is special about one."""

from __future__ import annotations

import itertools
import json
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import Etcd, RealServer, free_ports

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write
from shoal.metadata.etcd import EtcdMetadata
from shoal.testing.metadata import MetadataContract

NUMBERS = itertools.count()
Start = Callable[[RealServer], RealServer]


class TestEtcd(MetadataContract):
    @pytest.fixture
    def metadata_class(self) -> type[Metadata]:
        return EtcdMetadata

    @pytest.fixture
    def new_location(self, etcd_server: Etcd) -> Callable[[], str]:
        return lambda: etcd_server.url(f"contract-{next(NUMBERS)}")


@pytest.fixture
def mine(tmp_path: Path, started: Start) -> Iterator[tuple[Etcd, EtcdMetadata]]:
    """An etcd that this test may kill, and a store on it."""
    server = Etcd(tmp_path)
    started(server)
    wait_for_leader(server)
    store = EtcdMetadata(server.url(), {"timeout": 2})
    yield server, store
    store.close()


def test_what_was_written_survives_the_death_of_the_server(mine: tuple[Etcd, EtcdMetadata]) -> None:
    server, store = mine
    store.apply([Write("t", b"k", b"v")])
    assert store.acquire("head", b"one", 60)
    server.kill()
    server.start()
    wait_for_leader(server)
    assert store.get("t", b"k") == b"v"
    assert store.put_if_absent("t", b"l", b"w")
    assert store.holder("head") == b"one"


def test_a_dead_server_is_an_error_and_not_a_wait(mine: tuple[Etcd, EtcdMetadata]) -> None:
    server, store = mine
    server.kill()
    began = time.monotonic()
    for call in calls(store):
        with pytest.raises(OSError, match=rf"no answer from etcd at 127\.0\.0\.1:{server.port}"):
            call()
    assert time.monotonic() - began < 10


def test_a_server_that_does_not_answer_is_an_error_in_time(mine: tuple[Etcd, EtcdMetadata]) -> None:
    server, store = mine
    server.freeze()
    began = time.monotonic()
    with pytest.raises(OSError, match="no answer from etcd"):
        store.apply([Write("t", b"k", b"v")])
    assert 1.9 < time.monotonic() - began < 10  # two attempts of two seconds
    server.thaw()
    wait_for_leader(server)
    store.apply([Write("t", b"k", b"w")])
    assert store.get("t", b"k") == b"w"


def test_three_members_go_on_without_one(tmp_path: Path) -> None:
    members = []
    for name in ("one", "two", "three"):
        (tmp_path / name).mkdir()
        members.append(Etcd(tmp_path / name, name))
    for member in members:
        member.choose_ports()
        member.members = members
    try:
        for member in members:
            member.launch()  # none is ready before most are
        for member in members:
            assert member.wait_until_up()
        wait_for_leader(*members)
        location = "etcd://" + ",".join(f"127.0.0.1:{member.port}" for member in members)
        store = EtcdMetadata(location)
        assert store.put_if_absent("t", b"k", b"v")
        members[0].kill()
        wait_for_leader(*members[1:])
        assert store.get("t", b"k") == b"v"
        assert not store.put_if_absent("t", b"k", b"w")
        store.apply([Write("t", b"k", b"w")])
        assert store.acquire("head", b"one", 60)
        members[1].kill()
        with pytest.raises(OSError, match="the metadata store failed"):  # one of three is no majority
            store.apply([Write("t", b"k", b"x")])
        store.close()
    finally:
        for member in members:
            member.stop()


def test_as_many_writes_as_etcd_takes_together_and_no_more(etcd_server: Etcd) -> None:
    store = EtcdMetadata(etcd_server.url(f"many-{next(NUMBERS)}"))
    keys = [number.to_bytes(2, "big") for number in range(4097)]
    store.apply([Write("t", key, b"") for key in keys[:-1]])
    assert len(store.items("t")) == 4096
    with pytest.raises(OSError, match="4096 writes together at most, got 4097"):
        store.apply([Write("t", key, None) for key in keys])
    assert len(store.items("t")) == 4096
    store.close()


@pytest.mark.parametrize("size", [1_600_000, 3_000_000])  # above etcd's limit, and above gRPC's
def test_a_write_that_is_too_large_is_refused_whole(etcd_server: Etcd, size: int) -> None:
    store = EtcdMetadata(etcd_server.url(f"large-{next(NUMBERS)}"))
    with pytest.raises(OSError, match=r"too large|larger than max"):
        store.apply([Write("t", b"small", b""), Write("t", b"large", bytes(size))])
    assert store.items("t") == []
    store.close()


def test_a_full_server_keeps_what_was_there(tmp_path: Path, started: Start) -> None:
    server = Etcd(tmp_path, "one", "--quota-backend-bytes=4194304")
    started(server)
    wait_for_leader(server)
    store = EtcdMetadata(server.url())
    store.apply([Write("t", b"old", b"1")])
    with pytest.raises(OSError, match="space"):
        fill(store)
    with pytest.raises(OSError, match="space"):
        store.apply([Write("t", b"old", b"2"), Write("t", b"new", b"2")])
    assert store.get("t", b"old") == b"1"
    store.close()


def test_a_wrong_password_is_refused_and_not_shown(tmp_path: Path, started: Start) -> None:
    server = Etcd(tmp_path)
    started(server)
    wait_for_leader(server)
    switch_on_passwords(server)
    for options in ({}, {"user": "root", "password": "secret-but-wrong"}):
        with pytest.raises(ConfigError, match="refused") as raised:
            EtcdMetadata(server.url(), options)
        assert "secret" not in str(raised.value)
    with pytest.raises(ConfigError, match="both user and password"):
        EtcdMetadata(server.url(), {"user": "root"})
    for store in (
        EtcdMetadata(server.url(), {"user": "root", "password": "right"}),
        EtcdMetadata(server.url().replace("//", "//root:right@")),
    ):
        store.apply([Write("t", b"k", b"v")])
        # The store's token ends with the old password, even if the new one is the same.
        token = post(server, "v3/auth/authenticate", name="root", password="right")["token"]
        post(server, "v3/auth/user/changepw", token, name="root", password="right")
        assert store.get("t", b"k") == b"v"
        store.close()


def test_prefixes_keep_clusters_apart(etcd_server: Etcd) -> None:
    name = f"apart-{next(NUMBERS)}"
    stores = [EtcdMetadata(etcd_server.url(name)), EtcdMetadata(etcd_server.url(), {"prefix": f"{name}/t"})]
    for number, store in enumerate(stores):
        assert store.put_if_absent("t", b"k", b"%d" % number)
        assert store.acquire("head", b"%d" % number, 60)
    assert [store.get("t", b"k") for store in stores] == [b"0", b"1"]
    assert [store.holder("head") for store in stores] == [b"0", b"1"]
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("head.db", "must begin with etcd://, etcds://, http://, https://"),
        ("etcd://one,,two", "needs a host"),
        ("etcd://one:99999", "cannot read the address 'one:99999'"),
        ("etcd://one/folder", "has no path, got 'folder'; set prefix"),
        ("odd://user:secret@one", "got '…@one'"),
    ],
)
def test_a_wrong_location_is_explained(location: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        EtcdMetadata(location)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"colour": 1}, r"no options \['colour'\]"),
        ({"key_file": "k.pem"}, "begin it with etcds://, https://"),
    ],
)
def test_wrong_options_are_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        EtcdMetadata("etcd://127.0.0.1", options)


def test_nobody_there_is_an_error_that_says_where() -> None:
    one, two = free_ports(2)
    with pytest.raises(ConfigError, match=rf"no answer from etcd at 127\.0\.0\.1:{one}, 127\.0\.0\.1:{two}"):
        EtcdMetadata(f"etcd://127.0.0.1:{one},127.0.0.1:{two}")


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "urllib3", None)
    with pytest.raises(ConfigError, match=r"pip install 'shoal\[etcd\]'"):
        EtcdMetadata("etcd://127.0.0.1")


def calls(store: EtcdMetadata) -> list[Callable[[], object]]:
    return [
        lambda: store.get("t", b"k"),
        lambda: store.apply([Write("t", b"k", b"v")]),
        lambda: store.put_if_absent("t", b"k", b"v"),
        lambda: store.items("t"),
        lambda: store.acquire("head", b"one", 1),
        lambda: store.holder("head"),
    ]


def fill(store: EtcdMetadata) -> None:
    for number in range(100):
        store.apply([Write("t", b"large-%d" % number, bytes(1 << 20))])


def post(server: Etcd, what: str, token: str = "", **body: str) -> dict[str, Any]:
    """Ask etcd without our store."""
    url, headers = f"http://127.0.0.1:{server.port}/{what}", {"Authorization": token} if token else {}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    with urllib.request.urlopen(request, timeout=5) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


def wait_for_leader(*servers: Etcd) -> None:
    """Wait until the members answer that they are healthy."""
    deadline = time.monotonic() + 30
    for server in servers:
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=2) as answer:
                    if json.load(answer)["health"] == "true":
                        break
            except OSError:
                pass
            assert time.monotonic() < deadline, "etcd has no leader"
            time.sleep(0.05)


def switch_on_passwords(server: Etcd) -> None:
    post(server, "v3/auth/user/add", name="root", password="right")
    post(server, "v3/auth/role/add", name="root")
    post(server, "v3/auth/user/grant", user="root", role="root")
    post(server, "v3/auth/enable")
