"""The contract of Metadata, for whoever writes one.

class TestMine(MetadataContract):
    @pytest.fixture
    def metadata_class(self):
        return MyMetadata
"""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shoal.errors import ConfigError
from shoal.interfaces.metadata import Metadata, SupportsLeases, Write
from shoal.testing import metadata_child

OpenMetadata = Callable[..., Metadata]

_SECONDS_ROUNDED_UP = 10  # what SupportsLeases allows a store to add to the length of a lease

_KEYS = st.binary(max_size=3) | st.sampled_from([b"\xff", b"\xff\xff", b"a", b"ab", b"b"])
_WRITES = st.builds(Write, st.sampled_from(["one", "two"]), _KEYS, st.none() | st.binary(max_size=8))
_STEPS = st.one_of(
    st.tuples(st.just("apply"), st.lists(_WRITES, max_size=4)),
    st.tuples(st.just("put_if_absent"), _WRITES.filter(lambda write: write.value is not None)),
    st.tuples(st.just("get"), _WRITES),
    st.tuples(st.just("items"), _KEYS),
    st.tuples(st.just("reopen"), st.none()),
)


class MetadataContract:
    """What every metadata store must do. Tests of durability skip themselves for one that is not durable."""

    @pytest.fixture
    def metadata_class(self) -> type[Metadata]:
        """Return the class under test."""
        raise NotImplementedError("return the class under test")

    @pytest.fixture
    def new_location(self, tmp_path: Path) -> Callable[[], str]:
        """Return a function that gives the location of a store that does not exist yet."""
        numbers = itertools.count()
        return lambda: str(tmp_path / f"store-{next(numbers)}")

    @pytest.fixture
    def open_metadata(self, metadata_class: type[Metadata]) -> Iterator[OpenMetadata]:
        """Return a function that opens stores; all are closed at the end."""
        opened: list[Metadata] = []

        def make(location: str) -> Metadata:
            opened.append(metadata_class(location))
            return opened[-1]

        yield make
        for store in opened:
            store.close()

    @pytest.fixture
    def metadata(self, open_metadata: OpenMetadata, new_location: Callable[[], str]) -> Metadata:
        """Return an empty store."""
        return open_metadata(new_location())

    def test_what_was_set_is_there(self, metadata: Metadata) -> None:
        metadata.apply(
            [Write("t", b"k", b"v"), Write("t", b"", b""), Write("other", b"k", bytes(range(256)))]
        )
        assert metadata.get("t", b"k") == b"v"
        assert metadata.get("t", b"") == b""
        assert metadata.get("other", b"k") == bytes(range(256))
        assert metadata.get("t", b"absent") is None
        assert metadata.get("absent", b"k") is None

    def test_none_deletes(self, metadata: Metadata) -> None:
        metadata.apply([Write("t", b"k", b"v")])
        metadata.apply([Write("t", b"k", None), Write("t", b"absent", None)])
        assert metadata.get("t", b"k") is None
        assert metadata.items("t") == []

    def test_writes_happen_in_order(self, metadata: Metadata) -> None:
        metadata.apply([Write("t", b"k", b"1"), Write("t", b"k", None), Write("t", b"k", b"2")])
        assert metadata.get("t", b"k") == b"2"

    def test_many_writes_are_applied_together(self, metadata: Metadata) -> None:
        keys = [number.to_bytes(2, "big") for number in range(1000)]
        metadata.apply([Write("t", key, key) for key in keys] + [Write("t", key, None) for key in keys[::2]])
        assert metadata.items("t") == [(key, key) for key in keys[1::2]]
        metadata.apply([])
        assert len(metadata.items("t")) == 500

    def test_put_if_absent_sets_once(self, metadata: Metadata) -> None:
        assert metadata.put_if_absent("t", b"k", b"first")
        assert not metadata.put_if_absent("t", b"k", b"second")
        assert metadata.get("t", b"k") == b"first"
        assert metadata.put_if_absent("other", b"k", b"third")

    def test_items_come_sorted_and_by_prefix(self, metadata: Metadata) -> None:
        keys = [b"", b"a", b"a\x00", b"a\xff", b"a\xff\xff", b"b", b"\xff", b"\xff\xff", b"\xff\xffz"]
        metadata.apply([Write("t", key, key + b"!") for key in reversed(keys)])
        for prefix in (b"", b"a", b"a\xff", b"\xff", b"\xff\xff", b"none"):
            expected = sorted((key, key + b"!") for key in keys if key.startswith(prefix))
            assert metadata.items("t", prefix) == expected

    def test_a_bad_write_undoes_those_before_it(self, metadata: Metadata) -> None:
        metadata.apply([Write("t", b"old", b"1")])
        bad = Write("t", b"bad", object())  # type: ignore[arg-type]
        with pytest.raises((TypeError, ValueError)):
            metadata.apply([Write("t", b"new", b"2"), Write("t", b"old", None), bad])
        assert metadata.items("t") == [(b"old", b"1")]

    def test_one_thread_of_many_wins(self, metadata: Metadata) -> None:
        won: list[int] = []
        start = threading.Barrier(8)

        def work(number: int) -> None:
            start.wait()
            for key in range(50):
                if metadata.put_if_absent("t", bytes([key]), bytes([number])):
                    won.append(key)
                metadata.apply([Write("count", bytes([number, key]), b"")])

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(won) == list(range(50))
        assert len(metadata.items("count")) == 400

    def test_a_closed_store_says_so(self, metadata: Metadata) -> None:
        metadata.close()
        metadata.close()
        for call in (
            lambda: metadata.get("t", b""),
            lambda: metadata.apply([Write("t", b"", b"")]),
            lambda: metadata.put_if_absent("t", b"", b""),
            lambda: metadata.items("t"),
        ):
            with pytest.raises(ValueError, match="closed"):
                call()

    def test_an_unknown_option_is_refused(
        self, metadata_class: type[Metadata], new_location: Callable[[], str]
    ) -> None:
        with pytest.raises(ConfigError, match="no_such_option"):
            metadata_class(new_location(), {"no_such_option": 1})

    def test_random_walk_agrees_with_the_model(
        self, open_metadata: OpenMetadata, new_location: Callable[[], str], metadata_class: type[Metadata]
    ) -> None:
        @hypothesis_settings(max_examples=60, deadline=None)
        @given(steps=st.lists(_STEPS, max_size=30))
        def walk(steps: list[tuple[str, object]]) -> None:
            location = new_location()
            store = open_metadata(location)
            model: dict[tuple[str, bytes], bytes] = {}
            for kind, what in steps:
                if kind == "apply":
                    assert isinstance(what, list)
                    store.apply(what)
                    for write in what:
                        if write.value is None:
                            model.pop((write.table, write.key), None)
                        else:
                            model[write.table, write.key] = write.value
                elif kind == "reopen":
                    if metadata_class.durable:
                        store.close()
                        store = open_metadata(location)
                elif kind == "items":
                    assert isinstance(what, bytes)
                    expected = sorted(
                        (k, v) for (t, k), v in model.items() if t == "one" and k.startswith(what)
                    )
                    assert store.items("one", what) == expected
                else:
                    assert isinstance(what, Write)
                    known = model.get((what.table, what.key))
                    if kind == "get":
                        assert store.get(what.table, what.key) == known
                    else:
                        assert what.value is not None
                        assert store.put_if_absent(what.table, what.key, what.value) == (known is None)
                        model.setdefault((what.table, what.key), what.value)
            store.close()

        walk()

    def test_a_killed_writer_loses_nothing_that_it_was_promised(
        self, metadata_class: type[Metadata], open_metadata: OpenMetadata, new_location: Callable[[], str]
    ) -> None:
        if not metadata_class.durable:
            pytest.skip("the store is not durable")
        location = new_location()
        where = (metadata_class.__module__, metadata_class.__qualname__, location)
        for _ in range(3):
            with subprocess.Popen(
                [sys.executable, "-m", metadata_child.__name__, *where], stdout=subprocess.PIPE, text=True
            ) as writer:
                assert writer.stdout is not None
                promised = [int(writer.stdout.readline()) for _ in range(100)][-1]
                writer.send_signal(signal.SIGKILL)
                rest = writer.stdout.read().splitlines()
            # The last line may have been cut short by the kill.
            promised = max([promised, *(int(line) for line in rest[:-1])])
            store = open_metadata(location)
            left, right = store.items("left"), store.items("right")
            assert [key for key, _ in left] == [key for key, _ in right]
            assert len(left) > promised
            store.close()

    def test_two_who_share_a_store_see_each_other(
        self, metadata_class: type[Metadata], open_metadata: OpenMetadata, new_location: Callable[[], str]
    ) -> None:
        if not metadata_class.durable:
            pytest.skip("the store is not shared")
        location = new_location()
        one, two = open_metadata(location), open_metadata(location)
        one.apply([Write("t", b"k", b"1")])
        assert two.get("t", b"k") == b"1"
        assert not two.put_if_absent("t", b"k", b"2")
        assert two.put_if_absent("t", b"l", b"2")
        assert one.items("t") == [(b"k", b"1"), (b"l", b"2")]

    @pytest.fixture
    def leases(self, metadata: Metadata) -> SupportsLeases:
        """Return an empty store as one that lends names; skip for one that does not."""
        if not isinstance(metadata, SupportsLeases):
            pytest.skip("the store has no leases")
        return metadata

    def test_a_lease_has_one_owner(self, leases: SupportsLeases) -> None:
        assert leases.holder("head") is None
        assert leases.acquire("head", b"one", 60)
        assert leases.holder("head") == b"one"
        assert not leases.acquire("head", b"two", 60)
        assert leases.acquire("head", b"one", 60)
        assert leases.acquire("other", b"two", 60)
        assert leases.holder("head") == b"one"

    def test_only_the_owner_renews_and_releases(self, leases: SupportsLeases) -> None:
        assert not leases.renew("head", b"one", 60)
        assert not leases.release("head", b"one")
        assert leases.acquire("head", b"one", 60)
        assert not leases.renew("head", b"two", 60)
        assert not leases.release("head", b"two")
        assert leases.renew("head", b"one", 60)
        assert leases.release("head", b"one")
        assert leases.holder("head") is None
        assert not leases.renew("head", b"one", 60)
        assert leases.acquire("head", b"two", 60)

    def test_a_lease_runs_out_unless_it_is_renewed(self, leases: SupportsLeases) -> None:
        assert leases.acquire("short", b"one", 1)
        assert leases.acquire("renewed", b"one", 1)
        assert leases.renew("renewed", b"one", 60)
        deadline = time.monotonic() + 1 + _SECONDS_ROUNDED_UP
        while not leases.acquire("short", b"two", 60):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert not leases.renew("short", b"one", 60)
        assert leases.holder("short") == b"two"
        assert leases.holder("renewed") == b"one"

    def test_one_thread_of_many_gets_the_lease(self, leases: SupportsLeases) -> None:
        got: list[tuple[int, int]] = []
        start = threading.Barrier(8)

        def work(number: int) -> None:
            start.wait()
            for name in range(10):
                if leases.acquire(str(name), b"%d" % number, 60):
                    got.append((name, number))

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(name for name, _ in got) == list(range(10))
        assert all(leases.holder(str(name)) == b"%d" % number for name, number in got)

    @pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), True, "1"])
    def test_a_lease_of_no_length_is_refused(self, leases: SupportsLeases, seconds: float) -> None:
        with pytest.raises(ValueError, match="seconds"):
            leases.acquire("head", b"one", seconds)
        assert leases.holder("head") is None

    def test_a_closed_store_lends_nothing(self, leases: SupportsLeases, metadata: Metadata) -> None:
        metadata.close()
        for call in (
            lambda: leases.acquire("head", b"one", 1),
            lambda: leases.renew("head", b"one", 1),
            lambda: leases.release("head", b"one"),
            lambda: leases.holder("head"),
        ):
            with pytest.raises(ValueError, match="closed"):
                call()

    def test_leases_outlive_who_took_them(
        self, metadata_class: type[Metadata], open_metadata: OpenMetadata, new_location: Callable[[], str]
    ) -> None:
        if not metadata_class.durable or not issubclass(metadata_class, SupportsLeases):
            pytest.skip("the store is not shared, or has no leases")
        location = new_location()
        one, two = open_metadata(location), open_metadata(location)
        assert isinstance(one, SupportsLeases)
        assert isinstance(two, SupportsLeases)
        assert one.acquire("head", b"one", 60)
        one.close()
        assert not two.acquire("head", b"two", 60)
        assert two.renew("head", b"one", 60)
        assert two.release("head", b"one")
