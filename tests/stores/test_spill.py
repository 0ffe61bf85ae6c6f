"""A disk behind the memory: what goes there, who finds it, and what happens when it is full."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shoal.errors import ConfigError, ObjectStoreFull
from shoal.interfaces.store import StoreSettings
from shoal.stores.heap import HeapStore
from shoal.stores.shm import ShmStore
from shoal.stores.spill import SpillStore
from shoal.testing.store_child import ChildStore
from shoal.testing.stores import holds, oid, put, read

MIB = 1 << 20
CAPACITY = 8 * MIB
Open = Callable[..., SpillStore]


def settings(memory: Path, disk: Path, client: str = "one", **options: Any) -> StoreSettings:
    return StoreSettings(
        folder=str(memory), capacity=CAPACITY, client=client, spill_folder=str(disk), options=options
    )


@pytest.fixture
def open_store(memory: Path, tmp_path: Path) -> Iterator[Open]:
    opened: list[SpillStore] = []

    def make(client: str = "one", **options: Any) -> SpillStore:
        opened.append(SpillStore(settings(memory, tmp_path / "disk", client, **options)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


def in_memory(memory: Path) -> list[int]:
    return sorted(int(name, 16) for name in os.listdir(memory) if "." not in name)


def on_disk(tmp_path: Path) -> list[int]:
    return sorted(int(name, 16) for name in os.listdir(tmp_path / "disk"))


def test_more_than_fits_is_kept(open_store: Open) -> None:
    store = open_store()
    for number in range(40):
        put(store, oid(number), bytes([number]) * MIB)
    for number in range(40):
        assert read(store, oid(number)) == bytes([number]) * MIB
    found = store.statistics()
    assert found.objects == 40
    assert found.used <= CAPACITY
    assert found.spilled_objects >= 32
    assert found.spilled >= 32 * MIB


def test_what_was_not_used_for_longest_goes_first(open_store: Open, memory: Path, tmp_path: Path) -> None:
    store = open_store()
    for number in range(6):
        put(store, oid(number), bytes(MIB))
    assert on_disk(tmp_path) == []
    read(store, oid(0))
    put(store, oid(6), bytes(MIB))
    assert on_disk(tmp_path) == [1]
    assert in_memory(memory) == [0, 2, 3, 4, 5, 6]


def test_what_is_being_viewed_stays_in_memory(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    put(store, oid(0), b"x" * MIB)
    view = store.get(oid(0))
    for number in range(1, 20):
        put(store, oid(number), bytes(MIB))
    assert 0 not in on_disk(tmp_path)
    assert holds(view, b"x" * MIB)


def test_reading_a_spilled_object_takes_no_memory(open_store: Open) -> None:
    store = open_store()
    for number in range(20):
        put(store, oid(number), bytes([number]) * MIB)
    before = store.statistics()
    views = [store.get(oid(number)) for number in range(20)]
    assert all(holds(view, bytes([number]) * MIB) for number, view in enumerate(views))
    assert store.statistics() == before


def test_views_of_spilled_objects_survive_their_deletion(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    for number in range(20):
        put(store, oid(number), bytes([number]) * MIB)
    view = store.get(oid(0))
    assert store.delete(oid(0))
    assert 0 not in on_disk(tmp_path)
    assert store.get(oid(0)) is None
    assert holds(view, bytes(MIB))


def test_other_processes_find_what_was_spilled(open_store: Open, memory: Path, tmp_path: Path) -> None:
    store = open_store()
    put(store, oid(0), b"x" * 1000)
    child = ChildStore(SpillStore, settings(memory, tmp_path / "disk", "child"))
    child.ask("put", oid(50).hex(), "ab" * 1000)
    for number in range(1, 20):
        put(store, oid(number), bytes(MIB))
    assert 0 in on_disk(tmp_path)
    assert child.ask("get", oid(0).hex()) == (b"x" * 1000).hex()
    assert child.ask("create", oid(0).hex(), "00") == "ValueError"
    assert child.ask("delete", oid(0).hex()) is True
    assert store.get(oid(0)) is None
    child.kill()


def test_relief_moves_objects_out_of_memory(open_store: Open, memory: Path) -> None:
    store = open_store()
    for number in range(4):
        put(store, oid(number), bytes([number]) * MIB)
    assert store.relieve(3 * MIB) >= 3 * MIB
    assert store.statistics().used + store.statistics().recycled <= 2 * MIB
    assert in_memory(memory) == [3]
    assert [read(store, oid(number)) for number in range(4)] == [bytes([n]) * MIB for n in range(4)]


def test_an_object_larger_than_the_store_spills_nothing(open_store: Open, tmp_path: Path) -> None:
    store = open_store()
    put(store, oid(0), bytes(MIB))
    with pytest.raises(ObjectStoreFull, match="can never fit"):
        store.create(oid(1), CAPACITY + 1)
    assert on_disk(tmp_path) == []


def test_a_file_for_sending_is_found_on_disk(open_store: Open) -> None:
    store = open_store()
    for number in range(20):
        put(store, oid(number), bytes([number]) * MIB)
    for number in (0, 19):
        opened = store.open_file(oid(number))
        assert opened is not None
        assert os.pread(opened[0], opened[2], opened[1]) == bytes([number]) * MIB
        os.close(opened[0])
    assert store.open_file(oid(99)) is None


def test_what_is_written_by_its_file_makes_room_and_is_spilled_as_well(open_store: Open) -> None:
    store = open_store()
    for number in range(20):
        made = store.create_file(oid(number), MIB)
        assert made is not None
        assert os.pwrite(made[0], bytes([number]) * MIB, made[1]) == MIB
        os.close(made[0])
        store.seal(oid(number))
    assert store.statistics().spilled_objects > 0
    for number in range(20):
        found = store.get(oid(number))
        assert found is not None
        assert bytes(found) == bytes([number]) * MIB


def test_a_dead_process_leaves_no_half_written_file(open_store: Open, tmp_path: Path) -> None:
    from shoal.stores.accounts import client_hash

    store = open_store()
    half = tmp_path / "disk" / f"t.{client_hash('dead')}.{oid(1).hex()}"
    half.write_bytes(b"half")
    store.sweep("nobody")
    assert half.exists()
    store.sweep("dead")
    assert not half.exists()


@pytest.mark.parametrize("inner", ["heap", HeapStore, "shoal.stores.heap:HeapStore"])
def test_another_store_may_be_inside(open_store: Open, inner: Any) -> None:
    store = open_store(inner=inner, high_water=1.0)
    for number in range(20):
        put(store, oid(number), bytes([number]) * MIB)
    assert [read(store, oid(number)) for number in range(20)] == [bytes([n]) * MIB for n in range(20)]
    assert store.statistics().spilled_objects == 12
    assert store.relieve(MIB) == MIB


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"inner": "none"}, "inner"),
        ({"inner": int}, "inner"),
        ({"inner": "os:getcwd"}, "inner"),
        ({"high_water": 0}, "high_water"),
        ({"high_water": 1.1}, "high_water"),
        ({"high_water": "most"}, "high_water"),
        ({"inner_options": {"x": 1}}, "no options"),
        ({"colour": 1}, "colour"),
    ],
)
def test_bad_options_are_refused(open_store: Open, options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigError, match=complaint):
        open_store(**options)


def test_a_disk_is_needed(memory: Path) -> None:
    with pytest.raises(ConfigError, match="spill_folder"):
        SpillStore(StoreSettings(folder=str(memory), capacity=CAPACITY, client="one"))


FULL_DISK = """
import os, resource, sys
from shoal.errors import OutOfDisk
from shoal.interfaces.store import StoreSettings
from shoal.stores.spill import SpillStore
folder, disk = sys.argv[1:]
store = SpillStore(StoreSettings(folder=folder, capacity=8 << 20, client="one", spill_folder=disk,
                                 options={"inner": "heap"}))
def put(number, size):
    name = number.to_bytes(20, "big")
    block = store.create(name, size)
    block[:] = bytes([number]) * size
    block.release()
    store.seal(name)
LIMIT = 1 << 19
resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, resource.RLIM_INFINITY))
put(1, 3 << 20)
put(2, 3 << 20)
put(3, 2 << 20)  # beyond the mark but within the memory: the disk is not needed
try:
    put(4, 1 << 20)
except OutOfDisk as error:
    print(error.errno, "lost" in str(error), sorted(os.listdir(disk)))
for number, size in ((1, 3 << 20), (2, 3 << 20), (3, 2 << 20)):
    print(bytes(store.get(number.to_bytes(20, "big"))) == bytes([number]) * size)
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
put(4, 1 << 20)
print(len(store.ids()), len(os.listdir(disk)))
"""


def test_a_full_disk_loses_nothing_and_is_tried_again(memory: Path, tmp_path: Path) -> None:
    """The real condition, in a process of its own: the system refuses to let a file grow."""
    ran = subprocess.run(
        [sys.executable, "-c", FULL_DISK, str(memory), str(tmp_path / "disk")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.splitlines() == ["27 True []", "True", "True", "True", "4 1"]


def test_shared_memory_is_the_default(open_store: Open) -> None:
    assert type(open_store().inner) is ShmStore
