"""The actor that holds one shard of a parallel iterator."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from shoal.util.iter_local import LocalIterator
from shoal.util.iter_metrics import SharedMetrics


class ParallelIteratorWorker:
    """Makes the items of one shard. Classes of a program's own may inherit from it, to be used by `from_actors`.

    Parameters: `item_generator` is an iterable or a function that returns one, `repeat` begins it again at its end.
    """

    def __init__(self, item_generator: Any, repeat: bool) -> None:
        self._source = item_generator
        self._repeat = repeat
        self._local: LocalIterator | None = None
        self._slices: dict[int, deque[Any]] = {}

    def _items(self) -> Iterator[Any]:
        while True:
            made: Iterable[Any] = self._source() if callable(self._source) else self._source
            empty = True
            for item in made:
                empty = False
                yield item
            if not self._repeat or empty:
                return

    def par_iter_init(self, transforms: Sequence[Callable[[LocalIterator], LocalIterator]]) -> None:
        """Begin anew, with these steps."""
        local = LocalIterator(self._items, SharedMetrics())
        for step in transforms:
            local = step(local)
        self._local = local
        self._slices = {}

    def par_iter_next(self) -> Any:
        """Return the next item. Raises StopIteration."""
        if self._local is None:
            raise RuntimeError("par_iter_init() must be called first")
        return next(self._local)

    def par_iter_next_batch(self, batch_ms: int) -> list[Any]:
        """Return the items of that many milliseconds, at least one. Raises StopIteration."""
        return self._batch(batch_ms, self.par_iter_next)

    def par_iter_slice(self, step: int, start: int) -> Any:
        """Return the next item of every `step`, beginning with number `start`. Raises StopIteration."""
        slices = self._slices
        if not slices:
            slices.update((index, deque()) for index in range(step))
            self._turn = 0
        while not slices[start]:
            item = self.par_iter_next()
            slices[self._turn % step].append(item)
            self._turn += 1
        return slices[start].popleft()

    def par_iter_slice_batch(self, step: int, start: int, batch_ms: int) -> list[Any]:
        """Return such items of that many milliseconds. Raises StopIteration."""
        return self._batch(batch_ms, lambda: self.par_iter_slice(step, start))

    def _batch(self, batch_ms: int, take: Callable[[], Any]) -> list[Any]:
        end = time.monotonic() + batch_ms / 1000
        found = [take()]
        while time.monotonic() < end:
            try:
                found.append(take())
            except StopIteration:
                break
        return found
