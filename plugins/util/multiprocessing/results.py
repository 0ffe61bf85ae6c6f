"""What a pool's calls return before their results are there."""

from __future__ import annotations

import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import TimeoutError  # noqa: A004  the standard library's own, which programs catch
from typing import Any

Callback = Callable[[Any], Any]

_AHEAD = 10_000  # batches of an imap that may be begun before their results are read


class AsyncResult:
    """The result of one call that may not be there yet, as `multiprocessing.pool.AsyncResult`."""

    def __init__(self, callback: Callback | None = None, error_callback: Callback | None = None) -> None:
        self._done = threading.Event()
        self._value: Any = None
        self._error: BaseException | None = None
        self._callback = callback
        self._error_callback = error_callback

    def ready(self) -> bool:
        """Tell whether the call is over."""
        return self._done.is_set()

    def successful(self) -> bool:
        """Tell whether the call is over without an error. Raises ValueError if it is not over."""
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._error is None

    def wait(self, timeout: float | None = None) -> None:
        """Wait until the call is over, at most `timeout` seconds."""
        self._done.wait(timeout)

    def get(self, timeout: float | None = None) -> Any:
        """Return the result. Raises what the call raised, and `multiprocessing.TimeoutError`."""
        if not self._done.wait(timeout):
            raise TimeoutError
        if self._error is not None:
            raise self._error
        return self._value

    def _take(self, index: int, values: Any, error: BaseException | None) -> None:
        """The pool's thread hands over what one batch gave."""
        self._finish(None if error is not None else values[0], error)

    def _finish(self, value: Any, error: BaseException | None) -> None:
        if self._done.is_set():
            return
        self._value, self._error = value, error
        callback = self._callback if error is None else self._error_callback
        try:
            if callback is not None:
                callback(value if error is None else error)
        finally:
            self._done.set()


class MapResult(AsyncResult):
    """The results of a map, all of them together."""

    def __init__(
        self, batches: int, callback: Callback | None = None, error_callback: Callback | None = None
    ) -> None:
        super().__init__(callback, error_callback)
        self._batches: list[Any] = [None] * batches
        self._left = batches
        self._first_error: BaseException | None = None
        if not batches:
            self._finish([], None)

    def _take(self, index: int, values: Any, error: BaseException | None) -> None:
        self._left -= 1
        if error is not None:
            self._first_error = self._first_error or error
        else:
            self._batches[index] = values
        if self._left == 0:
            if self._first_error is not None:
                self._finish(None, self._first_error)
            else:
                self._finish(list(itertools.chain.from_iterable(self._batches)), None)


class IMapIterator(Iterator[Any]):
    """The results of an imap, each as it is there: in the order of the items, or of their arrival."""

    def __init__(self, ordered: bool) -> None:
        self._ordered = ordered
        self._changed = threading.Condition()
        self._items: deque[tuple[bool, Any, bool]] = deque()  # fine, value, the last of its batch
        self._early: dict[int, list[tuple[bool, Any, bool]]] = {}
        self._batch = 0  # the next one in order
        self._batches: int | None = None  # how many there will be
        self._taken = 0
        self._unread = 0  # batches that were begun and whose results were not read

    def __iter__(self) -> IMapIterator:
        return self

    def __next__(self) -> Any:
        return self.next()

    def next(self, timeout: float | None = None) -> Any:
        """Return the next result, waiting up to `timeout` seconds.

        Raises StopIteration at the end, what the call raised, and `multiprocessing.TimeoutError`.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._items or self._is_over(), timeout):
                raise TimeoutError
            if not self._items:
                raise StopIteration
            fine, value, is_last = self._items.popleft()
            if is_last:
                self._unread -= 1
                if self._unread == _AHEAD - 1:
                    self._changed.notify_all()
        if fine:
            return value
        raise value

    def _is_over(self) -> bool:
        return self._batches is not None and self._taken >= self._batches

    def _take(self, index: int, values: Any, error: BaseException | None) -> None:
        results = [(True, value) for value in values] if error is None else [(False, error)]
        found = [(fine, value, place == len(results)) for place, (fine, value) in enumerate(results, 1)]
        with self._changed:
            self._taken += 1
            if self._ordered:
                self._early[index] = found
                while self._batch in self._early:
                    self._items.extend(self._early.pop(self._batch))
                    self._batch += 1
            else:
                self._items.extend(found)
            self._changed.notify_all()

    def _wait_for_room(self, seconds: float) -> bool:
        """Wait until another batch may begin; False if that took too long. A batch then counts as begun."""
        with self._changed:
            fine = self._changed.wait_for(lambda: self._unread < _AHEAD, seconds)
            self._unread += 1 if fine else 0
            return fine

    def _close(self, batches: int) -> None:
        """Say how many batches there are, once that is known."""
        with self._changed:
            self._batches = batches
            self._changed.notify_all()
