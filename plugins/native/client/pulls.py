"""Bringing the bytes of objects that lie on other nodes to this one, before they are looked at."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from shoal.native.wire import kinds
from shoal.native.wire.nodes import number_of

if TYPE_CHECKING:
    from shoal.native.client.client import Client
    from shoal.native.client.records import Record

Stored = tuple[bytes, list[Any]]  # object, [size, creator]


class Pulls:
    """What one process needs from other nodes."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._number = number_of(client.worker_id)

    def missing(self, stored: Iterable[Stored]) -> list[Stored]:
        """Return which of these are on another node and not here."""
        number, store = self._number, self._client.store
        return [
            (object_id, payload)
            for object_id, payload in stored
            if number_of(payload[1]) != number and not store.contains(object_id)
        ]

    def missing_records(self, records: Iterable[Record]) -> list[Stored]:
        """Return which of these objects, of those that have a value, are on another node and not here."""
        return self.missing(
            (record.object_id, record.payload) for record in records if record.status == kinds.STORED
        )

    def begin(self, stored: list[Stored], then: Callable[[], None], tell_owner: bool = True) -> None:
        """Have objects copied here; `then` is called when all are, or cannot be. Called with the lock held."""
        left = len(stored)

        def arrived(object_id: bytes, payload: list[Any], ok: bool, reason: Any) -> None:
            nonlocal left
            if ok and not reason:
                self.arrived(object_id)
                if tell_owner:
                    self._tell_owner(object_id)
            left -= 1
            if not left:
                then()

        for object_id, payload in stored:
            self._client.request_later(
                "pull",
                [object_id, payload[0], self._sources(object_id, payload)],
                lambda ok, reason, one=object_id, of=payload: arrived(one, of, ok, reason),  # type: ignore[misc]
            )

    def arrived(self, object_id: bytes) -> None:
        """An object is on this node now: for who cannot look into the store."""

    def _sources(self, object_id: bytes, payload: list[Any]) -> list[int]:
        first = number_of(payload[1])
        copies = self._client.objects.copies_of(object_id)
        return [first, *(number for number in copies if number not in (first, self._number))]

    def _tell_owner(self, object_id: bytes) -> None:
        """The owner must know of the copy, to have it deleted in the end."""
        owner = object_id[:8]
        if owner == self._client.worker_id:
            self._client.objects.copied(object_id, self._number)
        else:
            peers = self._client.peers
            peers.send(peers.get(owner), [kinds.COPIED, object_id, self._number])

    def wait(self, stored: list[Stored], deadline: float | None, tell_owner: bool = True) -> bool:
        """Have objects copied here and wait for it. Returns False at the deadline. Takes the lock."""
        done: list[bool] = []
        client = self._client
        with client.reactor.lock:
            self.begin(stored, lambda: done.append(True), tell_owner)
        return client.wait_until(lambda: bool(done) or client.broken is not None, deadline)

    def bring(self, stored: list[Stored]) -> None:
        """Have objects copied here and wait for it, without an end but that of the session or of their nodes."""
        missing = self.missing(stored)
        if missing:
            self.wait(missing, None)

    def bring_once(self, object_id: bytes, size: int) -> bool:
        """Have a caller's arguments copied here if they are elsewhere. Returns whether to `discard` them once read."""
        missing = self.missing([(object_id, [size, object_id[:8]])])
        if missing:
            self.wait(missing, None, tell_owner=False)
        return bool(missing)

    def discard(self, object_id: bytes) -> None:
        """Delete a copy that only this process has used; views of it stay valid. Takes the lock."""
        with self._client.reactor.lock:
            self._client.tell_daemon([kinds.DELETE_AT, self._number, [object_id]])
