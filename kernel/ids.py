"""Identifiers: fixed width, ordered, printable, safe to use as dictionary keys.

An identifier *is* its bytes, so hashing, ordering and sending one costs what `bytes` costs. A task's identifier
begins with its owner's worker identifier, and an object's with the identifier of the task that makes it: who owns
an object can be read off its name.
"""

from __future__ import annotations

import os
from typing import ClassVar, TypeVar

_Id = TypeVar("_Id", bound="Identifier")


class Identifier(bytes):
    """Bytes of one fixed length. Subclasses set `SIZE`, in bytes."""

    SIZE: ClassVar[int] = 16
    __slots__ = ()

    def __new__(cls: type[_Id], value: bytes) -> _Id:
        if len(value) != cls.SIZE:
            raise ValueError(f"{cls.__name__} takes {cls.SIZE} bytes, got {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def from_random(cls: type[_Id]) -> _Id:
        """Return a new identifier from the operating system's random source."""
        return cls(os.urandom(cls.SIZE))

    @classmethod
    def from_hex(cls: type[_Id], text: str) -> _Id:
        """Parse what `hex()` printed. Raises ValueError for any other text."""
        return cls(bytes.fromhex(text))

    @classmethod
    def from_binary(cls: type[_Id], value: bytes) -> _Id:
        """Return the identifier with exactly these bytes."""
        return cls(value)

    @classmethod
    def nil(cls: type[_Id]) -> _Id:
        """Return the identifier that names nothing: all bits set."""
        return cls(b"\xff" * cls.SIZE)

    @classmethod
    def size(cls) -> int:
        """Return the width in bytes."""
        return cls.SIZE

    def binary(self) -> bytes:
        """Return the plain bytes."""
        return bytes(self)

    def is_nil(self) -> bool:
        """Tell whether this is `nil()`."""
        return self == b"\xff" * self.SIZE

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __str__(self) -> str:
        return self.hex()

    def __reduce__(self) -> tuple[type[Identifier], tuple[bytes]]:
        return type(self), (bytes(self),)


class JobID(Identifier):
    """One driver's run."""

    SIZE: ClassVar[int] = 4
    __slots__ = ()


class NodeID(Identifier):
    """One machine, as long as its daemon lives."""

    SIZE: ClassVar[int] = 8
    __slots__ = ()


class WorkerID(Identifier):
    """One process that owns objects: a driver or a worker."""

    SIZE: ClassVar[int] = 8
    __slots__ = ()


class TaskID(Identifier):
    """One task: its owner's `WorkerID` and a counter of 8 bytes, big-endian."""

    SIZE: ClassVar[int] = 16
    __slots__ = ()

    def owner(self) -> WorkerID:
        """Return the process that submitted the task."""
        return WorkerID(self[:8])


class ActorID(Identifier):
    """One actor through all its restarts: the identifier of the call that created it."""

    SIZE: ClassVar[int] = 16
    __slots__ = ()

    def owner(self) -> WorkerID:
        """Return the process that created the actor."""
        return WorkerID(self[:8])


class ObjectID(Identifier):
    """One object: the `TaskID` that makes it and the index of the result, 4 bytes, big-endian."""

    SIZE: ClassVar[int] = 20
    __slots__ = ()

    def task_id(self) -> TaskID:
        """Return the task that makes the object (for `put`, a counter of its own)."""
        return TaskID(self[:16])

    def owner(self) -> WorkerID:
        """Return the process that owns the object."""
        return WorkerID(self[:8])

    def result_index(self) -> int:
        """Return which of its task's results the object is; 0 for `put`."""
        return int.from_bytes(self[16:], "big")


class PlacementGroupID(Identifier):
    """One placement group."""

    SIZE: ClassVar[int] = 16
    __slots__ = ()
