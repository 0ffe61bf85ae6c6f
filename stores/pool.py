"""Recycling: a segment whose object is gone serves the next one, since a page that was used once is far cheaper.

A segment belongs to the process that made it, all its life. Its file's name says what it is for:

    t.<client>.<slot>.<serial>    being written
    <object identifier>           a sealed object
    d.<object identifier>.<inode> deleted by another process; the creator has not noticed yet
    p.<client>.<slot>.<serial>    kept warm, in the pool; anyone who is short of room may take and remove it
    z.<client>.<slot>.<serial>    deleted, but views of it still live somewhere: asked again now and then
    s.<client>.<slot>.<serial>    taken from the pool by another process, about to go

Each step from one to the other is one rename, which only one process can win.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict, deque

import attrs

from shoal.stores.accounts import Accounts, client_hash
from shoal.stores.segment import Mapping, forks, rename_unless_read

_PROBES = 8  # how many deleted but viewed segments to ask about at a time


@attrs.define(eq=False)
class Segment:
    """One file of this process."""

    serial: int
    capacity: int  # bytes
    inode: int
    mapping: Mapping | None  # None once it was unmapped to stay within the system's limit
    forks: int  # of this process, when the present object was created


class Pool:
    """The free segments of one process. Not thread-safe: the store's lock is held around every call."""

    def __init__(self, folder: str, client: str, accounts: Accounts, bound: int) -> None:
        self._name = f"{client_hash(client)}.{accounts.slot}"
        self._folder = folder
        self._bound = bound  # bytes; one segment may be larger
        self._accounts = accounts
        self._free: OrderedDict[int, Segment] = OrderedDict()  # by serial, least recently used first
        self._viewed: deque[Segment] = deque()
        self.pooled = 0  # bytes
        self.held = 0  # bytes deleted but viewed

    def path(self, kind: str, serial: int) -> str:
        """Return the file name of a segment in a state other than sealed."""
        return f"{self._folder}/{kind}.{self._name}.{serial}"

    def take(self, need: int) -> Segment | None:
        """Return the smallest free segment that holds `need` bytes and wastes less than a quarter, or None.

        Its file has the name of one that is being written.
        """
        if self._viewed:
            self.ask_again()
        while True:
            limit = need + max(need // 4, 1 << 16)
            fits = [s for s in reversed(self._free.values()) if need <= s.capacity <= limit]
            if not fits:
                return None
            best = min(fits, key=lambda s: s.capacity)
            self._remove(best)
            try:
                os.rename(self.path("p", best.serial), self.path("t", best.serial))
            except FileNotFoundError:
                self._accounts.settle(best.capacity)  # another process was short of room
                continue
            best.forks = forks()
            return best

    def retire(self, segment: Segment, path: str) -> None:
        """Take a segment back from the file name that it has: to the pool, or wait until its last view is gone."""
        mapping = segment.mapping
        if mapping is None or segment.forks != forks():  # a forked child may read it, unseen
            self.drop(segment, path)
        elif mapping.in_use():
            self._wait_for_views(segment, path)
        else:
            free = rename_unless_read(path, self.path("p", segment.serial), segment.inode)
            if free is None:
                self.drop(segment, path, gone=True)
            elif free:
                self._add(segment)
            else:
                self._wait_for_views(segment, path)

    def ask_again(self) -> None:
        """Move some of the deleted segments whose views have died since to the pool."""
        for _ in range(min(_PROBES, len(self._viewed))):
            segment = self._viewed.popleft()
            self.held -= segment.capacity
            self.retire(segment, self.path("z", segment.serial))

    def give_up(self, size: int) -> int:
        """Remove free segments, least recently used first, until `size` bytes are freed or none is left."""
        freed = 0
        while freed < size and self._free:
            segment = next(iter(self._free.values()))
            self._remove(segment)
            freed += segment.capacity
            self.drop(segment, self.path("p", segment.serial))
        return freed

    def close(self) -> None:
        """Remove every file that is no object. Views stay valid."""
        self.give_up(self.pooled)
        for segment in self._viewed:
            self.drop(segment, self.path("z", segment.serial))
        self._viewed.clear()
        self.held = 0

    def _add(self, segment: Segment) -> None:
        self._free[segment.serial] = segment
        self.pooled += segment.capacity
        self.give_up(self.pooled - max(self._bound, segment.capacity))
        self._accounts.set_pooled(self.pooled)

    def _remove(self, segment: Segment) -> None:
        del self._free[segment.serial]
        self.pooled -= segment.capacity
        self._accounts.set_pooled(self.pooled)

    def _wait_for_views(self, segment: Segment, path: str) -> None:
        target = self.path("z", segment.serial)
        try:
            if path != target:
                os.rename(path, target)
        except FileNotFoundError:
            self.drop(segment, path, gone=True)
        else:
            self._viewed.append(segment)
            self.held += segment.capacity

    def drop(self, segment: Segment, path: str, gone: bool = False) -> None:
        """Forget a segment; the memory goes when its last view does."""
        if not gone:
            try:
                os.unlink(path)
            except FileNotFoundError:
                gone = True
        segment.mapping = None
        if gone and "/p." in path:
            self._accounts.settle(segment.capacity)  # it was taken from the pool, and counted
        else:
            self._accounts.refund(segment.capacity)


def steal(folder: str, accounts: Accounts, size: int) -> int:
    """Remove segments that other processes keep warm until `size` bytes are freed; return how many were.

    Renaming one decides who has it; then its pages are freed under the owner's mapping, which it no longer touches.
    """
    freed = 0
    with accounts.locked():
        for name in [entry for entry in os.listdir(folder) if entry.startswith("p.")]:
            slot = int(name.split(".")[2])
            if freed >= size:
                break
            if slot == accounts.slot:
                continue
            taken = f"{folder}/s.{name[2:]}"
            with contextlib.suppress(FileNotFoundError):
                os.rename(f"{folder}/{name}", taken)
                capacity = os.stat(taken).st_size
                os.truncate(taken, 0)
                os.unlink(taken)
                freed += capacity
                accounts.add_returned(slot, capacity)
    return freed
