"""Values on their way through Ray: our pickle, its buffers, and Ray's own references in the places of ours.

Ray sees the references inside a parcel, so its reference counting keeps their values alive; and it sees the buffers,
so large arrays lie in its object store and come back as views of it.
"""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, Any

from shoal.interfaces.refs import DynamicObjectRefGenerator, ObjectRef
from shoal.serial import Payload, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shoal.onray.engine import RayEngine


class Held:
    """What stands behind one of our references: Ray's reference, or the handle that keeps an actor alive."""

    __slots__ = ("demand", "name", "ray")

    def __init__(self, ray: Any, name: str = "", demand: Any = None) -> None:
        self.ray: Any = ray
        self.name: str = name  # of the call that makes it
        self.demand: Any = demand  # the resources that the call asks for


class Parcel:
    """A pickled value with its buffers and references. `refs` are pairs of our identifier and what Ray has for it."""

    __slots__ = ("buffers", "data", "refs")

    def __init__(
        self, data: bytes, buffers: Sequence[Any] = (), refs: Sequence[tuple[bytes, Any]] = ()
    ) -> None:
        self.data: bytes = data
        self.buffers: Sequence[Any] = buffers
        self.refs: Sequence[tuple[bytes, Any]] = refs

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        return Parcel, (self.data, [pickle.PickleBuffer(buffer) for buffer in self.buffers], list(self.refs))


Wrapped = Parcel | bytes  # bytes: a pickle without buffers and references, which Ray moves as it is


def wrap(payload: Payload) -> Wrapped:
    """Return what travels through Ray for a payload."""
    if not payload.buffers and not payload.refs:
        return payload.data
    return Parcel(payload.data, payload.buffers, [(ref.binary(), ref.record.ray) for ref in payload.refs])


def wrap_value(value: Any, what: str = "the value") -> Wrapped:
    """Pickle a value for Ray. Raises NotSerializable."""
    return wrap(dumps(value, what=what))


def open_wrapped(engine: RayEngine, wrapped: Any) -> Any:
    """Return the value that travelled, its references bound to this process's engine."""
    if type(wrapped) is bytes:
        return loads(wrapped)
    if type(wrapped) is not Parcel:
        return _foreign(engine, wrapped)
    refs = [engine.reference(identifier, thing) for identifier, thing in wrapped.refs]
    return loads(wrapped.data, [memoryview(buffer).toreadonly() for buffer in wrapped.buffers], refs)


def _foreign(engine: RayEngine, value: Any) -> Any:
    """Return our form of what Ray itself made: the references of a dynamic generator, a placement group."""
    if type(value).__name__ == "DynamicObjectRefGenerator":
        return DynamicObjectRefGenerator(
            [engine.reference(identify(ref), ref) for ref in value],
        )
    return True if type(value).__name__ == "PlacementGroup" else value


def identify(ray_ref: Any, put: bool = False) -> bytes:
    """Return our identifier for Ray's: sixteen bytes of the task and four of the result; index 0 is put().

    Example: the references of one task share their first sixteen bytes.
    """
    binary: bytes = ray_ref.binary()
    if put:
        return short(binary, 16) + bytes(4)
    return short(binary[:-4], 16) + int.from_bytes(binary[-4:], "little").to_bytes(4, "big")


def short(binary: bytes, size: int) -> bytes:
    """Return fewer bytes that name the same thing, the same in all processes."""
    return hashlib.blake2b(binary, digest_size=size).digest()


class Slot:
    """Stands in pickled arguments for a reference that Ray resolves before the call begins."""

    __slots__ = ("index",)

    def __init__(self, index: int) -> None:
        self.index: int = index

    def __reduce__(self) -> tuple[Any, ...]:
        return Slot, (self.index,)


def take_out(
    args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any], list[Any]]:
    """Return the arguments with slots for top-level references, and Ray's references for these slots."""
    waits: list[Any] = []

    def slot(value: Any) -> Any:
        if type(value) is not ObjectRef:
            return value
        waits.append(value.record.ray)
        return Slot(len(waits) - 1)

    if ObjectRef not in map(type, args) and ObjectRef not in map(type, kwargs.values()):
        return args, kwargs, waits
    return tuple(map(slot, args)), {name: slot(value) for name, value in kwargs.items()}, waits


def arguments(
    engine: RayEngine, parcel: Wrapped, values: Sequence[Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a call's arguments with the values that Ray resolved in their slots; each slot has a copy of its own."""
    args, kwargs = open_wrapped(engine, parcel)
    if not values:
        return args, kwargs

    def fill(value: Any) -> Any:
        return open_wrapped(engine, values[value.index]) if type(value) is Slot else value

    return tuple(map(fill, args)), {name: fill(value) for name, value in kwargs.items()}
