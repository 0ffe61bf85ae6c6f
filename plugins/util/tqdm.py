"""Progress bars of workers, drawn at the driver, one line each."""

from __future__ import annotations

import json
import os
import sys
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

from shoal.errors import describe
from shoal.interfaces.current import current
from shoal.interfaces.lines import make_line, take_lines

KIND = "tqdm"
_WIDTH = 24  # characters of a bar
_CLEAR = "\x1b[2K"
_UP = "\x1b[1A"


class Display:
    """The bars of a session on one terminal. Where there is none, a bar is a line when it begins and when it ends."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._lock = threading.Lock()
        self._bars: dict[str, dict[str, Any]] = {}
        self._drawn = 0  # lines on the terminal

    def take(self, process: int, data: str) -> None:
        """Take one state of one bar."""
        state = json.loads(data)
        with self._lock:
            known = state["id"] in self._bars
            self._bars[state["id"]] = {**state, "process": process}
            stream = self._stream or sys.stderr
            try:
                if stream.isatty():
                    self._draw(stream)
                elif state["closed"] or not known:
                    stream.write(self._line(self._bars[state["id"]]) + "\n")
                stream.flush()
            except (OSError, ValueError):  # the program has closed its own output
                return
            finally:
                if state["closed"]:
                    del self._bars[state["id"]]

    def _draw(self, stream: TextIO) -> None:
        stream.write((_UP + _CLEAR) * self._drawn)
        # Bars that are over stay where they are, above those that go on.
        lines = sorted(
            self._bars.values(), key=lambda bar: (not bar["closed"], bar["position"], bar["begun"])
        )
        stream.write("".join(self._line(bar) + "\n" for bar in lines))
        self._drawn = sum(not bar["closed"] for bar in lines)

    def _line(self, bar: dict[str, Any]) -> str:
        where = f"(pid={bar['process']}) " if bar["process"] != os.getpid() else ""
        return where + text_of(bar)


def text_of(bar: dict[str, Any]) -> str:
    """Return a bar as text."""
    done, total = bar["done"], bar["total"]
    seconds = max(bar["now"] - bar["begun"], 1e-9)
    speed = f"{done / seconds:.1f} {bar['unit']}/s"
    head = f"{bar['desc']}: " if bar["desc"] else ""
    if not total:
        return f"{head}{done} {bar['unit']} [{seconds:.1f} s, {speed}]"
    share = min(1.0, done / total)
    drawn = "█" * round(share * _WIDTH)
    return f"{head}{share:4.0%}|{drawn:<{_WIDTH}}| {done}/{total} [{seconds:.1f} s, {speed}]"


_display = Display()
take_lines(KIND, _display.take)


class tqdm:  # noqa: N801  the name that everybody knows
    """A progress bar around an iterable, or moved by `update`; in a task or actor it is drawn at the driver.

    Parameters: `total` is how many items there are, if the iterable does not say; `position` orders bars from top to
    bottom; `flush_interval_s` is how often it is drawn at most. The program imports this module at the driver too; else
    the bar is shown there as lines of text.

    Example: `for item in tqdm(items, desc="reading"): ...`
    """

    def __init__(
        self,
        iterable: Iterable[Any] | None = None,
        desc: str | None = None,
        total: int | None = None,
        unit: str | None = None,
        position: int | None = None,
        flush_interval_s: float | None = None,
    ) -> None:
        size = getattr(iterable, "__len__", None)
        if total is None and size is not None:
            total = size()
        if total is not None and total < 0:
            raise ValueError(f"total must be a number ≥ 0, not {describe(total)}")
        self._iterable = iterable
        self._interval = 0.1 if flush_interval_s is None else flush_interval_s
        self._state: dict[str, Any] = {
            "id": uuid.uuid4().hex,
            "desc": desc or "",
            "total": total,
            "unit": unit or "it",
            "position": position or 0,
            "begun": time.time(),
            "now": time.time(),
            "done": 0,
            "closed": False,
        }
        self._told = 0.0
        self._tell()

    def set_description(self, desc: str) -> None:
        """Change what stands in front of the bar."""
        self._state["desc"] = desc
        self._tell()

    def update(self, n: int = 1) -> None:
        """Move on by `n` items."""
        self._state["done"] += n
        if time.monotonic() - self._told >= self._interval:
            self._tell()

    @property
    def n(self) -> int:
        """How many items are done."""
        return int(self._state["done"])

    @property
    def total(self) -> int | None:
        """How many items there are; it may change while the bar moves, and is drawn when it moves next."""
        total: int | None = self._state["total"]
        return total

    @total.setter
    def total(self, total: int | None) -> None:
        self._state["total"] = total

    def refresh(self) -> None:
        """Draw it now."""
        self._tell()

    def close(self) -> None:
        """Draw it for the last time. Again does nothing."""
        if not self._state["closed"]:
            self._state["closed"] = True
            self._tell()

    def __iter__(self) -> Iterator[Any]:
        if self._iterable is None:
            raise TypeError(
                "this bar has nothing to iterate over: give an iterable, or move it with update()"
            )
        return self._moved_by(self._iterable)

    def _moved_by(self, items: Iterable[Any]) -> Iterator[Any]:
        try:
            for item in items:
                yield item
                self.update(1)
        finally:
            self.close()

    def __enter__(self) -> tqdm:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _tell(self) -> None:
        self._told = time.monotonic()
        self._state["now"] = time.time()
        data = json.dumps(self._state)
        if _is_at_the_driver():
            _display.take(os.getpid(), data)
        else:
            shown = text_of(self._state).replace("\n", " ")
            sys.stdout.write(make_line(KIND, shown, data) + "\n")
            sys.stdout.flush()


def trange(*args: int, **options: Any) -> tqdm:
    """A bar around `range(*args)`."""
    return tqdm(range(*args), **options)


def _is_at_the_driver() -> bool:
    """Whether what this process draws is seen: the driver's own process, that of the inline engine included."""
    engine = current.engine
    return engine is None or "processes" not in engine.capabilities or engine.context().is_driver
