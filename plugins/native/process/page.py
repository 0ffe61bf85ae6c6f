"""A worker's page: a small shared file that says what it started last, readable when the worker is dead.

0   8 bytes   the caller's counter of the call, little endian
8   1 byte    length of the name
9   …         name of the function, UTF-8
"""

from __future__ import annotations

import mmap
import os

BYTES = 4096
_NAME = 8
_LONGEST = 200


def path_of(session_folder: str, worker_id: bytes) -> str:
    """Return where a worker's page lies."""
    return os.path.join(session_folder, "p", worker_id.hex())


def create(path: str) -> mmap.mmap:
    """Make a worker's page and map it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.ftruncate(descriptor, BYTES)
        return mmap.mmap(descriptor, BYTES)
    finally:
        os.close(descriptor)


def write_name(page: mmap.mmap, name: str) -> None:
    """Note the function that runs from now on."""
    encoded = name.encode("utf-8", "replace")[:_LONGEST]
    page[_NAME : _NAME + 1 + len(encoded)] = bytes((len(encoded),)) + encoded


def read(path: str) -> tuple[int, str]:
    """Return (counter, name) of what was started last; (0, "") if the page is gone or nothing was started."""
    try:
        with open(path, "rb") as file:
            data = file.read(_NAME + 1 + 255)
    except FileNotFoundError:
        return 0, ""
    if len(data) <= _NAME:
        return 0, ""
    size = data[_NAME]
    name = data[_NAME + 1 : _NAME + 1 + size].decode("utf-8", "replace")
    return int.from_bytes(data[:_NAME], "little"), name
