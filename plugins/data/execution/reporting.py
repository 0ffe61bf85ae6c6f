"""What a long execution tells of itself, for the dashboard's page and `shoal.util.reports`."""

from __future__ import annotations

import itertools
import os
import time
from typing import Any

import attrs

from shoal.data.execution.stats import ExecutionStats
from shoal.errors import ShoalError
from shoal.util.reports import tell

KIND = "data"
_SECONDS = 1.0  # before the first report and between two: what is over sooner costs nothing
_POINTS = 120  # of the curve of rows
_numbers = itertools.count(1)


@attrs.define(eq=False)
class Reporter:
    """Tells of one execution, about once a second. `label` is what a person calls it."""

    label: str
    name: str = attrs.field(factory=lambda: f"{os.getpid()}-{next(_numbers)}")
    began: float = attrs.field(factory=time.time)
    next: float = attrs.field(factory=lambda: time.monotonic() + _SECONDS)
    curve: list[tuple[float, int]] = attrs.field(factory=list)

    def running(self, stats: ExecutionStats, waiting: float, under_way: int) -> None:
        """Tell how it stands, if it is time; `waiting` is bytes of blocks, `under_way` tasks."""
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + _SECONDS
        stats.seconds = time.time() - self.began
        self._tell("running", stats, {"waiting": waiting, "under_way": under_way})

    def ended(self, stats: ExecutionStats, error: BaseException | None) -> None:
        """Tell how it ended, if it lasted long enough for a report."""
        if stats.seconds >= _SECONDS:
            failed = {} if error is None else {"error": f"{type(error).__name__}: {error}"[:2000]}
            self._tell("failed" if failed else "finished", stats, failed)

    def _tell(self, state: str, stats: ExecutionStats, more: dict[str, Any]) -> None:
        rows = stats.operators[-1].rows
        self.curve.append((time.time(), rows))
        if len(self.curve) > _POINTS:
            self.curve = self.curve[::2]
        facts = {
            "label": self.label,
            "state": state,
            "began": self.began,
            "seconds": stats.seconds,
            "rows": rows,
            "peak": stats.peak,
            "bottleneck": stats.bottleneck() if any(each.tasks for each in stats.operators) else "",
            "operators": [attrs.asdict(each) for each in stats.operators],
            "curve": self.curve,
            **more,
        }
        try:
            tell(KIND, self.name, facts)
        except (
            ShoalError,
            ValueError,
        ):  # the session ends, or a plan of thousands of steps: nothing to show then
            return
