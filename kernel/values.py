"""Values as bytes, for libraries that move them on ways of their own: channels, files, sockets.

Bytes of a stranger must not come here: unpacking runs what is in them.

    packed = pack(array)
    packed.write_into(memory)         # the large parts are copied once, straight from the value
    again = unpack(memory)            # arrays are read-only views of `memory`
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from typing import Any

from shoal.errors import NotSerializable
from shoal.interfaces.current import current
from shoal.serial import dump_error, dumps, load_error, loads, pack_bytes, pack_into
from shoal.serial import unpack as unpack_parts
from shoal.serial.payload import Payload


class PackedValue:
    """A pickled value. Its large parts are still the value's own memory, so write it before the value changes."""

    __slots__ = ("_payload", "is_plain")

    def __init__(self, payload: Payload) -> None:
        self._payload = payload
        self.is_plain: bool = not payload.buffers

    @property
    def size(self) -> int:
        """Bytes that `write_into` needs."""
        return self._payload.size

    @property
    def pickled(self) -> bytes:
        """The pickle alone: all of a plain value, for `unpack_plain`."""
        return self._payload.data

    def write_into(self, memory: memoryview) -> int:
        """Write the value to the start of `memory` and return its size. Raises ValueError if that is too small."""
        return pack_into(memory, self._payload)

    def to_bytes(self) -> bytes:
        """Return the same as one bytes object."""
        return pack_bytes(self._payload)


def pack(value: Any, what: str = "the value") -> PackedValue:
    """Pickle a value. `what` names it in errors.

    Raises NotSerializable, also for a value that holds an ObjectRef: bytes cannot keep an object alive.

    Example: `pack([1, 2]).to_bytes()`
    """
    payload = dumps(value, None, what)
    if payload.refs:
        raise NotSerializable(
            f"{what} holds {payload.refs[0]!r}: bytes cannot keep an object alive. Get its value first, or pass the "
            "reference as an argument of an ordinary call"
        )
    return PackedValue(payload)


def unpack(packed: bytes | memoryview, track: Callable[[memoryview], Any] | None = None) -> Any:
    """Return the value that was packed; its large parts are read-only views of `packed`.

    `track` is called with a view for each of these parts: as long as the value, or an array made of it, uses the
    part, something besides the tracker refers to that view, which `sys.getrefcount` tells.
    Raises ValueError for what are no packed bytes, and what unpickling raises.
    """
    data, buffers = unpack_parts(packed)
    if not buffers:
        return loads(data)
    if track is None:
        return loads(data, buffers)
    for view in buffers:
        track(view)
    # A PickleBuffer makes each user export the view itself, where a memoryview would hand out its own source.
    wrapped: list[Any] = [pickle.PickleBuffer(view) for view in buffers]
    return pickle.loads(data, buffers=wrapped)


def unpack_plain(pickled: bytes | memoryview) -> Any:
    """Return the value whose `PackedValue.pickled` this is; it was plain."""
    return pickle.loads(pickled)


def pack_error(error: BaseException, function: str) -> bytes:
    """Return an error that was just caught as bytes, with its traceback; `function` names what raised it."""
    engine = current.engine
    node = "" if engine is None else engine.context().node_id.hex()
    return dump_error(error, function, os.getpid(), node)


def unpack_error(packed: bytes | memoryview) -> BaseException:
    """Return what to raise for `pack_error`'s bytes: of the user's own class, with the remote traceback."""
    return load_error(packed)
