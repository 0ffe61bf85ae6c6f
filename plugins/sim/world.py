"""Virtual time: what is to happen, in order, and chance that a seed repeats."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

from shoal.sim.trace import Trace

Action = Callable[..., None]


class Timer:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("action",)

    def __init__(self, action: Action) -> None:
        self.action: Action | None = action

    def cancel(self) -> None:
        """See to it that it does not happen. Afterwards, or twice, does nothing."""
        self.action = None

    def __call__(self, *args: Any) -> None:
        """Let it happen."""
        action, self.action = self.action, None
        if action is not None:
            action(*args)


class World:
    """A virtual clock and the events that are to come. One thread at a time.

    Equal seeds and equal programs give equal worlds, event by event: nothing in it looks at the real clock, at
    identities of objects or at hashes of text. Events of one moment happen in the order in which they were scheduled.

    Example: `world = World(7); world.after(1.5, print, "later"); world.run()` prints at once, and `world.now` is 1.5.
    """

    def __init__(self, seed: int = 0, keep_trace: bool = False) -> None:
        """Begin at time 0. `keep_trace` keeps the notes for reading, not only a digest of all."""
        self.seed = seed
        self.now = 0.0  # seconds
        self.trace: Trace = Trace(keep_trace)
        self.happened = 0  # events so far
        self._heap: list[tuple[float, int, Action, tuple[Any, ...]]] = []
        self._count = 0
        self._streams: dict[str, random.Random] = {}

    def chance(self, name: str) -> random.Random:
        """Return the stream of random numbers of that name: what one part draws changes nothing for another."""
        stream = self._streams.get(name)
        if stream is None:
            stream = self._streams[name] = random.Random(f"{self.seed}/{name}")
        return stream

    def at(self, when: float, action: Action, *args: Any) -> None:
        """Call `action(*args)` at a time, at once if that is past."""
        self._count += 1
        heapq.heappush(self._heap, (max(when, self.now), self._count, action, args))

    def after(self, seconds: float, action: Action, *args: Any) -> None:
        """Call `action(*args)` in so many seconds."""
        self.at(self.now + seconds, action, *args)

    def timer(self, seconds: float, action: Action, *args: Any) -> Timer:
        """Do as `after`, and return what cancels it."""
        timer = Timer(action)
        self.at(self.now + seconds, timer, *args)
        return timer

    def note(self, kind: str, *facts: object) -> None:
        """Write into the trace that something happened now."""
        self.trace.add(self.now, kind, facts)

    @property
    def idle(self) -> bool:
        """Whether nothing is to come."""
        return not self._heap

    @property
    def next_time(self) -> float | None:
        """When the next event happens; None if none will."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> bool:
        """Let the next event happen. Returns False if there is none."""
        if not self._heap:
            return False
        self.now, _, action, args = heapq.heappop(self._heap)
        self.happened += 1
        action(*args)
        return True

    def run(self, until: float | None = None, events: int | None = None) -> bool:
        """Let events happen until there are none, the time is past `until`, or `events` more have happened.

        Returns whether none is left before `until`; the clock then stands at `until`, if one was given.
        """
        last = None if events is None else self.happened + events
        while self._heap and (until is None or self._heap[0][0] <= until):
            if last is not None and self.happened >= last:
                return False
            self.step()
        if until is not None:
            self.now = max(self.now, until)
        return True

    def run_until(self, done: Callable[[], bool], limit: float) -> bool:
        """Let events happen until `done()`, and no longer than to time `limit`. Returns what `done()` is."""
        while not done():
            if not self._heap or self._heap[0][0] > limit:
                return False
            self.step()
        return True
