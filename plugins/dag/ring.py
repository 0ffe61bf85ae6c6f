"""A channel in shared memory: one process writes, each of several readers reads everything, in order.

The file holds, in lines of 64 bytes: what it is; how much was written; whether the writer sleeps and whether it is
closed; for each reader how much it has read and whether it sleeps. Then come the slots, each a header (kind, length)
and the value. A slot is written again once every reader has released it, so a full ring holds the writer back.

A reader that finds nothing sleeps at a named pipe of its own, its bell. Of what wakes another process this is the
fastest measured: the system runs whoever reads a pipe next on the core of who writes, since that is about to sleep; for
who waits for a futex it looks for an idle core. A writer without room, which is rare, sleeps at a futex.

A value's large parts are read as views of the slot. A slot is released only when nothing uses these views any more: an
array that an actor keeps stays as it was, and holds its slot.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import mmap
import os
import select
import struct
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs

from shoal.dag import futex
from shoal.dag.failures import ChannelClosed, ChannelTimeout, ValueTooLarge
from shoal.values import PackedValue, unpack, unpack_plain

VALUE, PLAIN, ERROR = (
    0,
    1,
    2,
)  # what a slot holds: a packed value, a pickle without large parts, a packed error

_LINE = 64
_WORD = 8
_MAGIC = 0x31474E4952  # "RING1"
_MAGIC_AT, _SLOTS_AT, _SIZE_AT, _READERS_AT, _PID_AT, _BORN_AT = range(6)
_WRITTEN_AT = _LINE // _WORD
_WRITER_SLEEPS_AT = 2 * _LINE // 4  # index of a 32-bit word
_CLOSED_AT = _WRITER_SLEEPS_AT + 1
_FIRST_READER = 3
_SLOT = struct.Struct("<QQ")  # kind, length
_BELLS = 4096  # bytes that are read at once: more were written only while nobody slept
SLICE_SECONDS = 0.1  # the longest sleep before `check` is asked whether waiting still makes sense


@attrs.frozen
class RingPlan:
    """What a ring is like. `size` is the largest value in bytes, `readers` how many read each value."""

    path: str
    slots: int
    size: int
    readers: int


def _round(size: int, unit: int) -> int:
    return -(-size // unit) * unit


def _born(pid: int) -> int:
    """Return when a process began, so that a later one with its number is not taken for it; 0 if it is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def make_ring(plan: RingPlan) -> None:
    """Make the file of a ring, sparse: memory is taken as slots are used. Raises OSError."""
    header = _round((_FIRST_READER + plan.readers) * _LINE, mmap.PAGESIZE)
    stride = _round(_LINE + plan.size, mmap.PAGESIZE)
    descriptor = os.open(plan.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, header + plan.slots * stride)
        words = (_MAGIC, plan.slots, plan.size, plan.readers, os.getpid(), _born(os.getpid()))
        os.pwrite(descriptor, struct.pack(f"<{len(words)}Q", *words), 0)
    finally:
        os.close(descriptor)
    for reader in range(plan.readers):
        os.mkfifo(_bell_of(plan.path, reader), 0o600)


def remove_ring(path: str) -> None:
    """Remove the names of a ring that all its users have opened. Again does nothing."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
        for reader in itertools.count():
            os.unlink(_bell_of(path, reader))


def _bell_of(path: str, reader: int) -> str:
    return f"{path}.{reader}"


def _close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class Ring:
    """One process's view of a ring. Of each role there is one thread at a time; `close` may come from any."""

    def __init__(self, path: str) -> None:
        """Map the file. Raises FileNotFoundError if it is gone."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            self._map = mmap.mmap(descriptor, 0)
        finally:
            os.close(descriptor)
        self._anchor = ctypes.c_char.from_buffer(self._map)
        self._base = ctypes.addressof(self._anchor)
        self._memory = memoryview(self._map)
        self._words = self._memory.cast("Q")
        self._halves = self._memory.cast("I")
        if self._words[_MAGIC_AT] != _MAGIC:
            raise ValueError(f"{path} is no channel of a compiled graph")
        self.slots = int(self._words[_SLOTS_AT])
        self.size = int(self._words[_SIZE_AT])
        self.readers = int(self._words[_READERS_AT])
        self._creator = int(self._words[_PID_AT]), int(self._words[_BORN_AT])
        # Read and write: opening waits for nobody, and the end of one process is no end of the pipe.
        self.bells = [
            os.open(_bell_of(path, reader), os.O_RDWR | os.O_NONBLOCK) for reader in range(self.readers)
        ]
        weakref.finalize(self, _close_all, self.bells)
        self._start = _round((_FIRST_READER + self.readers) * _LINE, mmap.PAGESIZE)
        self._stride = _round(_LINE + self.size, mmap.PAGESIZE)

    def place(self, number: int) -> int:
        """Return where the slot of the value with that number begins."""
        return self._start + number % self.slots * self._stride

    @property
    def closed(self) -> bool:
        """Whether somebody closed it."""
        return self._halves[_CLOSED_AT] != 0

    def creator_is_gone(self) -> bool:
        """Tell whether the process that made the ring has died: nobody will close it then."""
        pid, born = self._creator
        return pid != os.getpid() and _born(pid) != born

    def close(self) -> None:
        """Wake everybody who waits: they raise ChannelClosed."""
        self._halves[_CLOSED_AT] = 1
        futex.fence()
        for reader in range(self.readers):
            self.ring_bell(reader)
            futex.wake(self._base + (_FIRST_READER + reader) * _LINE)

    def ring_bell(self, reader: int) -> None:
        """Wake a reader."""
        with contextlib.suppress(BlockingIOError):  # full of bytes that wake it as well
            os.write(self.bells[reader], b"!")

    def sleep_until_read(self, word: int, seen: int, seconds: float) -> bool:
        """Sleep while a reader's count is as seen; return whether it was not for nothing."""
        self._halves[_WRITER_SLEEPS_AT] = 1
        futex.fence()
        woken = True
        if self._words[word] == seen and not self.closed:
            # Its lower half is enough: little-endian, and nobody sleeps through 2³² values.
            woken = futex.wait_while(self._base + word * _WORD, seen & 0xFFFFFFFF, seconds)
        self._halves[_WRITER_SLEEPS_AT] = 0
        return woken


def _wait(
    ring: Ring,
    look: Callable[[], int | None],
    sleep: Callable[[int, float], bool],
    timeout: float | None,
    check: Callable[[], None],
    what: str,
) -> None:
    """Wait until `look` finds nothing to sleep for; what it saw is what `sleep` starts from.

    Raises ChannelClosed, ChannelTimeout, and what `check` raises.
    """
    asleep = look()
    if asleep is None:
        return
    end = None if timeout is None else time.monotonic() + timeout
    while asleep is not None:
        if ring.closed:
            raise ChannelClosed("the compiled graph was torn down")
        left = SLICE_SECONDS
        if end is not None and (rest := end - time.monotonic()) < SLICE_SECONDS:
            if rest <= 0:
                raise ChannelTimeout(f"{what} within {timeout:g} s")
            left = rest
        if not sleep(asleep, left):
            check()
        asleep = look()


class Writer:
    """The writing end. One thread."""

    def __init__(self, ring: Ring) -> None:
        self.ring = ring
        self._number = 0
        self._slow = 0  # index of the count of the reader that is behind
        self._free = ring.slots  # values that fit before readers have to be asked again
        self._reads = [(_FIRST_READER + reader) * _LINE // _WORD for reader in range(ring.readers)]
        self._flags = [(_FIRST_READER + reader) * _LINE // 4 + 2 for reader in range(ring.readers)]

    def _slowest(self) -> int | None:
        words = self.ring._words
        read, self._slow = min((words[word], word) for word in self._reads)
        self._free = self.ring.slots - (self._number - read)
        return None if self._free > 0 else read

    def _sleep(self, seen: int, seconds: float) -> bool:
        return self.ring.sleep_until_read(self._slow, seen, seconds)

    def has_room(self) -> bool:
        """Tell whether a write would not wait."""
        return self._free > 0 or self._slowest() is None

    def write(self, value: PackedValue, timeout: float | None, check: Callable[[], None]) -> None:
        """Write a value. `check` is asked now and then while there is no room.

        Raises ValueTooLarge, ChannelTimeout, ChannelClosed.
        """
        if value.is_plain:
            data = value.pickled
            self.write_bytes(PLAIN, data, timeout, check)
            return
        size = value.size
        self._make_room(size, timeout, check)
        ring = self.ring
        place = ring.place(self._number)
        _SLOT.pack_into(ring._map, place, VALUE, size)
        value.write_into(ring._memory[place + _LINE : place + _LINE + size])
        self._publish()

    def write_bytes(self, kind: int, data: bytes, timeout: float | None, check: Callable[[], None]) -> None:
        """Write bytes of one of the kinds. Raises as `write` does."""
        size = len(data)
        self._make_room(size, timeout, check)
        ring = self.ring
        place = ring.place(self._number)
        _SLOT.pack_into(ring._map, place, kind, size)
        ring._map[place + _LINE : place + _LINE + size] = data
        self._publish()

    def _make_room(self, size: int, timeout: float | None, check: Callable[[], None]) -> None:
        ring = self.ring
        if size > ring.size:
            raise ValueTooLarge(
                f"a value of {size:,} bytes is larger than the {ring.size:,} bytes of a channel's buffer: compile the "
                f"graph with _buffer_size_bytes={size} or more"
            )
        if ring._halves[_CLOSED_AT]:
            raise ChannelClosed("the compiled graph was torn down")
        if self._free <= 0:
            _wait(
                ring,
                self._slowest,
                self._sleep,
                timeout,
                check,
                f"no room became free in a channel of {ring.slots} slots (a reader is slow, or keeps arrays that it "
                "was given: keep copies instead)",
            )

    def _publish(self) -> None:
        ring = self.ring
        self._free -= 1
        self._number += 1
        if not futex.ordered:
            futex.fence()
        ring._words[_WRITTEN_AT] = self._number
        futex.fence()
        for reader, flag in enumerate(self._flags):
            if ring._halves[flag]:
                ring.ring_bell(reader)


def _bare_count() -> int:
    """Return what getrefcount says of a view that nothing but a list holds, asked as `Reader` asks."""
    view = memoryview(b"x")
    held = [view]
    del view
    for one in held:
        return sys.getrefcount(one)
    return 0


_UNUSED = _bare_count()


def _used(views: list[memoryview]) -> bool:
    for view in views:  # noqa: SIM110  any() would hold one reference more
        if sys.getrefcount(view) > _UNUSED:
            return True
    return False


class Reader:
    """A reading end. `index` says which of the ring's readers it is. One thread."""

    def __init__(self, ring: Ring, index: int) -> None:
        self.ring = ring
        self._word = (_FIRST_READER + index) * _LINE // _WORD
        self._flag = (_FIRST_READER + index) * _LINE // 4 + 2
        self._bell = ring.bells[index]
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        self._poll = poll.poll
        self._number = 0
        self._known = 0  # values that are there for sure
        self._held: deque[list[memoryview]] = (
            deque()
        )  # views of slots that were read and are not yet released
        self._released = 0
        self._releasing = threading.Lock()
        self.mapped = True

    def _look(self) -> int | None:
        self._known = self.ring._words[_WRITTEN_AT]
        return None if self._known > self._number else self._known

    def _sleep(self, seen: int, seconds: float) -> bool:
        ring = self.ring
        ring._halves[self._flag] = 1
        futex.fence()
        woken = True
        if ring._words[_WRITTEN_AT] == seen and not ring._halves[_CLOSED_AT]:
            woken = bool(self._poll(seconds * 1000))
        ring._halves[self._flag] = 0
        if woken:
            with contextlib.suppress(BlockingIOError):
                os.read(self._bell, _BELLS)
        return woken

    def ready(self) -> bool:
        """Tell whether a read would not wait."""
        return self._known > self._number or self._look() is None

    def wait(self, timeout: float | None, check: Callable[[], None]) -> None:
        """Wait until there is a value. Raises ChannelTimeout, ChannelClosed, and what `check` raises."""
        if self._known <= self._number:
            _wait(self.ring, self._look, self._sleep, timeout, check, "nothing came")

    def read(self, timeout: float | None, check: Callable[[], None]) -> tuple[int, Any]:
        """Return (kind, value or the bytes of an error). The slot is held until `release`.

        With views of the slot, unless `mapped` is False: then large parts are copied.
        Raises ChannelTimeout, ChannelClosed, and what unpickling raises.
        """
        if self._known <= self._number:
            _wait(self.ring, self._look, self._sleep, timeout, check, "nothing came")
        ring = self.ring
        place = ring.place(self._number)
        kind, size = _SLOT.unpack_from(ring._map, place)
        self._number += 1
        views: list[memoryview] = []
        body = ring._memory[place + _LINE : place + _LINE + size]
        try:
            if kind == PLAIN:
                return kind, unpack_plain(body)
            if kind == ERROR or not self.mapped:
                copied = bytes(body)
                return kind, copied if kind == ERROR else unpack(copied)
            return kind, unpack(body, views.append)
        finally:
            self._held.append(views)  # only now: `release` may be called by another thread

    def release(self) -> None:
        """Give slots back, in order, up to the first whose views are still used."""
        held = self._held
        if not held:
            return
        with self._releasing:
            before = self._released
            while held and not (held[0] and _used(held[0])):
                held.popleft()
                self._released += 1
            if self._released == before:
                return
            ring = self.ring
            if not futex.ordered:
                futex.fence()
            ring._words[self._word] = self._released
            futex.fence()
            if ring._halves[_WRITER_SLEEPS_AT]:
                futex.wake(ring._base + self._word * _WORD)
