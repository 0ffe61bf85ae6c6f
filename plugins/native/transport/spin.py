"""Whether to look for events a few times before sleeping: decided by trying both.

A thread that sleeps takes 20–60 µs to wake, longer than a small call takes to be answered, so looking is faster where
a core is free for it; where none is, it takes the time from whoever is to answer. Which of the two holds changes from
moment to moment, so each is tried for some waits, and the better one is kept for many.
"""

from __future__ import annotations

LONGEST_SPIN_SECONDS = 0.0001
_SHORT_SECONDS = 0.001  # a longer wait says nothing, and looking for it is a waste
_TRIAL_WAITS = 16
_KEPT_WAITS = 1_024
_MUST_GAIN = 0.9  # looking costs a core: it has to be this much faster


class Spin:
    """One thread's choice. `waited` is told of each wait, in seconds; `spinning` is the choice for the next."""

    __slots__ = ("_asleep", "_left", "_phase", "_total", "spinning")

    def __init__(self) -> None:
        self.spinning = False
        self._phase = 0  # 0: trying to sleep, 1: trying to look, 2: keeping what was better
        self._left = _TRIAL_WAITS
        self._total = 0.0
        self._asleep = 0.0

    def waited(self, seconds: float) -> None:
        """Note how long a wait took, however it was done."""
        if seconds > _SHORT_SECONDS:
            if self.spinning:
                self._begin()  # calls have become long: sleep, and try anew
            return
        self._total += seconds
        self._left -= 1
        if self._left:
            return
        if self._phase == 0:
            self._asleep = self._total
            self._total = 0.0
            self._phase = 1
            self._left = _TRIAL_WAITS
            self.spinning = True
        elif self._phase == 1:
            self.spinning = self._total < self._asleep * _MUST_GAIN
            self._phase = 2
            self._left = _KEPT_WAITS
        else:
            self._begin()

    def _begin(self) -> None:
        self.spinning = False
        self._phase = 0
        self._left = _TRIAL_WAITS
        self._total = 0.0
