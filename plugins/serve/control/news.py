"""What callers are told, and who has heard it: versions of values by key."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

import attrs

_LISTENER_GONE_SECONDS = 2.0  # without a question


@attrs.define(eq=False)
class _Listener:
    """A process that asks for news: what it knew when it asked last, and whether it waits for an answer now."""

    known: Mapping[str, int]
    asked: int = 0
    waits: bool = False
    seen_at: float = 0.0


class News:
    """Values by key, each with a version that only grows, also over controllers."""

    def __init__(self, unknown: Callable[[str], Any]) -> None:
        self._unknown = unknown
        self._base = time.time_ns() // 1_000_000
        self._next = self._base
        self._values: dict[str, tuple[int, Any]] = {}
        self._listeners: dict[str, _Listener] = {}
        self._changed = asyncio.Event()

    def publish(self, key: str, value: Any) -> int:
        """Give a key a new value and return its version."""
        self._next += 1
        self._values[key] = (self._next, value)
        self._wake()
        return self._next

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    async def listen(
        self, listener: str, known: Mapping[str, int], seconds: float
    ) -> dict[str, tuple[int, Any]]:
        """Return what has changed since, as soon as something has; nothing after that many seconds.

        Asking is also saying what has been heard. A question ends when its asker asks again.
        """
        one = self._listeners.setdefault(listener, _Listener(known))
        one.asked += 1
        mine = one.asked
        one.known, one.waits, one.seen_at = known, True, time.monotonic()
        self._wake()  # somebody may wait for this listener to have heard
        end = time.monotonic() + seconds
        try:
            while mine == one.asked:
                news = {
                    key: value for key, version in known.items() if (value := self._value(key))[0] > version
                }
                left = end - time.monotonic()
                if news or left <= 0:
                    return news
                try:
                    await asyncio.wait_for(self._changed.wait(), left)
                except asyncio.TimeoutError:
                    return {}
            return {}
        finally:
            if mine == one.asked:
                one.waits, one.seen_at = False, time.monotonic()
                self._forget()

    def _value(self, key: str) -> tuple[int, Any]:
        return self._values.get(key) or (self._base, self._unknown(key))

    def _forget(self) -> None:
        now = time.monotonic()
        for name, one in list(self._listeners.items()):
            if not one.waits and now - one.seen_at > 10 * _LISTENER_GONE_SECONDS:
                del self._listeners[name]

    async def heard(self, key: str, seconds: float) -> bool:
        """Wait until all who listen for a key know its value. Returns False after that many seconds."""
        version = self._values.get(key, (0, None))[0]
        end = time.monotonic() + seconds
        while True:
            now = time.monotonic()
            late = [
                one
                for one in self._listeners.values()
                if key in one.known
                and one.known[key] < version
                and (one.waits or now - one.seen_at < _LISTENER_GONE_SECONDS)
            ]
            if not late:
                return True
            if now >= end:
                return False
            try:
                await asyncio.wait_for(self._changed.wait(), min(0.2, end - now))
            except asyncio.TimeoutError:
                continue
