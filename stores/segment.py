"""Segments: files that are mapped into memory, and the kernel's own count of who maps them.

A mapping keeps the open file that it was made from alive, and with it a `flock` taken on it, even after the
descriptor is closed (mmap(2) and flock(2)): the lock lives exactly until the last view of the mapping dies. So "does
another process still read this?" is one system call, and a crashed reader is forgotten by the kernel itself.

`mmap.mmap(fd)` would keep a descriptor open for every object; a thousand objects would use up what many systems
allow. So room is mapped anonymously and the file is then mapped over it, which needs no descriptor afterwards.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import struct
from typing import cast

HEADER = 64  # bytes before the object's own: keeps them on a cache line
_LAYOUT = struct.Struct("<8sQQ20s")  # magic, size, slot of the creator in the accounts, object identifier
_MAGIC = b"SHOALOB1"

_MAP_FIXED = 0x10  # Linux, on every processor that matters here
_MADV_POPULATE_WRITE = 23  # Linux 5.14
_MAP_FAILED = ctypes.c_void_p(-1).value

_libc = ctypes.CDLL(None, use_errno=True)
_mmap = _libc.mmap
_mmap.restype = ctypes.c_void_p
_mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_madvise = _libc.madvise
_madvise.restype = ctypes.c_int
_madvise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)


class Mapping(mmap.mmap):
    """A file's bytes in this process. It is unmapped when it and every view of it is gone."""

    inode: int
    length: int  # of the object, without its header

    def in_use(self) -> bool:
        """Tell whether a view of it lives in this process. Resizing to the same size changes nothing else."""
        try:
            self.resize(len(self))
        except BufferError:
            return True
        return False

    def readable(self) -> memoryview:
        """Return the object's bytes, read-only."""
        return memoryview(self).toreadonly()[HEADER : HEADER + self.length]

    def writable(self, size: int) -> memoryview:
        """Return the first `size` bytes after the header."""
        return memoryview(self)[HEADER : HEADER + size]

    def address(self) -> int:
        """Return where it begins."""
        return ctypes.addressof(ctypes.c_char.from_buffer(self))

    def populate(self, size: int) -> None:
        """Touch the first `size` bytes' pages at once, which is faster than one by one as they are written.

        Does nothing on a kernel that is too old to know how.
        """
        _madvise(self.address(), size, _MADV_POPULATE_WRITE)

    def write_header(self, object_id: bytes, size: int, slot: int) -> None:
        """Say what the object is; called just before the file gets its final name."""
        self.length = size
        _LAYOUT.pack_into(self, 0, _MAGIC, size, slot, object_id)

    def read_header(self, object_id: bytes) -> None:
        """Set `length`. Raises OSError when the file is no object of that name."""
        magic, size, _, name = _LAYOUT.unpack_from(self, 0)
        if magic != _MAGIC or name != object_id or HEADER + size > len(self):
            raise OSError(errno.EIO, f"the file of object {object_id.hex()} is damaged")
        self.length = size


def header(object_id: bytes, size: int) -> bytes:
    """Return what stands before an object's bytes in a file."""
    return _LAYOUT.pack(_MAGIC, size, 0, object_id).ljust(HEADER, b"\0")


def map_file(descriptor: int, length: int, inode: int, writable: bool) -> Mapping:
    """Map a file's first `length` bytes. The descriptor may be closed afterwards."""
    mapping = Mapping(-1, length, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    protection = mmap.PROT_READ | (mmap.PROT_WRITE if writable else 0)
    found = _mmap(mapping.address(), length, protection, mmap.MAP_SHARED | _MAP_FIXED, descriptor, 0)
    if found == _MAP_FAILED:
        number = ctypes.get_errno()
        raise OSError(number, f"mapping {length:,} bytes: {os.strerror(number)}")
    mapping.inode = inode
    mapping.length = 0
    return mapping


def new_file(path: str, capacity: int, touch: int) -> Mapping:
    """Make a file of `capacity` bytes, mapped writable, with its first `touch` bytes at hand in this process.

    Reserves the room first, since a page that a full tmpfs cannot give is a SIGBUS at the time of writing.
    Raises OSError (ENOSPC) and leaves nothing.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(descriptor, 0, capacity)
        mapping = map_file(descriptor, capacity, os.fstat(descriptor).st_ino, writable=True)
        if touch:
            mapping.populate(touch)
        return mapping
    except BaseException:
        os.unlink(path)
        raise
    finally:
        os.close(descriptor)


def open_shared(path: str) -> tuple[int, os.stat_result] | None:
    """Open a sealed file and mark it as read; return its descriptor and what it is, or None if it is not there.

    The creator may give the file a new life between our open and our lock. It holds an exclusive lock while it
    renames, so either our lock is refused, or the name no longer leads to the file that we hold.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        here = os.fstat(descriptor)
        if os.stat(path).st_ino == here.st_ino:
            return descriptor, here
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def attach(path: str, object_id: bytes) -> Mapping | None:
    """Map a sealed object read-only, or return None if it is not there."""
    opened = open_shared(path)
    if opened is None:
        return None
    descriptor, here = opened
    try:
        mapping = map_file(descriptor, here.st_size, here.st_ino, writable=False)
    finally:
        os.close(descriptor)
    mapping.read_header(object_id)
    return mapping


def read_owner(path: str) -> tuple[int, int, int] | None:
    """Return (size on disk, inode, slot of the creator) of a sealed file, or None if it is not there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        here = os.fstat(descriptor)
        head = os.pread(descriptor, _LAYOUT.size, 0)
    finally:
        os.close(descriptor)
    slot = cast(int, _LAYOUT.unpack(head)[2]) if len(head) == _LAYOUT.size else 0
    return here.st_size, here.st_ino, slot


def read_size(descriptor: int) -> int:
    """Return the size of the object in an open sealed file."""
    return cast(int, _LAYOUT.unpack(os.pread(descriptor, _LAYOUT.size, 0))[1])


def rename_unless_read(path: str, target: str, inode: int) -> bool | None:
    """Rename a file if no other process maps it. None: the file is not there (any more)."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        if os.fstat(descriptor).st_ino != inode:
            return None
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.rename(path, target)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        return None
    finally:
        os.close(descriptor)
    return True


_forks = 0


def _count_fork() -> None:
    global _forks
    _forks += 1


os.register_at_fork(after_in_parent=_count_fork)


def forks() -> int:
    """Return how often this process has forked: a child shares the mappings that its parent had, unseen by flock."""
    return _forks
