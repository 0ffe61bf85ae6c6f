"""Metadata: where the head keeps what must survive it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

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
        """Carry out all writes or none. Raises OSError if the store cannot be reached or is full."""

    @abstractmethod
    def put_if_absent(self, table: str, key: bytes, value: bytes) -> bool:
        """Set a key that is not there; return whether it was set. Atomic among all who share the store."""

    @abstractmethod
    def items(self, table: str, prefix: bytes = b"") -> list[tuple[bytes, bytes]]:
        """Return the pairs of a table whose key begins with `prefix`, sorted by key."""

    @abstractmethod
    def close(self) -> None:
        """Release the store. Later calls raise ValueError; a second close does nothing."""
