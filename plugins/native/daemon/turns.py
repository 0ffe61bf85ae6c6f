"""Whose turn it is to be sent an object: a few at a time, and others go to those who have got it, so that copies spread
as a tree.

With a width of two the third who asks waits until one of the first two has the object, and is sent there. The source
sends about two copies, whoever has one sends it on, and n nodes have it after about log n rounds (a multicast tree, as
in Ganesan & Seshadri, "On Cooperative Content Distribution", ICDCS 2005, with whole objects for blocks).
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable

import attrs

_WIDTH = 2
_FRESH_SECONDS = 30.0  # for which it is believed that who was sent an object has it
_MOST_OBJECTS = 1_000


@attrs.define(eq=False)
class _Object:
    active: int = 0  # being sent now
    waiting: int = 0
    done: deque[tuple[float, str]] = attrs.field(factory=deque)  # when it was sent, and where


class Turns:
    """Thread-safe. Every `enter` that returns "" is followed by a `leave`.

    Example: `if (other := turns.enter(object_id, tell)): redirect(other)`.
    """

    def __init__(self, width: int = _WIDTH, clock: Callable[[], float] = time.monotonic) -> None:
        self._width = width
        self._clock = clock
        self._changed = threading.Condition()
        self._objects: OrderedDict[bytes, _Object] = OrderedDict()

    def enter(
        self, object_id: bytes, on_wait: Callable[[], None], step: float = 1.0, most: float = 60.0
    ) -> str:
        """Return "" when it is the caller's turn, or the address of a node that has the object.

        `on_wait` is called after each `step` seconds of waiting, without the lock; what it raises ends the wait. After
        `most` seconds it is the caller's turn whatever else goes on.
        """
        end = self._clock() + most
        with self._changed:
            one = self._find(object_id)
            one.waiting += 1
        try:
            while True:
                with self._changed:
                    decision = self._decide(one)
                    if decision is None and self._clock() < end:
                        self._changed.wait(step)
                        decision = self._decide(one)
                    if decision is None and self._clock() >= end:
                        one.active += 1
                        decision = ""
                if decision is not None:
                    return decision
                on_wait()
        finally:
            with self._changed:
                one.waiting -= 1

    def leave(self, object_id: bytes, address: str) -> None:
        """An object was sent to the node at `address`, or ("") was not."""
        with self._changed:
            one = self._find(object_id)
            one.active -= 1
            if address:
                one.done.append((self._clock(), address))
            self._changed.notify_all()

    def _find(self, object_id: bytes) -> _Object:
        one = self._objects.setdefault(object_id, _Object())
        self._objects.move_to_end(object_id)
        if len(self._objects) > _MOST_OBJECTS:
            idle = next(
                (key for key, other in self._objects.items() if not other.active and not other.waiting), None
            )
            if idle is not None and idle != object_id:
                del self._objects[idle]
        return one

    def _decide(self, one: _Object) -> str | None:
        if not one.active:
            one.active += 1
            return ""
        oldest = self._clock() - _FRESH_SECONDS
        one.done = deque(each for each in one.done if each[0] >= oldest)
        if one.done:
            one.done.rotate(-1)
            return one.done[-1][1]
        if one.active < self._width:
            one.active += 1
            return ""
        return None
