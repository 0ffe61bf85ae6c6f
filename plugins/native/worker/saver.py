"""A durable actor's way to the head: its state goes there and comes from there, in pieces, again until it is done."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from shoal.errors import SystemFailure

if TYPE_CHECKING:
    from shoal.native.worker.worker import Worker

_log = logging.getLogger("shoal")

PIECE_BYTES = 1 << 20  # as in head/durable.py
_AHEAD = 8  # pieces that are under way at a time
_AGAIN_SECONDS = (0.1, 5.0)  # after the first failure, and at most: it doubles


class Saver:
    """Saves one state at a time. `busy` until it is safe; then `then` is called, under the lock.

    While the head is away, or its metadata store, a save waits and is tried again. If another process of the actor
    has taken over, this one ends at once: nothing that it does may count.
    """

    def __init__(self, worker: Worker, actor_id: bytes, incarnation: int) -> None:
        self._worker = worker
        self._client = worker.client
        self._address = (actor_id, incarnation)
        self.version = 0  # the last one that was begun, or that was there
        self.busy = False
        self._then: Callable[[], None] = lambda: None
        self._data = memoryview(b"")
        self._count = 0
        self._sent = 0
        self._kept = 0
        self._try = 0  # counts the tries, so that late answers to an earlier one are known
        self._pause = _AGAIN_SECONDS[0]

    # Saving

    def save(self, data: bytes, then: Callable[[], None]) -> None:
        """Begin to save. Called without the lock, while not `busy`."""
        with self._worker.reactor.lock:
            self.version += 1
            self.busy = True
            self._then = then
            self._data = memoryview(data)
            self._count = max(1, -(-len(data) // PIECE_BYTES))
            self._begin()
            self._worker.reactor.flush()

    def _begin(self) -> None:
        self._try += 1
        self._sent = self._kept = 0
        if self._count == 1:
            self._commit(bytes(self._data))
        else:
            for _ in range(min(_AHEAD, self._count)):
                self._send_piece()

    def _send_piece(self) -> None:
        index = self._sent
        self._sent += 1
        piece = bytes(self._data[index * PIECE_BYTES : (index + 1) * PIECE_BYTES])
        self._ask("durable_piece", [self.version, index, self._count, piece], self._piece_kept)

    def _piece_kept(self) -> None:
        self._kept += 1
        if self._sent < self._count:
            self._send_piece()
        elif self._kept == self._count:
            self._commit(None)
        self._worker.reactor.flush()

    def _commit(self, data: bytes | None) -> None:
        self._ask("durable_commit", [self.version, self._count, len(self._data), data], self._saved)

    def _saved(self) -> None:
        self.busy = False
        self._data = memoryview(b"")
        self._pause = _AGAIN_SECONDS[0]
        self._then()

    def _ask(self, name: str, arguments: list[Any], then: Callable[[], None]) -> None:
        number = self._try

        def answered(ok: bool, value: Any) -> None:
            if number != self._try or not self.busy:
                return
            if ok:
                self._check(value)
                then()
            else:
                self._again(pickle.loads(value))  # from our own daemon, which has proved itself

        self._client.request_later(name, [*self._address, *arguments], answered)

    def _again(self, error: Exception) -> None:
        _log.warning("the state of this actor cannot be saved now, trying again: %s", error)
        self._try += 1  # what else is under way counts for nothing
        pause, self._pause = self._pause, min(self._pause * 2, _AGAIN_SECONDS[1])

        def again() -> None:
            self._begin()
            self._worker.reactor.flush()

        self._worker.reactor.call_later(pause, again)

    # Loading

    def load(self) -> tuple[bytes, float] | None:
        """Return the last saved state and when it was saved, None if there is none. Waits for the head."""
        first = self._request(0)
        if "data" not in first:
            return None
        parts = [first["data"]]
        parts += [self._request(index)["data"] for index in range(1, first["pieces"])]
        self.version = first["version"]
        return b"".join(parts), first["saved"]

    def _request(self, index: int) -> dict[str, Any]:
        worker = self._worker
        pause = _AGAIN_SECONDS[0]
        while True:
            try:
                answer: dict[str, Any] = self._client.request("durable_load", *self._address, index)
            except OSError as error:  # GetTimeout too
                if worker.exiting:
                    raise SystemFailure("the process was told to end before its state had arrived") from error
                _log.warning("the state of this actor cannot be had now, trying again: %s", error)
                worker.reactor.run_until(lambda: worker.exiting, time.monotonic() + pause)
                pause = min(pause * 2, _AGAIN_SECONDS[1])
                continue
            self._check(answer)
            return answer

    def _check(self, answer: dict[str, Any]) -> None:
        if "fenced" in answer:
            _log.error("this process of a durable actor ends: %s", answer["fenced"])
            os._exit(1)
