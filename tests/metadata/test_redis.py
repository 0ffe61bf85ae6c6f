"""The contract of Metadata over a real Redis, and what is special about one."""

from __future__ import annotations

import itertools
import logging
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from real_servers import RealServer, Redis, free_ports

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, Write
from shoal.metadata.redis import RedisMetadata
from shoal.testing.metadata import MetadataContract

NUMBERS = itertools.count()
Start = Callable[[RealServer], RealServer]


class TestRedis(MetadataContract):
    @pytest.fixture
    def metadata_class(self) -> type[Metadata]:
        return RedisMetadata

    @pytest.fixture
    def new_location(self, redis_server: Redis) -> Callable[[], str]:
        return lambda: redis_server.url(f"contract-{next(NUMBERS)}")


@pytest.fixture
def mine(tmp_path: Path, started: Start) -> Iterator[tuple[Redis, RedisMetadata]]:
    """A Redis that this test may kill, and a store on it."""
    server = Redis(tmp_path)
    started(server)
    store = RedisMetadata(server.url(), {"timeout": 2})
    yield server, store
    store.close()


def test_what_was_written_survives_the_death_of_the_server(mine: tuple[Redis, RedisMetadata]) -> None:
    server, store = mine
    store.apply([Write("t", b"k", b"v")])
    assert store.acquire("head", b"one", 60)
    server.kill()
    server.start()
    assert store.get("t", b"k") == b"v"  # over a new connection: the old one is broken
    assert store.put_if_absent("t", b"l", b"w")
    assert store.holder("head") == b"one"


def test_a_dead_server_is_an_error_and_not_a_wait(mine: tuple[Redis, RedisMetadata]) -> None:
    server, store = mine
    server.kill()
    began = time.monotonic()
    for call in calls(store):
        with pytest.raises(OSError, match=rf"Redis at 127\.0\.0\.1:{server.port}"):
            call()
    assert time.monotonic() - began < 10


def test_a_server_that_does_not_answer_is_an_error_in_time(mine: tuple[Redis, RedisMetadata]) -> None:
    server, store = mine
    server.freeze()
    began = time.monotonic()
    with pytest.raises(OSError, match="Redis at"):
        store.apply([Write("t", b"k", b"v")])
    assert 1.9 < time.monotonic() - began < 10
    server.thaw()
    store.apply([Write("t", b"k", b"w")])
    assert store.get("t", b"k") == b"w"


def test_a_full_server_keeps_what_was_there(tmp_path: Path, started: Start) -> None:
    server = Redis(tmp_path, "--maxmemory", "3mb", "--maxmemory-policy", "noeviction")
    started(server)
    store = RedisMetadata(server.url())
    done: list[int] = []
    with pytest.raises(OSError, match="memory"):
        fill(store, done)
    last = done[-1]
    assert store.get("t", b"newest") == b"%d" % last
    assert store.get("t", b"%d" % (last + 1)) is None
    assert len(store.items("t")) == last + 1
    store.close()


def test_a_server_that_evicts_keys_is_refused(tmp_path: Path, started: Start) -> None:
    server = Redis(tmp_path, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    started(server)
    with pytest.raises(ConfigError, match=r"allkeys-lru.*set it to noeviction"):
        RedisMetadata(server.url())


def test_a_server_that_forgets_is_warned_of(
    tmp_path: Path, started: Start, caplog: pytest.LogCaptureFixture
) -> None:
    server = Redis(tmp_path, "--appendonly", "no")
    started(server)
    with caplog.at_level(logging.WARNING, "shoal.metadata"):
        RedisMetadata(server.url()).close()
    assert "append-only file switched off" in caplog.text


def test_a_wrong_password_is_refused_and_not_shown(tmp_path: Path, started: Start) -> None:
    server = Redis(tmp_path, "--requirepass", "right")
    started(server)
    for options in ({}, {"password": "secret-but-wrong"}, {"user": "nobody", "password": "secret-but-wrong"}):
        with pytest.raises(ConfigError, match=r"password|Authentication") as raised:
            RedisMetadata(server.url(), options)
        assert "secret" not in str(raised.value)
    for store in (
        RedisMetadata(server.url(), {"password": "right"}),
        RedisMetadata(server.url().replace("//", "//default:right@")),
    ):
        store.apply([Write("t", b"k", b"v")])
        assert store.get("t", b"k") == b"v"
        store.close()


def test_prefixes_and_databases_keep_clusters_apart(redis_server: Redis) -> None:
    name = f"apart-{next(NUMBERS)}"
    stores = [
        RedisMetadata(redis_server.url(name)),
        RedisMetadata(redis_server.url(), {"prefix": f"{name}2"}),
        RedisMetadata(redis_server.url(name).replace("/0?", "/1?")),
    ]
    for number, store in enumerate(stores):
        assert store.put_if_absent("t", b"k", b"%d" % number)
        assert store.acquire("head", b"%d" % number, 60)
    assert [store.get("t", b"k") for store in stores] == [b"0", b"1", b"2"]
    assert [store.holder("head") for store in stores] == [b"0", b"1", b"2"]
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("location", "words"),
    [
        ("head.db", "must begin with redis://, rediss://.*'head.db'"),
        ("http://127.0.0.1", "must begin with redis://"),
        ("redis://", "needs a host"),
        ("redis://one:x", "cannot read the address 'one:x'"),
        ("redis://one,two", "speaks to one server, got 2: one, two"),
        ("redis://one/first", "number of a database, got 'first'"),
        ("redis://one?password=secret", "not 'password'; give it as an option"),
        ("redis://one?timeout=soon", "must be seconds, got 'soon'"),
        ("odd://user:secret@one", "got '…@one'"),
    ],
)
def test_a_wrong_location_is_explained(location: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        RedisMetadata(location)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pasword": "secret"}, r"no options \['pasword'\]"),
        ({"password": ["secret"]}, "password .* must be text"),
        ({"prefix": ""}, "prefix .* must be text that is not empty"),
        ({"timeout": 0}, "timeout .* above 0"),
        ({"timeout": True}, "timeout .* above 0"),
        ({"ca_file": "ca.pem"}, "without TLS; begin it with rediss://"),
    ],
)
def test_wrong_options_are_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words) as raised:
        RedisMetadata("redis://127.0.0.1", options)
    assert "secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ca_file": "no-such-ca.pem"}, "no-such-ca.pem"),
        ({"cert_file": "c.pem"}, "both cert_file and key_file"),
    ],
)
def test_wrong_certificates_are_explained(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        RedisMetadata("rediss://127.0.0.1", options)


def test_nobody_there_is_an_error_that_says_where() -> None:
    [port] = free_ports(1)
    with pytest.raises(ConfigError, match=rf"Redis at 127\.0\.0\.1:{port}"):
        RedisMetadata(f"redis://127.0.0.1:{port}", {"timeout": 2})


def test_without_the_library_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"pip install 'shoal\[redis\]'"):
        RedisMetadata("redis://127.0.0.1")


def fill(store: RedisMetadata, done: list[int]) -> None:
    for number in range(1, 100):
        store.apply([Write("t", b"newest", b"%d" % number), Write("t", b"%d" % number, bytes(1 << 18))])
        done.append(number)


def calls(store: RedisMetadata) -> list[Callable[[], object]]:
    return [
        lambda: store.get("t", b"k"),
        lambda: store.apply([Write("t", b"k", b"v")]),
        lambda: store.put_if_absent("t", b"k", b"v"),
        lambda: store.items("t"),
        lambda: store.acquire("head", b"one", 1),
        lambda: store.holder("head"),
    ]
