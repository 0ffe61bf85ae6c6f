"""The contract of ObjectStore, for whoever writes one.

Subclass it in a test module, give `store_class`, and override what your store needs:

    class TestMine(ObjectStoreContract):
        @pytest.fixture
        def store_class(self):
            return MyStore
"""

from __future__ import annotations

import gc
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shoal.errors import ConfigError, ObjectStoreFull
from shoal.interfaces.store import ObjectStore, StoreSettings, SupportsFiles, SupportsRelief
from shoal.stores.heap import HeapStore
from shoal.testing.store_child import ChildStore

KIB = 1 << 10
CAPACITY = 1 << 20
OpenStore = Callable[..., ObjectStore]


def oid(number: int) -> bytes:
    """Return an object identifier."""
    return number.to_bytes(20, "big")


def put(store: ObjectStore, object_id: bytes, data: bytes) -> None:
    """Store bytes as a user of the store does."""
    block = store.create(object_id, len(data))
    block[:] = data
    block.release()
    store.seal(object_id)


def read(store: ObjectStore, object_id: bytes) -> bytes | None:
    """Return an object's bytes as they are now."""
    view = store.get(object_id)
    return None if view is None else bytes(view)


def holds(view: memoryview | None, data: bytes) -> bool:
    """Tell whether a view shows these bytes."""
    return view is not None and bytes(view) == data


class ObjectStoreContract:
    """What every store must do. Tests for shared stores skip themselves for one that is not."""

    options: ClassVar[dict[str, Any]] = {}

    @pytest.fixture
    def store_class(self) -> type[ObjectStore]:
        """Return the class under test."""
        raise NotImplementedError("return the store's class")

    @pytest.fixture
    def base(self, tmp_path: Path) -> Path:
        """Return an empty folder of a kind that the store can use."""
        return tmp_path

    def read_raw(self, settings: StoreSettings, object_id: bytes) -> bytes | None:
        """Read a sealed object without calling the store. A store wrong in both directions is found out by this."""
        pytest.skip("this store gives no way to read its bytes around it")

    @pytest.fixture
    def settings_of(self, base: Path) -> Callable[..., StoreSettings]:
        """Return a function that makes settings for one process of the node."""

        def make(client: str = "one", capacity: int = CAPACITY, node: str = "node") -> StoreSettings:
            folder, spill = base / node, base / f"{node}-disk"
            folder.mkdir(exist_ok=True)
            spill.mkdir(exist_ok=True)
            return StoreSettings(
                folder=str(folder),
                capacity=capacity,
                client=client,
                spill_folder=str(spill),
                options=self.options,
            )

        return make

    @pytest.fixture
    def open_store(
        self, store_class: type[ObjectStore], settings_of: Callable[..., StoreSettings]
    ) -> Iterator[OpenStore]:
        """Return a function that opens stores; all are closed at the end."""
        opened: list[ObjectStore] = []

        def make(client: str = "one", capacity: int = CAPACITY, node: str = "node") -> ObjectStore:
            opened.append(store_class(settings_of(client, capacity, node)))
            return opened[-1]

        yield make
        for store in opened:
            store.close()

    @pytest.fixture
    def store(self, open_store: OpenStore) -> ObjectStore:
        """Return an empty store."""
        return open_store()

    @pytest.fixture
    def child(
        self, store_class: type[ObjectStore], settings_of: Callable[..., StoreSettings]
    ) -> Iterator[Callable[..., ChildStore]]:
        """Return a function that opens the same store in another process."""
        if not store_class.shared:
            pytest.skip("the store is not shared between processes")
        children: list[ChildStore] = []

        def make(client: str, capacity: int = CAPACITY) -> ChildStore:
            children.append(ChildStore(store_class, settings_of(client, capacity)))
            return children[-1]

        yield make
        for each in children:
            each.wait()

    @pytest.fixture
    def full_store(self, store: ObjectStore) -> ObjectStore:
        """Return a store without room for a quarter of its capacity, all of it unsealed, so that nothing can go."""
        for number in itertools.count(1000):
            try:
                store.create(oid(number), CAPACITY // 8)
            except ObjectStoreFull:
                return store
        raise AssertionError

    # One process

    @pytest.mark.parametrize("size", [0, 1, 63, 64, 4095, 4096, 4097, 100_000])
    def test_what_was_written_is_read(self, store: ObjectStore, size: int) -> None:
        data = bytes(i * 7 % 251 for i in range(size))
        put(store, oid(1), data)
        assert read(store, oid(1)) == data

    def test_the_bytes_are_where_they_should_be(
        self, store: ObjectStore, settings_of: Callable[..., StoreSettings]
    ) -> None:
        put(store, oid(1), b"around the interface")
        assert self.read_raw(settings_of(), oid(1)) == b"around the interface"
        store.delete(oid(1))
        assert self.read_raw(settings_of(), oid(1)) is None

    def test_nothing_is_visible_before_seal(self, store: ObjectStore) -> None:
        store.create(oid(1), 10)
        assert store.get(oid(1)) is None
        assert not store.contains(oid(1))
        assert store.ids() == []
        store.seal(oid(1))
        assert store.contains(oid(1))
        assert store.ids() == [oid(1)]

    def test_views_are_read_only(self, store: ObjectStore) -> None:
        put(store, oid(1), b"abc")
        view = store.get(oid(1))
        assert view is not None
        assert view.readonly
        with pytest.raises(TypeError):
            view[0] = 1

    def test_objects_begin_on_a_cache_line(self, store: ObjectStore) -> None:
        numpy = pytest.importorskip("numpy")
        if not type(store).shared:
            pytest.skip("ordinary memory is aligned as the allocator likes")
        put(store, oid(1), bytes(1000))
        view = store.get(oid(1))
        assert numpy.frombuffer(view, dtype=numpy.uint8).ctypes.data % 64 == 0

    def test_an_identifier_exists_once(self, store: ObjectStore) -> None:
        store.create(oid(1), 10)
        with pytest.raises(ValueError, match="exists"):
            store.create(oid(1), 10)
        store.seal(oid(1))
        with pytest.raises(ValueError, match="exists"):
            store.create(oid(1), 10)
        assert store.delete(oid(1))
        put(store, oid(1), b"again")
        assert read(store, oid(1)) == b"again"

    def test_seal_and_abort_need_a_created_object(self, store: ObjectStore) -> None:
        for action in (store.seal, store.abort):
            with pytest.raises(KeyError):
                action(oid(1))
        put(store, oid(1), b"x")
        for action in (store.seal, store.abort):
            with pytest.raises(KeyError):
                action(oid(1))
        assert read(store, oid(1)) == b"x"

    def test_abort_leaves_nothing(self, store: ObjectStore) -> None:
        before = store.statistics().used
        for _ in range(50):  # of a quarter each: any that stayed would fill the store
            block = store.create(oid(1), CAPACITY // 4)
            block.release()
            store.abort(oid(1))
        assert store.statistics().used == before
        assert store.ids() == []

    def test_delete_tells_whether_it_was_there(self, store: ObjectStore) -> None:
        put(store, oid(1), b"x")
        assert store.delete(oid(1))
        assert not store.delete(oid(1))
        assert store.get(oid(1)) is None
        assert not store.contains(oid(1))

    def test_an_unsealed_object_cannot_be_deleted(self, store: ObjectStore) -> None:
        store.create(oid(1), 1).release()
        assert not store.delete(oid(1))
        store.seal(oid(1))
        assert store.contains(oid(1))

    def test_views_survive_delete_and_what_comes_after(self, store: ObjectStore) -> None:
        data = bytes(range(256)) * 512
        put(store, oid(1), data)
        view = store.get(oid(1))
        part = store.get(oid(1))[1000:2000]  # type: ignore[index]
        store.delete(oid(1))
        for number in range(2, 12):
            put(store, oid(number), b"\xff" * len(data))
            store.delete(oid(number))
        assert holds(view, data)
        del view
        for number in range(2, 12):
            put(store, oid(number), b"\xff" * len(data))
            store.delete(oid(number))
        assert part == data[1000:2000]

    def test_room_comes_back(self, store: ObjectStore) -> None:
        before = store.statistics().used
        for number in range(100):
            put(store, oid(number), bytes(CAPACITY // 4))
            assert store.delete(oid(number))
        assert store.statistics().used == before

    def test_room_comes_back_when_the_last_view_dies(self, store: ObjectStore) -> None:
        gc.freeze()  # what is there already need not be looked through a hundred times
        try:
            for number in range(100):
                put(store, oid(number), bytes(CAPACITY // 4))
                view = store.get(oid(number))
                assert store.delete(oid(number))
                del view
                gc.collect()
        finally:
            gc.unfreeze()

    def test_sizes_may_differ(self, store: ObjectStore) -> None:
        for number in range(200):
            put(store, oid(number), bytes(CAPACITY // 2 // (number % 7 + 1)))
            assert store.delete(oid(number))

    def test_what_can_never_fit_says_so(self, store: ObjectStore) -> None:
        with pytest.raises(ObjectStoreFull, match="can never fit") as caught:
            store.create(oid(1), CAPACITY + 1)
        assert f"{CAPACITY + 1:,}" in str(caught.value)
        assert f"{CAPACITY:,}" in str(caught.value)
        put(store, oid(1), bytes(CAPACITY // 2))

    def test_a_full_store_refuses_without_a_trace(self, full_store: ObjectStore) -> None:
        before = full_store.statistics()
        with pytest.raises(ObjectStoreFull, match="no room"):
            full_store.create(oid(1), CAPACITY // 4)
        assert full_store.statistics() == before
        assert full_store.get(oid(1)) is None
        with pytest.raises(KeyError):
            full_store.seal(oid(1))

    def test_statistics_count(self, store: ObjectStore) -> None:
        put(store, oid(1), bytes(100 * KIB))
        store.create(oid(2), 100 * KIB)
        found = store.statistics()
        assert found.objects == 1
        assert 200 * KIB <= found.used + found.spilled <= 300 * KIB
        assert found.capacity == CAPACITY

    def test_a_closed_store_says_so(self, open_store: OpenStore) -> None:
        store = open_store()
        put(store, oid(1), b"x")
        view = store.get(oid(1))
        store.close()
        store.close()
        assert holds(view, b"x")
        for action in (store.get, store.contains, store.delete, store.seal, store.abort):
            with pytest.raises(ValueError, match="closed"):
                action(oid(1))
        with pytest.raises(ValueError, match="closed"):
            store.create(oid(2), 1)

    def test_unknown_options_are_refused(self, store_class: type[ObjectStore], base: Path) -> None:
        with pytest.raises(ConfigError, match="no_such_option"):
            store_class(
                StoreSettings(folder=str(base), capacity=CAPACITY, client="x", options={"no_such_option": 1})
            )

    def test_threads_do_not_disturb_each_other(self, open_store: OpenStore) -> None:
        store = open_store(capacity=64 * CAPACITY)
        wrong: list[int] = []

        def work(first: int) -> None:
            for number in range(first, first + 100):
                data = number.to_bytes(4, "big") * (number % 13 * 1000)
                put(store, oid(number), data)
                view = store.get(oid(number))
                if not holds(view, data) or not store.delete(oid(number)) or not holds(view, data):
                    wrong.append(number)

        threads = [threading.Thread(target=work, args=(i * 1000,)) for i in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []
        assert store.ids() == []

    def test_random_walk_agrees_with_the_model(self, open_store: OpenStore) -> None:
        @hypothesis_settings(max_examples=40, deadline=None)
        @given(steps=st.lists(_STEPS, max_size=60))
        def walk(steps: list[tuple[str, int, int]]) -> None:
            store = open_store(node=f"walk-{next(_walks)}")
            model = HeapStore(StoreSettings(folder="", capacity=CAPACITY, client="model"))
            views: list[tuple[memoryview, bytes]] = []
            for step in steps:
                expected, found = outcome(model, step, []), outcome(store, step, views)
                assert expected == found, step
                assert all(holds(view, data) for view, data in views), step
            assert store.ids() == model.ids()
            assert [read(store, each) for each in store.ids()] == [read(model, each) for each in model.ids()]
            views.clear()
            for number in range(4):
                outcome(store, ("abort", number, 0), views)
                outcome(store, ("delete", number, 0), views)
            if isinstance(store, SupportsRelief):
                store.relieve(1)  # a store may notice only when asked that the last view has died
            assert store.statistics().used == 0
            store.close()

        walk()

    def test_what_is_written_by_its_file_is_an_object(self, store: ObjectStore) -> None:
        made = store.create_file(oid(1), 5) if isinstance(store, SupportsFiles) else None
        if made is None:
            pytest.skip("the store has no files")
        descriptor, offset = made
        os.pwrite(descriptor, b"bytes", offset)
        os.close(descriptor)
        assert not store.contains(oid(1))
        store.seal(oid(1))
        found = store.get(oid(1))
        assert found is not None
        assert bytes(found) == b"bytes"
        assert isinstance(store, SupportsFiles)
        opened = store.open_file(oid(1))
        assert opened is not None
        assert os.pread(opened[0], opened[2], opened[1]) == b"bytes"
        os.close(opened[0])

    def test_relief_frees_what_it_says(self, store: ObjectStore) -> None:
        if not isinstance(store, SupportsRelief):
            pytest.skip("the store has nothing to give up")
        for number in range(2):
            put(store, oid(number), bytes(CAPACITY // 4))
        store.delete(oid(0))
        before = store.statistics()
        freed = store.relieve(CAPACITY // 8)
        after = store.statistics()
        assert freed >= CAPACITY // 8
        assert before.used + before.recycled - after.used - after.recycled == freed
        assert read(store, oid(1)) == bytes(CAPACITY // 4)

    # Several processes

    def test_others_see_what_was_sealed(self, store: ObjectStore, child: Callable[..., ChildStore]) -> None:
        put(store, oid(1), b"from the parent")
        other = child("other")
        assert other.ask("get", oid(1).hex()) == b"from the parent".hex()
        other.ask("put", oid(2).hex(), b"from the child".hex())
        assert read(store, oid(2)) == b"from the child"
        assert store.ids() == [oid(1), oid(2)]
        other.ask("create", oid(3).hex(), "ff")
        assert store.get(oid(3)) is None

    def test_the_room_is_shared(self, store: ObjectStore, child: Callable[..., ChildStore]) -> None:
        other = child("other")
        for number in range(100, 200):
            if other.ask("create", oid(number).hex(), "00" * (CAPACITY // 8)) == "ObjectStoreFull":
                break
        else:
            raise AssertionError
        with pytest.raises(ObjectStoreFull):
            store.create(oid(1), CAPACITY // 4)
        assert store.statistics().used == other.ask("used") > CAPACITY // 2

    def test_a_view_elsewhere_survives_delete_and_what_comes_after(
        self, store: ObjectStore, child: Callable[..., ChildStore]
    ) -> None:
        data = bytes(range(256)) * 64
        put(store, oid(1), data)
        other = child("other")
        assert other.ask("hold", oid(1).hex()) == data.hex()
        assert store.delete(oid(1))
        assert other.ask("get", oid(1).hex()) is None
        for number in range(2, 10):
            put(store, oid(number), b"\xff" * len(data))
            store.delete(oid(number))
        assert other.ask("held", oid(1).hex()) == data.hex()

    def test_room_comes_back_when_a_view_elsewhere_dies(
        self, store: ObjectStore, child: Callable[..., ChildStore]
    ) -> None:
        other = child("other")
        for number in range(20):
            put(store, oid(number), b"x" * (CAPACITY // 4))
            other.ask("hold", oid(number).hex())
            assert store.delete(oid(number))
            other.ask("let_go", oid(number).hex())

    def test_any_process_may_delete(self, store: ObjectStore, child: Callable[..., ChildStore]) -> None:
        other = child("other")
        for number in range(20):
            put(store, oid(number), b"x" * (CAPACITY // 4))
            view = store.get(oid(number)) if number == 0 else None
            assert other.ask("delete", oid(number).hex()) is True
            assert other.ask("delete", oid(number).hex()) is False
            assert store.get(oid(number)) is None
            assert view is None or view == b"x" * (CAPACITY // 4)
            del view
        put(store, oid(3), b"again")
        assert other.ask("get", oid(3).hex()) == b"again".hex()

    def test_sweep_removes_what_a_dead_process_left(
        self, store: ObjectStore, child: Callable[..., ChildStore]
    ) -> None:
        other = child("other")
        other.ask("put", oid(1).hex(), "ab" * 1000)
        other.ask("create", oid(2).hex(), "cd" * (CAPACITY // 4))
        other.ask("put", oid(3).hex(), "ef" * 1000)
        other.ask("delete", oid(3).hex())
        other.kill()
        store.sweep("other")
        assert store.ids() == [oid(1)]
        assert read(store, oid(1)) == b"\xab" * 1000
        left = store.statistics()
        assert 1000 <= left.used + left.spilled < 100 * KIB
        assert store.delete(oid(1))
        assert store.statistics().used == 0
        assert store.statistics().recycled == 0
        put(store, oid(2), bytes(CAPACITY // 2))

    def test_a_closed_process_leaves_its_sealed_objects(
        self, store: ObjectStore, child: Callable[..., ChildStore]
    ) -> None:
        other = child("other")
        other.ask("put", oid(1).hex(), "ab" * 1000)
        other.ask("create", oid(2).hex(), "cd" * 1000)
        other.ask("close")
        assert store.ids() == [oid(1)]
        assert store.delete(oid(1))
        assert store.statistics().used == 0


_walks = itertools.count()
_STEPS = st.tuples(
    st.sampled_from(
        ["create", "seal", "abort", "put", "get", "hold", "let_go", "delete", "contains", "relieve"]
    ),
    st.integers(0, 3),
    st.integers(0, 20_000),
)


def outcome(store: ObjectStore, step: tuple[str, int, int], views: list[tuple[memoryview, bytes]]) -> Any:
    """Take a step; return what it returned, or the kind of error that it raised."""
    try:
        return _take(store, step, views)
    except (KeyError, ValueError) as error:
        return type(error)


def _take(store: ObjectStore, step: tuple[str, int, int], views: list[tuple[memoryview, bytes]]) -> Any:
    kind, number, size = step
    object_id = oid(number)
    if kind == "create":
        block = store.create(object_id, size)
        block[:] = bytes([number]) * size
        return len(block)
    if kind == "put":
        return put(store, object_id, bytes([number + 10]) * size)
    if kind == "hold":
        view = store.get(object_id)
        if view is not None:
            views.append((view, bytes(view)))
        return view is not None
    if kind == "let_go":
        return views.clear()
    if kind == "relieve":
        if isinstance(store, SupportsRelief):
            store.relieve(size)
        return None
    if kind == "get":
        return read(store, object_id)
    return getattr(store, kind)(object_id)
