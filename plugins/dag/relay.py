"""Channels between machines: an actor on the reader's node writes into a ring there what the writer calls it with.

The calls go over the cluster's own connections, so nothing else listens and nothing else has to be secured.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from typing import Any

import shoal
from shoal.dag.failures import ValueTooLarge
from shoal.dag.ring import PLAIN, VALUE, Ring, RingPlan, Writer, make_ring, remove_ring
from shoal.values import PackedValue


class Relay:
    """The writer of rings on its node. Made by `shoal.remote` where a graph crosses nodes."""

    def __init__(self) -> None:
        self._writer: Writer | None = None
        self._path = ""

    def make(self, name: str, slots: int, size: int, readers: int) -> str:
        """Make the ring and return its path."""
        self._path = os.path.join(shoal.get_runtime_context().get_shared_folder(), name)
        make_ring(RingPlan(self._path, slots, size, readers))
        self._writer = Writer(Ring(self._path))
        return self._path

    def forget_name(self) -> None:
        """Remove the file: all readers have it mapped."""
        remove_ring(self._path)

    def deliver(self, kind: int, body: bytes) -> None:
        """Write one value, waiting for room as long as the graph lives: the graph's end kills this actor."""
        assert self._writer is not None
        self._writer.write_bytes(kind, body, None, _nothing)


class RelayWriter:
    """The far end of a ring on another node. As `Writer`."""

    def __init__(self, relay: Any, slots: int, size: int) -> None:
        self._relay = relay
        self._slots = slots
        self._size = size
        self._under_way: deque[Any] = deque()

    def has_room(self) -> bool:
        """Tell whether a write would not wait."""
        while self._under_way and shoal.wait([self._under_way[0]], timeout=0)[0]:
            shoal.get(self._under_way.popleft())
        return len(self._under_way) < self._slots

    def write(self, value: PackedValue, timeout: float | None, check: Callable[[], None]) -> None:
        """Write a value. Raises as `Writer.write` does, and ActorDied if the relay is gone."""
        if value.is_plain:
            self.write_bytes(PLAIN, value.pickled, timeout, check)
        else:
            self.write_bytes(VALUE, value.to_bytes(), timeout, check)

    def write_bytes(self, kind: int, data: bytes, timeout: float | None, check: Callable[[], None]) -> None:
        """Write bytes of one of the kinds. Raises as `write` does."""
        if len(data) > self._size:
            raise ValueTooLarge(
                f"a value of {len(data):,} bytes is larger than the {self._size:,} bytes of a channel's buffer: "
                f"compile the graph with _buffer_size_bytes={len(data)} or more"
            )
        if not self.has_room():
            shoal.get(self._under_way[0], timeout=timeout)
            self._under_way.popleft()
        self._under_way.append(self._relay.deliver.remote(kind, data))


def _nothing() -> None:
    """Waiting always makes sense: whoever ends the graph ends the relay."""
