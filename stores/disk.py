"""Objects as files on a disk: the same form as in shared memory, written whole and renamed into place."""

from __future__ import annotations

import contextlib
import errno
import os
from weakref import WeakValueDictionary

from shoal.errors import OutOfDisk
from shoal.stores.accounts import client_hash
from shoal.stores.folder import object_names
from shoal.stores.segment import Mapping, attach, header, open_shared, read_size

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Disk:
    """A folder of spilled objects, shared by the processes of a node. Not thread-safe."""

    def __init__(self, folder: str, client: str) -> None:
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self._folder = folder.rstrip("/")
        self._prefix = client_hash(client)
        self._attached: WeakValueDictionary[bytes, Mapping] = WeakValueDictionary()

    def write(self, object_id: bytes, data: memoryview) -> None:
        """Store an object. Raises OutOfDisk, and leaves nothing then."""
        temporary = f"{self._folder}/t.{self._prefix}.{object_id.hex()}"
        try:
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                _write_all(descriptor, memoryview(header(object_id, len(data))))
                _write_all(descriptor, data)
            finally:
                os.close(descriptor)
            os.rename(temporary, self._path(object_id))
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            if error.errno in _FULL:
                raise OutOfDisk(
                    error.errno,
                    f"no room to spill an object of {len(data):,} bytes to {self._folder}: {error.strerror}. "
                    "Free space there, or set another spill folder. Nothing that was stored is lost",
                ) from error
            raise

    def get(self, object_id: bytes) -> memoryview | None:
        """Return an object's bytes, mapped read-only, or None. They are read as they are looked at."""
        path = self._path(object_id)
        mapping = self._attached.get(object_id)
        if mapping is None or not self._is(path, mapping.inode):
            mapping = attach(path, object_id)
            if mapping is None:
                return None
            self._attached[object_id] = mapping
        return mapping.readable()

    def open_file(self, object_id: bytes) -> tuple[int, int, int] | None:
        """Return (descriptor, offset, size), or None. The caller closes it."""
        opened = open_shared(self._path(object_id))
        return None if opened is None else (opened[0], len(header(object_id, 0)), read_size(opened[0]))

    def contains(self, object_id: bytes) -> bool:
        """Tell whether an object is here."""
        return os.access(self._path(object_id), os.F_OK)

    def delete(self, object_id: bytes) -> bool:
        """Remove an object; return whether it was here. Views stay valid."""
        self._attached.pop(object_id, None)
        try:
            os.unlink(self._path(object_id))
        except FileNotFoundError:
            return False
        return True

    def ids(self) -> list[bytes]:
        """Return the objects' identifiers."""
        return [bytes.fromhex(name) for name in object_names(self._folder)]

    def used(self) -> tuple[int, int]:
        """Return how many objects there are and how many bytes they take."""
        sizes = []
        for name in object_names(self._folder):
            with contextlib.suppress(FileNotFoundError):
                sizes.append(os.stat(f"{self._folder}/{name}").st_size)
        return len(sizes), sum(sizes)

    def sweep(self, client: str) -> None:
        """Remove what a dead client was writing."""
        prefix = f"t.{client_hash(client)}."
        for name in os.listdir(self._folder):
            if name.startswith(prefix):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(f"{self._folder}/{name}")

    def _path(self, object_id: bytes) -> str:
        return f"{self._folder}/{object_id.hex()}"

    def _is(self, path: str, inode: int) -> bool:
        try:
            return os.stat(path).st_ino == inode
        except FileNotFoundError:
            return False


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data[: 1 << 30]) :]
