"""What is special about objects as files in shared memory: recycling, and what other processes can do to it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from shoal.errors import ConfigError, ObjectStoreFull
from shoal.interfaces.store import StoreSettings
from shoal.stores import shm
from shoal.stores.shm import ShmStore
from shoal.testing.store_child import ChildStore
from shoal.testing.stores import holds, oid, put, read

MIB = 1 << 20
CAPACITY = 16 * MIB
Open = Callable[..., ShmStore]


def settings(folder: Path, client: str, capacity: int = CAPACITY) -> StoreSettings:
    return StoreSettings(folder=str(folder), capacity=capacity, client=client)


@pytest.fixture
def open_store(memory: Path) -> Iterator[Open]:
    opened: list[ShmStore] = []

    def make(client: str = "one", capacity: int = CAPACITY) -> ShmStore:
        opened.append(ShmStore(settings(memory, client, capacity)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


@pytest.fixture
def child(memory: Path) -> Iterator[ChildStore]:
    other = ChildStore(ShmStore, settings(memory, "child"))
    yield other
    other.wait()


def files(folder: Path, kind: str = "") -> dict[str, int]:
    """Inodes by name of the files of a kind; of the sealed objects without one."""
    prefix = kind + "." if kind else ""
    return {
        entry.name: entry.inode()
        for entry in os.scandir(folder)
        if entry.name.startswith(prefix) and ("." in entry.name) == bool(kind)
    }


def test_the_next_object_gets_the_pages_of_the_last(open_store: Open, memory: Path) -> None:
    store = open_store()
    put(store, oid(1), bytes(MIB))
    used = files(memory).values()
    inode = next(iter(used))
    for number in range(2, 10):
        store.delete(oid(number - 1))
        put(store, oid(number), bytes(MIB))
        assert list(files(memory).values()) == [inode]


def test_a_segment_that_is_viewed_here_is_not_reused_until_the_view_dies(
    open_store: Open, memory: Path
) -> None:
    store = open_store()
    put(store, oid(1), b"a" * MIB)
    [inode] = files(memory).values()
    view = store.get(oid(1))
    store.delete(oid(1))
    put(store, oid(2), b"b" * MIB)
    assert files(memory)[oid(2).hex()] != inode
    assert holds(view, b"a" * MIB)
    del view
    put(store, oid(3), b"c" * MIB)
    assert files(memory)[oid(3).hex()] == inode


def test_a_segment_that_is_viewed_elsewhere_is_not_reused_until_the_view_dies(
    open_store: Open, memory: Path, child: ChildStore
) -> None:
    store = open_store()
    put(store, oid(1), b"a" * 100_000)
    [inode] = files(memory).values()
    child.ask("hold", oid(1).hex())
    store.delete(oid(1))
    put(store, oid(2), b"b" * 100_000)
    assert files(memory)[oid(2).hex()] != inode
    assert child.ask("held", oid(1).hex()) == (b"a" * 100_000).hex()
    child.ask("let_go", oid(1).hex())
    put(store, oid(3), b"c" * 100_000)
    assert files(memory)[oid(3).hex()] == inode


def test_a_reader_that_is_killed_gives_its_segment_back(
    open_store: Open, memory: Path, child: ChildStore
) -> None:
    store = open_store()
    put(store, oid(1), b"a" * 100_000)
    [inode] = files(memory).values()
    child.ask("hold", oid(1).hex())
    store.delete(oid(1))
    child.kill()
    put(store, oid(2), b"b" * 100_000)
    assert files(memory)[oid(2).hex()] == inode


def test_an_object_that_another_process_deleted_is_recycled_by_its_creator(
    open_store: Open, memory: Path, child: ChildStore
) -> None:
    store = open_store()
    put(store, oid(1), bytes(MIB))
    [inode] = files(memory).values()
    assert child.ask("delete", oid(1).hex())
    assert store.statistics().objects == 0
    assert store.reclaim() == 1
    assert store.reclaim() == 0
    put(store, oid(2), bytes(MIB))
    assert files(memory)[oid(2).hex()] == inode


def test_what_others_keep_warm_is_taken_when_room_is_short(open_store: Open, child: ChildStore) -> None:
    for number in range(3):
        child.ask("put_zeros", oid(number).hex(), 4 * MIB)
    for number in range(3):
        child.ask("delete", oid(number).hex())
    store = open_store()
    assert store.statistics().recycled >= 4 * MIB
    put(store, oid(10), bytes(15 * MIB))
    assert store.statistics().recycled == 0
    # The child finds its segments gone, and its accounts in order.
    assert child.ask("put_zeros", oid(11).hex(), 4 * MIB) == "ObjectStoreFull"
    store.delete(oid(10))
    store.relieve(16 * MIB)
    assert child.ask("put_zeros", oid(12).hex(), 4 * MIB) is None
    assert 4 * MIB <= child.ask("used") < 6 * MIB


def test_the_pool_is_bounded(open_store: Open) -> None:
    store = open_store()
    for number in range(15):
        put(store, oid(number), bytes(MIB // 2))
    for number in range(15):
        store.delete(oid(number))
    assert 3 * MIB <= store.statistics().recycled <= CAPACITY // 4


def test_a_small_object_does_not_take_a_large_segment(open_store: Open) -> None:
    store = open_store()
    put(store, oid(1), bytes(4 * MIB))
    store.delete(oid(1))
    put(store, oid(2), b"small")
    assert store.statistics().used <= 8192
    assert store.statistics().recycled >= 4 * MIB


def test_views_in_a_forked_child_stay_as_they_were(open_store: Open) -> None:
    """The child shares the mapping without a lock of its own, so nothing from before the fork is reused."""
    store = open_store()
    put(store, oid(1), b"a" * MIB)
    view = store.get(oid(1))
    assert view is not None
    to_child, from_parent = os.pipe()
    to_parent, from_child = os.pipe()
    process = os.fork()
    if process == 0:
        os.read(to_child, 1)
        os.write(from_child, bytes(view[:1]) + bytes(view[-1:]))
        os._exit(0)
    del view
    store.delete(oid(1))
    for number in range(2, 6):
        put(store, oid(number), b"b" * MIB)
        store.delete(oid(number))
    os.write(from_parent, b"x")
    os.waitpid(process, 0)
    assert os.read(to_parent, 2) == b"aa"
    for descriptor in (to_child, from_parent, to_parent, from_child):
        os.close(descriptor)


def test_a_forked_child_cannot_use_the_parent_s_store(open_store: Open) -> None:
    store = open_store()
    put(store, oid(1), b"x")
    to_parent, from_child = os.pipe()
    process = os.fork()
    if process == 0:
        for action in (
            lambda: store.get(oid(1)),
            lambda: store.create(oid(2), 1),
            lambda: store.delete(oid(1)),
        ):
            try:
                action()
            except ValueError as error:
                os.write(from_child, b"+" if "forked" in str(error) else b"-")
        store.close()
        os._exit(0)
    os.waitpid(process, 0)
    assert os.read(to_parent, 10) == b"+++"
    assert read(store, oid(1)) == b"x"
    for descriptor in (to_parent, from_child):
        os.close(descriptor)


def test_thousands_of_views_need_no_descriptors(open_store: Open) -> None:
    writer, reader = open_store("writer"), open_store("reader")
    before = len(os.listdir("/proc/self/fd"))
    for number in range(500):
        put(writer, oid(number), b"x")
    views = [reader.get(oid(number)) for number in range(500)]
    assert all(holds(view, b"x") for view in views)
    assert len(os.listdir("/proc/self/fd")) == before


def test_objects_beyond_the_limit_on_mappings_stay_readable(
    open_store: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shm, "_MOST_MAPPED", 10)
    store = open_store()
    put(store, oid(0), b"first")
    first = store.get(oid(0))
    for number in range(1, 50):
        put(store, oid(number), bytes([number]))
    assert [read(store, oid(number)) for number in range(1, 50)] == [
        bytes([number]) for number in range(1, 50)
    ]
    for number in range(50):
        assert store.delete(oid(number))
    assert holds(first, b"first")
    del first
    store.relieve(MIB)
    assert store.statistics().used == 0


def test_a_file_for_sending_stays_as_it_was(open_store: Open) -> None:
    store = open_store()
    put(store, oid(1), b"a" * 100_000)
    opened = store.open_file(oid(1))
    assert opened is not None
    descriptor, offset, size = opened
    store.delete(oid(1))
    put(store, oid(2), b"b" * 100_000)
    assert os.pread(descriptor, size, offset) == b"a" * 100_000
    os.close(descriptor)
    assert store.open_file(oid(1)) is None


def test_what_is_written_by_its_file_is_an_object(open_store: Open) -> None:
    store = open_store()
    for number in range(3):  # the last two in the first one's memory
        made = store.create_file(oid(number), 100_000)
        assert made is not None
        descriptor, offset = made
        assert os.pwrite(descriptor, bytes([number]) * 100_000, offset) == 100_000
        os.close(descriptor)
        assert not store.contains(oid(number))
        store.seal(oid(number))
        assert read(store, oid(number)) == bytes([number]) * 100_000
        with pytest.raises(ValueError, match="exists"):
            store.create_file(oid(number), 1)
        store.delete(oid(number))
    made = store.create_file(oid(9), 10)
    assert made is not None
    os.close(made[0])
    store.abort(oid(9))
    assert not store.contains(oid(9))


def test_a_damaged_file_is_not_an_object(open_store: Open, memory: Path) -> None:
    store = open_store()
    (memory / oid(1).hex()).write_bytes(b"not an object" * 100)
    with pytest.raises(OSError, match="damaged"):
        store.get(oid(1))


def test_a_file_system_that_is_smaller_than_promised_is_an_error_not_a_crash(tmp_path: Path) -> None:
    """A write to a page that tmpfs cannot give is a SIGBUS; it must be found out before."""
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(small)], capture_output=True, text=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a file system here: {mounted.stderr.strip()}")
    try:
        store = ShmStore(settings(small, "one"))
        with pytest.raises(ObjectStoreFull, match="shm-size"):
            store.create(oid(1), 8 * MIB)
        put(store, oid(1), bytes(2 * MIB))
        assert read(store, oid(1)) == bytes(2 * MIB)
        assert store.statistics().used < 3 * MIB
        store.close()
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_folder_that_cannot_be_used_is_refused() -> None:
    with pytest.raises(ConfigError, match="cannot use the folder"):
        ShmStore(settings(Path("/proc/none"), "one"))


def test_a_living_client_is_not_swept(open_store: Open) -> None:
    store = open_store()
    put(store, oid(1), b"x")
    with pytest.raises(ValueError, match="lives"):
        store.sweep("one")
    store.sweep("nobody")
    assert read(store, oid(1)) == b"x"


def test_processes_that_put_get_and_delete_at_once_never_see_another_object(memory: Path) -> None:
    """Readers race with a creator that reuses segments as fast as it can; each object's bytes tell whose they are."""
    code = """
import sys
from shoal.interfaces.store import StoreSettings
from shoal.stores.shm import ShmStore
folder, role = sys.argv[1:]
store = ShmStore(StoreSettings(folder=folder, capacity=1 << 24, client=role))
rounds, seen = 3000, 0
for i in range(rounds):
    number = i % 7
    name = number.to_bytes(20, "big")
    if role == "writer":
        block = store.create(name, 20_000)
        block[:] = bytes([number]) * 20_000
        block.release()
        store.seal(name)
        assert store.delete(((i - 3) % 7).to_bytes(20, "big")) == (i >= 3)
    else:
        view = store.get(name)
        if view is not None:
            seen += 1
            assert view[0] == view[9_999] == view[-1] == number, (number, view[0], view[-1])
            assert bytes(view) == bytes([number]) * 20_000
if role == "writer":
    for i in range(rounds - 3, rounds):
        store.delete((i % 7).to_bytes(20, "big"))
    store.relieve(1 << 24)
print(seen)
store.close()
"""
    running = [
        subprocess.Popen([sys.executable, "-c", code, str(memory), role], stdout=subprocess.PIPE)
        for role in ("writer", "reader-1", "reader-2")
    ]
    for process in running:
        process.communicate()
    assert [process.returncode for process in running] == [0, 0, 0]
    store = ShmStore(settings(memory, "last"))
    assert store.ids() == []
    store.close()
    assert sorted(os.listdir(memory)) == [".accounts"]
