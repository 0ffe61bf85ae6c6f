"""The actor that is one process of a pool."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any, NoReturn

Call = tuple[Callable[..., Any], Sequence[Any], str]
Outcome = tuple[bool, Any]  # (True, results) or (False, the number under which the error is kept)


class PoolWorker:
    """Runs batches of calls in its process."""

    def __init__(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> None:
        self._numbers = itertools.count()
        self._errors: dict[int, BaseException] = {}
        if initializer is not None:
            initializer(*initargs)

    def run(self, function: Callable[..., Any], items: Sequence[Any], how: str) -> tuple[float, list[Any]]:
        """Call the function on each item of one batch; return the seconds that took and the results."""
        started = time.monotonic()
        results = _results(function, items, how)
        return time.monotonic() - started, results

    def run_several(self, calls: Sequence[Call]) -> tuple[float, list[Outcome]]:
        """Run several batches; return the mean seconds of one and what became of each."""
        started = time.monotonic()
        outcomes: list[Outcome] = []
        for function, items, how in calls:
            try:
                outcomes.append((True, _results(function, items, how)))
            except Exception as error:  # user code: the other batches go on
                number = next(self._numbers)
                self._errors[number] = error
                outcomes.append((False, number))
        return (time.monotonic() - started) / len(calls), outcomes

    def fail(self, number: int) -> NoReturn:
        """Raise a kept error, so that it travels as errors do: with its traceback, whatever its class."""
        raise self._errors.pop(number)


def _results(function: Callable[..., Any], items: Sequence[Any], how: str) -> list[Any]:
    if how == "map":
        return list(map(function, items))
    if how == "starmap":
        return [function(*arguments) for arguments in items]
    return [function(*arguments, **named) for arguments, named in items]
