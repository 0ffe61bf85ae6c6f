"""Identifiers: fixed width, ordered, printable, safe to use as dictionary keys.

An identifier *is* its bytes, so hashing, ordering and sending one costs what `bytes` costs. A task's identifier
begins with its owner's worker identifier, and an object's with the identifier of the task that makes it: who owns
an object can be read off its name.
"""

from __future__ import annotations

import builtins
import hashlib
import os
from typing import Any, ClassVar, TypeVar

_Id = TypeVar("_Id", bound="Identifier")
_T = TypeVar("_T", bound="_Told")


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
    def from_hex(cls: type[_Id], hex_id: str) -> _Id:
        """Parse what `hex()` printed. Raises ValueError for any other text."""
        return cls(bytes.fromhex(hex_id))

    @classmethod
    def from_binary(cls: type[_Id], id_bytes: bytes) -> _Id:
        """Return the identifier with exactly these bytes."""
        return cls(id_bytes)

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

    def redis_shard_hash(self) -> int:
        """Return 64 well mixed bits of the identifier, the same in every process: for spreading work over shards."""
        return int.from_bytes(hashlib.blake2b(self, digest_size=8).digest(), "big")

    @classmethod
    def _made_of(cls: type[_Id], *parts: bytes | int) -> _Id:
        """Return the identifier that these parts always give."""
        joined = b"\0".join(part.to_bytes(8, "big") if isinstance(part, int) else part for part in parts)
        return cls(hashlib.blake2b(joined, digest_size=cls.SIZE, person=cls.__name__.encode()[:16]).digest())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.hex()})"

    def __str__(self) -> str:
        return self.hex()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (bytes(self),)


class _Told(Identifier):
    """An identifier whose bytes do not say where it belongs: whoever makes it from something that does tells it so."""

    # No __slots__: what is told lies in the instance. Messages and tables use plain bytes, so that nothing hot pays.

    @classmethod
    def told(cls: type[_T], value: bytes, **where: bytes) -> _T:
        """Return the identifier with these bytes, knowing `job` and `actor` as far as they are given."""
        made = cls(value)
        made.__dict__.update(where)
        return made

    def _asked(self, what: str) -> bytes:
        known: bytes | None = self.__dict__.get(what)
        if known is None:
            raise ValueError(
                f"{self!r} does not know its {what}: it was made from bytes alone, which do not say so. Identifiers "
                "from handles, references and get_runtime_context() do"
            )
        return known

    def __reduce__(self) -> tuple[Any, ...]:
        return _tell, (type(self), bytes(self), dict(self.__dict__))


def _tell(kind: type[_T], value: bytes, where: dict[str, bytes]) -> _T:
    return kind.told(value, **where)


class JobID(Identifier):
    """One driver's run."""

    SIZE: ClassVar[builtins.int] = 4
    __slots__ = ()

    @classmethod
    def from_int(cls, value: builtins.int) -> JobID:
        """Return the identifier with this number, below 2**32."""
        return cls(value.to_bytes(cls.SIZE, "big"))

    def int(self) -> builtins.int:
        """Return the identifier as a number."""
        return builtins.int.from_bytes(self, "big")


class NodeID(Identifier):
    """One machine, as long as its daemon lives."""

    SIZE: ClassVar[int] = 8
    __slots__ = ()


class WorkerID(Identifier):
    """One process that owns objects: a driver or a worker."""

    SIZE: ClassVar[int] = 8
    __slots__ = ()


class TaskID(_Told):
    """One task: its owner's `WorkerID` and a counter of 8 bytes, big-endian."""

    SIZE: ClassVar[int] = 16

    def owner(self) -> WorkerID:
        """Return the process that submitted the task."""
        return WorkerID(self[:8])

    def job_id(self) -> JobID:
        """Return the program that the task belongs to. Raises ValueError for an identifier made from bytes."""
        return JobID(self._asked("job"))

    def actor_id(self) -> ActorID:
        """Return the actor that runs the task, `ActorID.nil()` if none does.

        Raises ValueError for an identifier that does not know: one made from bytes, or got from a reference.
        """
        return ActorID.told(self._asked("actor"), job=self._asked("job"))

    # Identifiers of tasks that no engine runs, for tests and records: the same arguments give the same one.

    @classmethod
    def for_driver_task(cls, job_id: JobID) -> TaskID:
        """Return an identifier for the main program of a job."""
        return cls.told(cls._made_of(b"driver", job_id), job=bytes(job_id), actor=_NO_ACTOR)

    @classmethod
    def for_fake_task(cls, job_id: JobID) -> TaskID:
        """Return an identifier for a task of a test."""
        return cls.told(cls._made_of(b"fake", job_id), job=bytes(job_id), actor=_NO_ACTOR)

    @classmethod
    def for_normal_task(cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int) -> TaskID:
        """Return an identifier for one of the tasks that a task submits."""
        made = cls._made_of(b"task", job_id, parent_task_id, parent_task_counter)
        return cls.told(made, job=bytes(job_id), actor=_NO_ACTOR)

    @classmethod
    def for_actor_creation_task(cls, actor_id: ActorID) -> TaskID:
        """Return the identifier of the call that creates an actor, which is the actor's."""
        return cls.told(actor_id, actor=bytes(actor_id), **actor_id.__dict__)

    @classmethod
    def for_actor_task(
        cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int, actor_id: ActorID
    ) -> TaskID:
        """Return an identifier for one of the calls that a task makes to an actor."""
        made = cls._made_of(b"call", job_id, parent_task_id, parent_task_counter, actor_id)
        return cls.told(made, job=bytes(job_id), actor=bytes(actor_id))


class ActorID(_Told):
    """One actor through all its restarts: the identifier of the call that created it."""

    SIZE: ClassVar[int] = 16

    @property
    def job_id(self) -> JobID:
        """The program that the actor belongs to. Raises ValueError for an identifier made from bytes."""
        return JobID(self._asked("job"))

    def owner(self) -> WorkerID:
        """Return the process that created the actor."""
        return WorkerID(self[:8])

    @classmethod
    def of(cls, job_id: JobID, parent_task_id: TaskID, parent_task_counter: int) -> ActorID:
        """Return an identifier for one of the actors that a task creates: the same arguments give the same one."""
        return cls.told(cls._made_of(job_id, parent_task_id, parent_task_counter), job=bytes(job_id))


_NO_ACTOR = bytes(ActorID.nil())


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

    @classmethod
    def of(cls, job_id: JobID) -> PlacementGroupID:
        """Return a new identifier; groups of a job are not told from those of another by their names."""
        return cls(hashlib.blake2b(job_id + os.urandom(cls.SIZE), digest_size=cls.SIZE).digest())
