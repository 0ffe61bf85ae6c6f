"""tf.train.Example and the frames of TFRecord files, without TensorFlow.

The message is a map of features, each a list of bytes, of 32-bit fractions or of 64-bit whole numbers; it has not
changed since 2015, so its few bytes are read and written here rather than by a package of half a gigabyte.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

from shoal.errors import describe

_BYTES, _FLOATS, _INTS = 1, 2, 3  # the fields of a Feature
_VARINT, _LENGTH, _FIXED32 = 0, 2, 5  # the kinds of fields on the wire


def read_frames(stream: Any) -> Iterator[bytes]:
    """Yield the records of a TFRecord stream. Raises ValueError for a checksum that is wrong, or half a record."""
    number = 0
    while head := stream.read(12):
        size, check = struct.unpack("<QI", head) if len(head) == 12 else (0, -1)
        data = stream.read(size + 4) if check == _masked(head[:8]) else b""
        if len(data) != size + 4 or struct.unpack("<I", data[size:])[0] != _masked(data[:size]):
            raise ValueError(f"record {number} is damaged, or this is no TFRecord file")
        yield data[:size]
        number += 1


def frame(data: bytes) -> bytes:
    """Return a record with its length and checksums.

    Example: `stream.write(frame(encode_example({"x": 1})))`
    """
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


def decode_example(data: bytes) -> dict[str, list[Any]]:
    """Return the features of an Example, each as a list. Raises ValueError for what is none.

    Example: `decode_example(encode_example({"x": 1}))  # {"x": [1]}`
    """
    row: dict[str, list[Any]] = {}
    try:
        for _, features in _fields(data):
            for _, entry in _fields(features):
                parts = dict(_fields(entry))
                row[parts[1].decode()] = _feature(parts.get(2, b""))
    except (IndexError, KeyError, struct.error, AttributeError, TypeError) as error:
        raise ValueError(f"a record is no tf.train.Example: {error}") from error
    return row


def encode_example(row: Mapping[str, Any]) -> bytes:
    """Return a row as an Example. Raises TypeError, naming the column, for values that it has no form for.

    Example: `encode_example({"x": 1, "name": "a", "list": [0.5, 1.5]})`
    """
    entries = b""
    for name, value in row.items():
        values = value if isinstance(value, list) else [] if value is None else [value]
        feature = _encode_feature(name, values)
        entries += _field(1, _field(1, name.encode()) + _field(2, feature))
    return _field(1, entries)


def _feature(data: bytes) -> list[Any]:
    values: list[Any] = []
    for kind, content in _fields(data):
        for _, value in _fields(content):
            if kind == _BYTES:
                values.append(value)
            elif kind == _FLOATS:
                values += struct.unpack(f"<{len(value) // 4}f", value)
            else:
                values += (
                    [_signed(each) for each in _varints(value)]
                    if isinstance(value, bytes)
                    else [_signed(value)]
                )
    return values


def _encode_feature(name: str, values: list[Any]) -> bytes:
    if not values:
        return b""
    if all(isinstance(value, (str, bytes)) for value in values):
        encoded = [value.encode() if isinstance(value, str) else value for value in values]
        return _field(_BYTES, b"".join(_field(1, value) for value in encoded))
    if all(isinstance(value, (bool, int)) for value in values):
        return _field(_INTS, _field(1, b"".join(_varint(int(value) & (2**64 - 1)) for value in values)))
    if all(isinstance(value, (bool, int, float)) for value in values):
        return _field(_FLOATS, _field(1, struct.pack(f"<{len(values)}f", *values)))
    raise TypeError(
        f"column {name!r} cannot be a TFRecord feature: it takes text, bytes, numbers and lists of one of them, "
        f"not {describe(values[0])}"
    )


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """The numbers and values of a message's fields; 32-bit values stay bytes."""
    at = 0
    while at < len(data):
        tag, at = _read_varint(data, at)
        kind = tag & 7
        if kind == _VARINT:
            value, at = _read_varint(data, at)
            yield tag >> 3, value
            continue
        size, at = (4, at) if kind == _FIXED32 else _read_varint(data, at)
        if kind not in (_LENGTH, _FIXED32) or at + size > len(data):
            raise IndexError("the message ends too early")
        yield tag >> 3, data[at : at + size]
        at += size


def _varints(data: bytes) -> Iterator[int]:
    at = 0
    while at < len(data):
        value, at = _read_varint(data, at)
        yield value


def _read_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def _field(number: int, data: bytes) -> bytes:
    return _varint(number << 3 | _LENGTH) + _varint(len(data)) + data


def _signed(value: int) -> int:
    return value - 2**64 if value >= 2**63 else value


def _masked(data: bytes) -> int:
    import crc32c

    check: int = crc32c.crc32c(data)
    return ((check >> 15 | check << 17) + 0xA282EAD8) & 0xFFFFFFFF
