"""A pickled value with its buffers beside it, and the one layout in which both lie in a single piece of memory.

Little endian: 4 bytes magic, 4 bytes number of buffers, 8 bytes length of the pickle, then offset and length of each
buffer (8 bytes each), the pickle, and every buffer at a multiple of `ALIGNMENT` from the start. Offsets count from the
start, so a reader needs nothing but the bytes. Whoever maps the bytes at an aligned address gets aligned arrays.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, TypeAlias

ALIGNMENT = 64  # bytes: a cache line, and as wide as any vector register

Bytes: TypeAlias = "bytes | memoryview"

_MAGIC = 0x314C4853  # "SHL1"
_HEADER = struct.Struct("<IIQ")
_ENTRY = struct.Struct("<QQ")
_PADDING = bytes(ALIGNMENT)


class Payload:
    """One value as bytes: `data` is the pickle, `buffers` the large pieces it refers to, in order.

    `refs` are the `ObjectRef`s found inside, in the order of their indices in the pickle. The buffers are views of the
    value's own memory: whoever needs isolation copies them (as every function here that packs does).
    """

    __slots__ = ("buffers", "data", "refs")

    def __init__(self, data: bytes, buffers: Sequence[memoryview] = (), refs: Sequence[Any] = ()) -> None:
        self.data: bytes = data
        self.buffers: Sequence[memoryview] = buffers
        self.refs: Sequence[Any] = refs

    @property
    def size(self) -> int:
        """Bytes that the packed form takes."""
        if not self.buffers:
            return _HEADER.size + len(self.data)
        return _places(self)[-1]

    def __repr__(self) -> str:
        held = sum(buffer.nbytes for buffer in self.buffers)
        return f"Payload({len(self.data)} bytes, {len(self.buffers)} buffers of {held} bytes, {len(self.refs)} refs)"


def _places(payload: Payload) -> list[int]:
    """Return where each buffer starts, and last where everything ends."""
    end = _HEADER.size + _ENTRY.size * len(payload.buffers) + len(payload.data)
    places = []
    for buffer in payload.buffers:
        start = -(-end // ALIGNMENT) * ALIGNMENT
        places.append(start)
        end = start + buffer.nbytes
    places.append(end)
    return places


def pack(payload: Payload) -> list[Bytes]:
    """Return the parts whose concatenation is the packed form: for `writev` and `sendmsg`, nothing is copied."""
    buffers = payload.buffers
    header = _HEADER.pack(_MAGIC, len(buffers), len(payload.data))
    if not buffers:
        return [header, payload.data]
    places = _places(payload)
    entries = [_ENTRY.pack(place, buffer.nbytes) for place, buffer in zip(places, buffers, strict=False)]
    parts: list[Bytes] = [b"".join((header, *entries)), payload.data]
    end = len(parts[0]) + len(payload.data)
    for place, buffer in zip(places, buffers, strict=False):
        if place > end:
            parts.append(_PADDING[: place - end])
        if buffer.nbytes:
            parts.append(buffer)
        end = place + buffer.nbytes
    return parts


def pack_bytes(payload: Payload) -> bytes:
    """Return the packed form as one bytes object."""
    return b"".join(pack(payload))


def pack_into(view: memoryview, payload: Payload) -> int:
    """Write the packed form to the start of `view`, each byte once, and return its size.

    Raises ValueError if `view` is too small; nothing is written then.
    """
    parts = pack(payload)
    size = sum(map(len, parts))
    if size > len(view):
        raise ValueError(f"the packed value takes {size} bytes, the memory given has {len(view)}")
    start = 0
    for part in parts:
        end = start + len(part)
        view[start:end] = part
        start = end
    return size


def unpack(packed: Bytes) -> tuple[memoryview, list[memoryview]]:
    """Return (pickle, buffers) as read-only views of `packed`, which may be longer than what was packed.

    Raises ValueError if these are not packed bytes or not all of them.
    """
    view = packed if type(packed) is memoryview else memoryview(packed)
    if not view.readonly:
        view = view.toreadonly()
    length = len(view)
    if length < _HEADER.size:
        raise ValueError(f"{length} bytes are too few for a packed value")
    magic, count, data_length = _HEADER.unpack_from(view)
    if magic != _MAGIC:
        raise ValueError("these bytes are not a packed value")
    start = _HEADER.size + count * _ENTRY.size
    if start + data_length > length:
        raise ValueError(f"a packed value of more than {start + data_length} bytes was cut to {length}")
    data = view[start : start + data_length]
    if not count:
        return data, []
    buffers = []
    for place, size in _ENTRY.iter_unpack(view[_HEADER.size : start]):
        if place + size > length:
            raise ValueError(f"a packed value of more than {place + size} bytes was cut to {length}")
        buffers.append(view[place : place + size])
    return data, buffers
