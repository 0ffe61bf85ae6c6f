"""Values in the inline engine: packed bytes, so that nobody ever holds anybody else's own object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from shoal.errors import ObjectFreed
from shoal.interfaces.refs import ObjectRef
from shoal.serial import Payload, load_error, loads, pack_bytes, unpack

PENDING, READY, FAILED, FREED = "PENDING", "READY", "FAILED", "FREED"


class Result:
    """One object: pending, or its bytes, or its error. Whoever changes it holds the engine's lock."""

    __slots__ = ("__weakref__", "call", "error", "id", "packed", "refs", "state", "watchers")

    def __init__(self, object_id: bytes, call: Any = None) -> None:
        self.id: bytes = object_id
        self.state: str = PENDING
        self.call: Any = call  # what makes it; None for put
        self.packed: bytes = b""
        self.refs: tuple[ObjectRef[Any], ...] = ()
        self.error: bytes = b""
        self.watchers: list[Callable[[], None]] = []

    @property
    def done(self) -> bool:
        return self.state != PENDING

    def fill(self, payload: Payload) -> None:
        """Keep a value's bytes and the references inside it."""
        self.packed = pack_bytes(payload)
        self.refs = tuple(payload.refs)
        self.state = READY

    def fail(self, error: bytes) -> None:
        """Keep an error that dump_error made."""
        self.error = error
        self.state = FAILED

    def free(self) -> None:
        """Forget the value."""
        self.state, self.packed, self.refs = FREED, b"", ()

    def value(self) -> Any:
        """Return a new copy of the value, or raise its error."""
        if self.state == FREED:
            raise ObjectFreed(f"object {self.id.hex()} was freed; do not keep references to what you free")
        if self.state == FAILED:
            raise load_error(self.error)
        return loads(*unpack(self.packed), self.refs)
