"""Progress bars of an execution on a terminal: one line for the whole, or one for each operator."""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Sequence
from typing import Any

from shoal.data.execution.stats import OperatorStats

_SECONDS = 0.1  # between two pictures


class Bars:
    """The lines of one execution, on standard error, gone when it ends. Needs rich.

    Example: `bars = Bars(operators, of_each=True)`, `bars.show(rows)` now and then, and `bars.close()`
    """

    def __init__(self, operators: Sequence[OperatorStats], of_each: bool) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._operators = operators
        self._of_each = of_each
        self._shown = 0.0
        self._rich: Any = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=16),
            TextColumn("{task.fields[told]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,  # what the program prints is its own
            redirect_stderr=False,
        )
        shown = operators if of_each else operators[-1:]
        self._lines = [self._rich.add_task(_short(each.name), total=None, told="") for each in shown]
        self._rich.start()

    def show(self, handed_out: int) -> None:
        """Draw what the stats say now, if the last picture is old enough; so many rows have left the execution."""
        now = time.monotonic()
        if now - self._shown < _SECONDS:
            return
        self._shown = now
        if self._of_each:
            for line, each in zip(self._lines, self._operators, strict=True):
                rate = each.rows / max(each.ended - (each.began or 0.0), 1e-3)
                told = (
                    f"{each.rows:,} rows, {each.tasks} tasks, {rate:,.0f} rows/s" if each.tasks else "waits"
                )
                self._rich.update(line, told=told)
        else:
            tasks = sum(each.tasks for each in self._operators)
            self._rich.update(self._lines[0], told=f"{handed_out:,} rows, {tasks} tasks")
        self._rich.refresh()

    def close(self) -> None:
        """Take the lines away."""
        self._rich.stop()


def bars_of(operators: Sequence[OperatorStats], wanted: bool, of_each: bool) -> Bars | None:
    """Return the bars of an execution; None where they are not wanted, or nobody would see them.

    Example: `bars_of(stats.operators, wanted=True, of_each=False)`
    """
    if not wanted or not operators or not sys.stderr.isatty() or importlib.util.find_spec("rich") is None:
        return None
    return Bars(operators, of_each)


def _short(name: str) -> str:
    return name if len(name) <= 48 else name[:47] + "…"
