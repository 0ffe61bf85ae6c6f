"""ObjectStore: sealed bytes on one node."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Protocol, runtime_checkable

import attrs


@attrs.frozen(kw_only=True)
class StoreSettings:
    """Where a store keeps its bytes and how many.

    All processes of a node open the same `folder`; `client` names the process (unique on the node) so that what a
    dead one left can be swept. `spill_folder` is on a real disk.
    """

    folder: str
    capacity: int  # bytes, for all processes of the node together
    client: str
    spill_folder: str = ""
    options: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class StoreStatistics:
    """Counts as of now, of this process's view of the node's store."""

    objects: int
    used: int  # bytes of sealed and unsealed objects
    capacity: int  # bytes
    spilled_objects: int = 0
    spilled: int = 0  # bytes on disk
    recycled: int = 0  # bytes kept warm for the next object


class ObjectStore(ABC):
    """Sealed bytes on one node, by 20-byte object identifier. Methods may be called from any thread.

    An object is created (room is reserved), written once, then sealed: from then on every process that opened the
    same folder can read it, and its bytes never change while any view of them lives, delete() included. Nothing is
    visible before seal(). A process that dies between create and seal leaves nothing that sweep() does not remove.
    """

    name: ClassVar[str]
    shared: ClassVar[bool]  # whether other processes see the objects
    __slots__ = ()

    @abstractmethod
    def __init__(self, settings: StoreSettings) -> None:
        """Open the store. Raises ConfigError on unknown options or an unusable folder."""

    @abstractmethod
    def create(self, object_id: bytes, size: int) -> memoryview:
        """Reserve `size` ≥ 0 bytes and return them writable, with unspecified contents.

        Raises ObjectStoreFull if there is no room, or never can be, and ValueError if the identifier exists.
        """

    @abstractmethod
    def seal(self, object_id: bytes) -> None:
        """Make a created object readable. The caller has released its writable views. KeyError if not created."""

    @abstractmethod
    def abort(self, object_id: bytes) -> None:
        """Undo create(); nothing stays. KeyError if it was not created here, or is sealed."""

    @abstractmethod
    def get(self, object_id: bytes) -> memoryview | None:
        """Return the sealed bytes, read-only, or None if there is no such sealed object. Never waits."""

    @abstractmethod
    def contains(self, object_id: bytes) -> bool:
        """Tell whether get() would find it."""

    @abstractmethod
    def delete(self, object_id: bytes) -> bool:
        """Forget a sealed object, in memory and on disk; return whether it was there. Live views stay valid."""

    @abstractmethod
    def ids(self) -> list[bytes]:
        """Return the sealed objects' identifiers, sorted."""

    @abstractmethod
    def statistics(self) -> StoreStatistics:
        """Return the counts as of now."""

    @abstractmethod
    def sweep(self, client: str) -> None:
        """Remove what a process that died left unsealed, and give its share of room back. Sealed objects stay."""

    @abstractmethod
    def close(self) -> None:
        """Release this process's part. Live views stay valid; later calls raise ValueError."""


@runtime_checkable
class TellsSpills(Protocol):
    """A store that says when it has moved an object to disk."""

    on_spill: (
        Callable[[bytes, int], None] | None
    )  # called with identifier and bytes; must be quick and not raise


@runtime_checkable
class SupportsFiles(Protocol):
    """A store whose objects lie in files, for who moves bytes by descriptors (`sendfile`, `splice`)."""

    def create_file(self, object_id: bytes, size: int) -> tuple[int, int] | None:
        """Do as `create`; return (descriptor, offset) of where the bytes are to be written.

        The caller closes the descriptor, before `seal` or `abort`. None, and nothing is created: this one has to be
        written through `create`. Raises as `create` does.
        """
        ...

    def open_file(self, object_id: bytes) -> tuple[int, int, int] | None:
        """Return (descriptor, offset, size) of a sealed object, or None. The caller closes the descriptor.

        The bytes do not change as long as it is open.
        """
        ...


@runtime_checkable
class SupportsRelief(Protocol):
    """A store that can make room on request, by spilling or by dropping what it keeps warm."""

    def relieve(self, size: int) -> int:
        """Free about `size` bytes of memory from this process's own objects; return how many were freed."""
        ...
