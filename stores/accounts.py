"""Accounts: how many bytes each process of a node holds, without a message to anyone.

One small file, mapped by all. Each process has a slot and is the only one that writes its `used` and `pooled`; what
others removed on its behalf they add to `returned`, under the file's lock, and the total is the sum of the first less
the sum of the last. A process charges itself first and looks at the total afterwards, so two that charge at
once may both be refused (they then ask again, one after the other) but are not both let in.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager

from shoal.errors import ConfigError

SLOTS = 4096
_HEAD = struct.Struct("<8sQQ")  # magic, slots, how many were ever in use
_MAGIC = b"SHOALAC1"
_FREE, _LIVE, _ORPHANED = 0, 1, 2
_NAMES = ("used", "pooled", "returned", "state", "client")


def client_hash(client: str) -> str:
    """Return 16 hexadecimal digits that stand for a client in file names."""
    return hashlib.blake2b(client.encode(), digest_size=8).hexdigest()


class Accounts:
    """The table, as one process sees it. Calls that say so take the file's lock; the others cost a sum at most."""

    def __init__(self, path: str, client: str) -> None:
        self._client = int(client_hash(client), 16)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._map = self._open_table(path)
            words = memoryview(self._map).cast("Q")
            first = mmap.PAGESIZE // 8
            columns = {
                name: words[first + SLOTS * i : first + SLOTS * (i + 1)] for i, name in enumerate(_NAMES)
            }
            self._used, self._pooled = columns["used"], columns["pooled"]
            self._returned, self._state, self._clients = (
                columns["returned"],
                columns["state"],
                columns["client"],
            )
            self._high = words[2:3]
            with self.locked():
                self.slot = self._take_slot()
        except BaseException:
            os.close(self._file)
            raise

    def _open_table(self, path: str) -> mmap.mmap:
        length = mmap.PAGESIZE + 8 * SLOTS * len(_NAMES)
        with self.locked():
            if os.fstat(self._file).st_size == 0:
                os.posix_fallocate(self._file, 0, length)
                os.pwrite(self._file, _HEAD.pack(_MAGIC, SLOTS, 0), 0)
            if os.pread(self._file, 16, 0) != _HEAD.pack(_MAGIC, SLOTS, 0)[:16]:
                raise ConfigError(f"{path} was written by another version of Shoal; remove its folder")
        return mmap.mmap(self._file, length)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the file's lock, which a process that dies gives back."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)

    def _take_slot(self) -> int:
        for slot in range(SLOTS):
            if self._state[slot] == _FREE:
                self._used[slot] = self._pooled[slot] = self._returned[slot] = 0
                self._clients[slot] = self._client
                self._state[slot] = _LIVE
                self._high[0] = max(self._high[0], slot + 1)
                return slot
        raise ConfigError(f"more than {SLOTS} processes use this object store")

    def total(self) -> int:
        """Return the bytes of all processes: objects, and what is kept warm for the next ones."""
        high = self._high[0]
        return sum(self._used[:high]) - sum(self._returned[:high])

    def pooled(self) -> int:
        """Return the bytes that all processes keep warm."""
        high = self._high[0]
        pooled = sum(self._pooled[:high])
        if not any(self._returned[:high]):
            return pooled
        # What was taken from a living process's pool, which it has not noticed, is in both of its columns.
        return pooled - sum(self._returned[s] for s in range(high) if self._state[s] == _LIVE)

    def charge(self, size: int, capacity: int) -> bool:
        """Add `size` to our account if the total then is within `capacity`."""
        self._used[self.slot] += size
        if self.total() <= capacity:
            return True
        self._used[self.slot] -= size
        return False

    def charge_alone(self, size: int, capacity: int) -> bool:
        """Charge while no other process does the same. Takes the lock."""
        with self.locked():
            return self.charge(size, capacity)

    def charged(self) -> int:
        """Return our own account: our objects, and what we keep warm."""
        return self._used[self.slot]

    def refund(self, size: int) -> None:
        """Take `size` off our account."""
        self._used[self.slot] -= size

    def set_pooled(self, size: int) -> None:
        """Say how much of our account is only kept warm."""
        self._pooled[self.slot] = size

    def is_live(self, slot: int) -> bool:
        """Tell whether the slot's process still uses the store, and so sees to its own deletions."""
        return self._state[slot] == _LIVE

    def give_back(self, slot: int, size: int) -> None:
        """Take `size` off another's account. Takes the lock."""
        with self.locked():
            self.add_returned(slot, size)

    def add_returned(self, slot: int, size: int) -> None:
        """Do as `give_back` does. The caller holds the lock."""
        self._returned[slot] += size
        self._free_if_settled(slot)

    def settle(self, size: int) -> None:
        """Note that we know of `size` bytes that another gave back for us. Takes the lock."""
        with self.locked():
            self._used[self.slot] -= size
            self._returned[self.slot] -= min(size, self._returned[self.slot])

    def _free_if_settled(self, slot: int) -> None:
        if self._state[slot] == _ORPHANED and self._used[slot] <= self._returned[slot]:
            self._used[slot] = self._returned[slot] = 0
            self._state[slot] = _FREE

    def slots_of(self, client: str) -> list[int]:
        """Return the slots that a client of that name has or had."""
        wanted = int(client_hash(client), 16)
        return [s for s in range(self._high[0]) if self._clients[s] == wanted and self._state[s] != _FREE]

    def orphan(self, slot: int, used: int) -> None:
        """Leave a slot to whoever deletes its last objects, `used` bytes of them. The caller holds the lock."""
        self._pooled[slot] = self._returned[slot] = 0
        self._used[slot] = used
        self._state[slot] = _ORPHANED
        self._free_if_settled(slot)

    def close(self) -> None:
        """Unmap. The slot is orphaned, or swept by another."""
        for view in (self._used, self._pooled, self._returned, self._state, self._clients, self._high):
            view.release()
        self._map.close()
        os.close(self._file)
