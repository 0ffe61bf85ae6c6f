"""Metadata: where the head keeps what must survive it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol, runtime_checkable

import attrs


@attrs.frozen
class Write:
    """Set a key; `value` None deletes it."""

    table: str
    key: bytes
    value: bytes | None


class Metadata(ABC):
    """Bytes by table and key. Methods may be called from any thread; a write that returned survives a crash of the
    process (where the driver is durable at all: `durable`).
    """

    name: ClassVar[str]
    durable: ClassVar[bool]
    __slots__ = ()

    @abstractmethod
    def __init__(self, location: str, options: Mapping[str, Any] | None = None) -> None:
        """Open or create the store at `location` (a path or address; unused by some). Raises ConfigError."""

    @abstractmethod
    def get(self, table: str, key: bytes) -> bytes | None:
        """Return the bytes, or None."""

    @abstractmethod
    def apply(self, writes: Sequence[Write]) -> None:
        """Carry out all writes, in order, or none. Raises OSError if the store cannot be reached, is full, or cannot
        take so many at once.
        """

    @abstractmethod
    def put_if_absent(self, table: str, key: bytes, value: bytes) -> bool:
        """Set a key that is not there; return whether it was set. Atomic among all who share the store.

        Raises OSError as `apply` does, and where a connection broke in such a way that nobody can tell who set it.
        """

    @abstractmethod
    def items(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return the pairs of a table whose key begins with `prefix`, sorted by key."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. Later calls raise ValueError; a second close does nothing."""


@runtime_checkable
class SupportsLeases(Protocol):
    """A store that can lend a name to one owner at a time, for as long as the owner keeps renewing.

    What two heads of one cluster are kept apart by. An owner is any bytes that nobody else uses, and a name any text.
    Every step is atomic among all who share the store, and a lease ends by the store's clock, never by the callers'.
    A store may round `seconds` up to what it can do, at most to ten. All raise OSError if the store cannot be
    reached, ValueError for seconds that are not positive and once the store is closed.

    Example: `isinstance(store, SupportsLeases) and store.acquire("head", b"me", 10)`.
    """

    def acquire(self, name: str, owner: bytes, seconds: float) -> bool:
        """Take the lease if it is free, has run out or is the owner's own; return whether the owner has it now."""
        ...

    def renew(self, name: str, owner: bytes, seconds: float) -> bool:
        """Let an owner's lease last `seconds` from now. False if it ran out or was taken: the owner must stop."""
        ...

    def release(self, name: str, owner: bytes) -> bool:
        """Give a lease back before its time. False, and nothing happens, if it is not the owner's."""
        ...

    def holder(self, name: str) -> bytes | None:
        """Return who has the lease now, None if nobody."""
        ...
