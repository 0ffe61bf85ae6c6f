"""What a run tells of itself while it goes on, for the dashboard's page and `shoal.util.reports`."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from shoal.errors import ShoalError
from shoal.util.reports import tell

KIND = "train"
_SECONDS = 1.0  # between two reports
_POINTS = 120  # of a curve
_METRICS = 12  # that have curves
_SAID = 5  # of what was said last
_LONGEST = 500  # characters of one text


@attrs.define(eq=False)
class Reporter:
    """Tells of one run, at most once a second, and at its end."""

    name: str
    folder: str
    began: float = attrs.field(factory=time.time)
    next: float = 0.0
    reports: int = 0
    last: dict[str, Any] = attrs.field(factory=dict)
    curves: dict[str, list[tuple[float, float]]] = attrs.field(factory=dict)
    said: list[tuple[float, str]] = attrs.field(factory=list)

    def report(self, metrics: Mapping[str, Any]) -> None:
        """Note rank 0's metrics of a report."""
        self.reports += 1
        now = time.time()
        self.last = {}
        for name, value in metrics.items():
            number = _number(value)
            self.last[name] = str(value)[:_LONGEST] if number is None else number
            if number is None or (name not in self.curves and len(self.curves) == _METRICS):
                continue
            curve = self.curves.setdefault(name, [])
            curve.append((now, number))
            if len(curve) > _POINTS:
                self.curves[name] = [*curve[:-1:2], curve[-1]]

    def say(self, text: str) -> None:
        """Note what the program is told."""
        self.said = [*self.said, (time.time(), text[:_LONGEST])][-_SAID:]

    def running(self, state: Mapping[str, Any], ranks: Sequence[Sequence[Any]]) -> None:
        """Tell how the run stands, if it is time."""
        if time.monotonic() >= self.next:
            self.next = time.monotonic() + _SECONDS
            self._tell("running", {**state, "ranks": [list(rank) for rank in ranks[:64]]})

    def ended(self, state: Mapping[str, Any], error: BaseException | None) -> None:
        """Tell how the run ended."""
        failed = {} if error is None else {"error": f"{type(error).__name__}: {error}"[:2000]}
        self._tell("failed" if failed else "finished", {**state, **failed, "ranks": []})

    def _tell(self, state: str, more: Mapping[str, Any]) -> None:
        facts = {
            "state": state,
            "folder": self.folder,
            "began": self.began,
            "seconds": time.time() - self.began,
            "reports": self.reports,
            "metrics": self.last,
            "curves": self.curves,
            "said": self.said,
            **more,
        }
        try:
            tell(KIND, self.name, facts)
        except (ShoalError, ValueError):  # the session ends, or there is too much to show
            return


def _number(value: Any) -> float | None:
    """A metric as a number that JSON knows, None for what is none."""
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None
