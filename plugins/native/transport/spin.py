"""Whether to look for events for a moment before sleeping: as long as looking finds them.

A thread that sleeps takes 20–60 µs to wake, longer than a small call takes to be answered, so looking is faster where a
core is free for it. Where none is, looking takes the time from whoever is to answer, and finds nothing. So the choice
follows what looking has found: a thread looks while most looks succeed, and else sleeps for a number of waits that
grows each time looking was in vain.
"""

from __future__ import annotations

LONGEST_SPIN_SECONDS = 0.0002
_SHORT_SECONDS = 0.001  # a longer wait says nothing about short ones, and looking for it is a waste
_ROUND = 16  # looks that are judged together
_ENOUGH = 12  # of them must have found something
_SHORTEST_REST = 32  # waits to sleep through before looking again
_LONGEST_REST = 1_024


class Spin:
    """One thread's choice. `waited` is told of each wait, in seconds; `spinning` is the choice for the next."""

    __slots__ = ("_found", "_left", "_looks", "_rest", "spinning")

    def __init__(self) -> None:
        self.spinning = False
        self._rest = _SHORTEST_REST  # waits to sleep through next time
        self._left = _SHORTEST_REST  # of them are still to come
        self._looks = 0
        self._found = 0

    def waited(self, seconds: float) -> None:
        """Note how long a wait took, the looking included."""
        if not self.spinning:
            if seconds < _SHORT_SECONDS:
                self._left -= 1
                if self._left <= 0:
                    self.spinning = True
            return
        if seconds > _SHORT_SECONDS:
            self._stop(self._rest)  # calls have become long
            return
        self._looks += 1
        self._found += seconds < LONGEST_SPIN_SECONDS
        if self._looks < _ROUND:
            return
        if self._found < _ENOUGH:
            self._rest = min(self._rest * 4, _LONGEST_REST)
            self._stop(self._rest)
        else:
            self._rest = _SHORTEST_REST
            self._looks = self._found = 0

    def _stop(self, rest: int) -> None:
        self.spinning = False
        self._left = rest
        self._looks = self._found = 0
