"""ShmStore: objects as files in shared memory, so that all processes of a node see them without asking anyone."""

from __future__ import annotations

import errno
import os
import threading
from collections import deque
from typing import ClassVar
from weakref import WeakValueDictionary

from shoal.errors import ConfigError, ObjectStoreFull
from shoal.interfaces.store import ObjectStore, StoreSettings, StoreStatistics
from shoal.stores.accounts import Accounts
from shoal.stores.folder import deleted_name, object_names, sweep_client
from shoal.stores.pool import Pool, Segment, steal
from shoal.stores.room import PAGE, full_message, round_up, size_class
from shoal.stores.segment import (
    HEADER,
    Mapping,
    attach,
    forks,
    new_file,
    open_shared,
    read_owner,
    read_size,
)

_MOST_MAPPED = 16_384  # of our own sealed objects; Linux allows 65,530 mappings in all


class ShmStore(ObjectStore):
    """One file an object, named by its identifier when it is sealed: a rename, seen by all at once.

    The creator keeps its files mapped and reuses them (`shoal.stores.pool`); a reader's mapping holds a shared lock
    which tells the creator that it must not (`shoal.stores.segment`); nothing asks another process
    (`shoal.stores.accounts`). After a fork the child must open a store of its own.

    Example: `store.create(oid, 3)[:] = b"abc"; store.seal(oid)` here, `bytes(store.get(oid))` in any process.
    """

    name: ClassVar[str] = "shm"
    shared: ClassVar[bool] = True
    __slots__ = (
        "_accounts",
        "_attached",
        "_capacity",
        "_folder",
        "_lock",
        "_mapped",
        "_open",
        "_own",
        "_pool",
        "_process",
        "_serial",
        "_settings",
    )

    def __init__(self, settings: StoreSettings) -> None:
        if settings.options:
            raise ConfigError(f"the store {self.name!r} has no options, got {sorted(settings.options)}")
        try:
            os.makedirs(settings.folder, mode=0o700, exist_ok=True)
            self._accounts = Accounts(os.path.join(settings.folder, ".accounts"), settings.client)
        except OSError as error:
            raise ConfigError(
                f"the object store cannot use the folder {settings.folder!r}: {error}"
            ) from error
        self._settings = settings
        self._folder = settings.folder.rstrip("/")
        self._capacity = round_up(settings.capacity, PAGE)
        self._pool = Pool(self._folder, settings.client, self._accounts, self._capacity // 4)
        self._lock = threading.RLock()
        self._process = os.getpid()  # 0 when closed
        self._open: dict[bytes, Segment | None] = {}  # None: its file is being made
        self._own: dict[bytes, Segment] = {}
        self._mapped: deque[bytes] = deque()  # own sealed objects, oldest first
        self._attached: WeakValueDictionary[bytes, Mapping] = WeakValueDictionary()
        self._serial = 0

    # Writing

    def create(self, object_id: bytes, size: int) -> memoryview:
        segment = self._create(object_id, size, touched=True)
        assert segment.mapping is not None
        return segment.mapping.writable(size)

    def create_file(self, object_id: bytes, size: int) -> tuple[int, int] | None:
        """Do as `create`; return a descriptor and where in it to write, see SupportsFiles."""
        segment = self._create(object_id, size, touched=False)
        try:
            return os.open(self._pool.path("t", segment.serial), os.O_RDWR | os.O_CLOEXEC), HEADER
        except BaseException:
            self.abort(object_id)
            raise

    def _create(self, object_id: bytes, size: int, touched: bool) -> Segment:
        need = round_up(HEADER + size, PAGE)
        with self._lock:
            self._check_open()
            if object_id in self._open or self._inode(object_id):
                raise ValueError(f"object {object_id.hex()} exists")
            segment = self._pool.take(need)
            if segment is None:
                capacity = self._reserve(need, size)
                self._serial += 1
                serial = self._serial
            self._open[object_id] = segment
        if segment is None:  # outside of the lock, since it takes long
            segment = self._make(object_id, serial, capacity, need if touched else 0, size)
        assert segment.mapping is not None
        segment.mapping.write_header(object_id, size, self._accounts.slot)
        return segment

    def _make(self, object_id: bytes, serial: int, capacity: int, touch: int, size: int) -> Segment:
        try:
            mapping = new_file(self._pool.path("t", serial), capacity, touch)
        except BaseException as error:
            with self._lock:
                self._open.pop(object_id, None)
                self._accounts.refund(capacity)
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.ENOMEM):
                raise ObjectStoreFull(
                    f"the file system of {self._folder} has no room for an object of {size:,} bytes, although the "
                    f"store may use {self._settings.capacity:,}: start with a smaller object_store_memory or give "
                    "the machine (or container: --shm-size) more shared memory"
                ) from error
            raise
        segment = Segment(serial, capacity, mapping.inode, mapping, forks())
        with self._lock:
            self._check_open()
            self._open[object_id] = segment
        return segment

    def _reserve(self, need: int, size: int) -> int:
        """Charge our account for a new segment, giving up what can be had again; return the segment's size."""
        capacity = size_class(need)
        if self._accounts.charge(capacity, self._capacity):
            return capacity
        if need <= self._capacity:
            for give_up in (self._pool.give_up, self._reclaim_for, self._steal):
                if self._accounts.charge_alone(need, self._capacity):
                    return need
                missing = self._accounts.total() + need - self._capacity
                give_up(missing)
            if self._accounts.charge_alone(need, self._capacity):
                return need
        used = self._accounts.total() - self._accounts.pooled()
        raise ObjectStoreFull(full_message(size, used, self._settings.capacity, self._pool.held))

    def _reclaim_for(self, size: int) -> int:
        self.reclaim()
        self._pool.ask_again()
        return self._pool.give_up(size)

    def _steal(self, size: int) -> int:
        return steal(self._folder, self._accounts, size)

    def seal(self, object_id: bytes) -> None:
        with self._lock:
            self._check_open()
            segment = self._open[object_id]
            if segment is None:
                raise KeyError(object_id)
            if self._inode(
                object_id
            ):  # another process made it in the meantime; views of that one stay valid
                self._delete(object_id)
            del self._open[object_id]
            self._own[object_id] = segment
            os.rename(self._pool.path("t", segment.serial), self._path(object_id))
            self._mapped.append(object_id)
            if len(self._mapped) > _MOST_MAPPED:
                self._unmap_oldest()

    def abort(self, object_id: bytes) -> None:
        with self._lock:
            self._check_open()
            segment = self._open[object_id]
            if segment is None:
                raise KeyError(object_id)
            del self._open[object_id]
            self._pool.retire(segment, self._pool.path("t", segment.serial))

    def _unmap_oldest(self) -> None:
        """Stay within the system's limit on mappings: the file stays, and is mapped again when it is read."""
        for _ in range(len(self._mapped)):
            object_id = self._mapped.popleft()
            segment = self._own.get(object_id)
            if segment is None or segment.mapping is None:
                continue
            if not segment.mapping.in_use():
                segment.mapping = None
                return
            self._mapped.append(object_id)

    # Reading

    def get(self, object_id: bytes) -> memoryview | None:
        with self._lock:
            self._check_open()
            inode = self._inode(object_id)
            if not inode:
                return None
            segment = self._own.get(object_id)
            mapping = segment.mapping if segment is not None else None
            if mapping is None or mapping.inode != inode:
                mapping = self._attached.get(object_id)
            if mapping is None or mapping.inode != inode:
                mapping = attach(self._path(object_id), object_id)
                if mapping is None:
                    return None
                self._attached[object_id] = mapping
            return mapping.readable()

    def contains(self, object_id: bytes) -> bool:
        self._check_open()
        return self._inode(object_id) != 0

    def open_file(self, object_id: bytes) -> tuple[int, int, int] | None:
        """Return (descriptor, offset, size) of a sealed object, or None; see SupportsFiles."""
        self._check_open()
        opened = open_shared(self._path(object_id))
        if opened is None:
            return None
        descriptor, _ = opened
        return descriptor, HEADER, read_size(descriptor)

    def ids(self) -> list[bytes]:
        self._check_open()
        return sorted(map(bytes.fromhex, object_names(self._folder)))

    def used(self) -> int:
        """Return the bytes of all processes' objects, without looking through the folder."""
        self._check_open()
        return self._accounts.total() - self._accounts.pooled()

    def charged(self) -> int:
        """Return the bytes of memory that this process alone answers for, what it keeps warm included."""
        self._check_open()
        return self._accounts.charged()

    def statistics(self) -> StoreStatistics:
        with self._lock:
            self._check_open()
            return StoreStatistics(
                objects=len(object_names(self._folder)),
                used=self.used(),
                capacity=self._settings.capacity,
                recycled=self._accounts.pooled(),
            )

    def in_use(self, object_id: bytes) -> bool:
        """Tell whether a view of this process's own object lives here, so that deleting it frees nothing yet."""
        with self._lock:
            self._check_open()
            segment = self._own.get(object_id)
            return segment is not None and segment.mapping is not None and segment.mapping.in_use()

    # Removing

    def delete(self, object_id: bytes) -> bool:
        with self._lock:
            self._check_open()
            return self._delete(object_id)

    def _delete(self, object_id: bytes) -> bool:
        self._attached.pop(object_id, None)
        path = self._path(object_id)
        segment = self._own.pop(object_id, None)
        if segment is not None:
            if self._inode(object_id) == segment.inode:
                self._pool.retire(segment, path)
                return True
            self._pool.retire(segment, deleted_name(self._folder, object_id, segment.inode))
        owner = read_owner(path)
        if owner is None:
            return False
        size, inode, slot = owner
        try:
            if self._accounts.is_live(slot):
                os.rename(path, deleted_name(self._folder, object_id, inode))  # its creator may use it again
            else:
                os.unlink(path)
                self._accounts.give_back(slot, size)
        except FileNotFoundError:
            return False
        return True

    def reclaim(self) -> int:
        """Take back our segments whose objects other processes have deleted; return how many there were.

        Costs one system call for each of our objects. Calling delete() here as well is the cheaper way.
        """
        with self._lock:
            self._check_open()
            gone = [(key, own) for key, own in self._own.items() if self._inode(key) != own.inode]
            for object_id, segment in gone:
                del self._own[object_id]
                self._pool.retire(segment, deleted_name(self._folder, object_id, segment.inode))
            return len(gone)

    def relieve(self, size: int) -> int:
        """Give up segments that are kept warm, about `size` bytes of them; return how many bytes it was."""
        with self._lock:
            self._check_open()
            return self._reclaim_for(size)

    def sweep(self, client: str) -> None:
        with self._lock:
            self._check_open()
            if client == self._settings.client:
                raise ValueError(f"{client!r} is this process, which lives")
            sweep_client(self._folder, self._accounts, client)

    def close(self) -> None:
        with self._lock:
            if self._process != os.getpid():
                return
            for segment in self._open.values():
                if segment is not None:
                    self._pool.drop(segment, self._pool.path("t", segment.serial))
            self.reclaim()
            self._pool.close()
            with self._accounts.locked():
                self._accounts.orphan(self._accounts.slot, sum(s.capacity for s in self._own.values()))
            self._accounts.close()
            self._own.clear()
            self._open.clear()
            self._process = 0

    # Names

    def _path(self, object_id: bytes) -> str:
        return f"{self._folder}/{object_id.hex()}"

    def _inode(self, object_id: bytes) -> int:
        """Return the inode of a sealed object's file, 0 if there is none."""
        try:
            return os.stat(self._path(object_id)).st_ino
        except FileNotFoundError:
            return 0

    def _check_open(self) -> None:
        if self._process != os.getpid():
            if self._process == 0:
                raise ValueError("the store is closed")
            raise ValueError(
                "the store was opened before this process was forked; open another one in the child"
            )
