"""An iterator in one process, with the same steps as a parallel one."""

from __future__ import annotations

import random
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, ClassVar

import shoal
from shoal.util.iter_metrics import MetricsContext, SharedMetrics

_context = threading.local()

Step = Callable[[Iterable[Any]], Iterable[Any]]


class LocalIterator(Iterator[Any]):
    """Items one after the other. Each step returns a new iterator; reading any of them reads the source once.

    Parameters: `base_iterator` returns the source, `local_transforms` are the steps so far.
    """

    ON_FETCH_START_HOOK_NAME: ClassVar[str] = "_on_fetch_start"

    def __init__(
        self,
        base_iterator: Callable[[], Iterable[Any]],
        shared_metrics: SharedMetrics,
        local_transforms: Sequence[Step] | None = None,
        timeout: float | None = None,
        name: str | None = None,
    ) -> None:
        self.base_iterator = base_iterator
        self.shared_metrics = shared_metrics
        self.local_transforms = list(local_transforms or ())
        self.timeout = timeout
        self.name = name or "unknown"
        self._built: Iterator[Any] | None = None

    @staticmethod
    def get_metrics() -> MetricsContext:
        """Return the counters of the iterator that is being read. Raises RuntimeError outside of one."""
        found = getattr(_context, "metrics", None)
        if found is None:
            raise RuntimeError("get_metrics() is for functions inside an iterator")
        return found  # type: ignore[no-any-return]

    def __iter__(self) -> LocalIterator:
        return self

    def __next__(self) -> Any:
        if self._built is None:
            made: Iterable[Any] = self.base_iterator()
            for step in self.local_transforms:
                made = step(made)
            self._built = iter(made)
        before = getattr(_context, "metrics", None)
        _context.metrics = self.shared_metrics.get()
        try:
            return next(self._built)
        finally:
            _context.metrics = before

    def __repr__(self) -> str:
        return f"LocalIterator[{self.name}]"

    def _then(self, name: str, step: Step) -> LocalIterator:
        return LocalIterator(
            self.base_iterator,
            self.shared_metrics,
            [*self.local_transforms, step],
            self.timeout,
            self.name + name,
        )

    def transform(self, fn: Step) -> LocalIterator:
        """Hand the items through `fn`, which takes an iterable and returns one."""
        return self._then(".transform()", fn)

    def for_each(
        self, fn: Callable[[Any], Any], max_concurrency: int = 1, resources: Mapping[str, Any] | None = None
    ) -> LocalIterator:
        """Call `fn` on each item; with a `max_concurrency` above 1 in that many tasks, with the options `resources`.

        Results stay in order. A `_on_fetch_start` method of `fn` is called before each item is asked for.
        """
        if max_concurrency < 1:
            raise ValueError(f"max_concurrency must be ≥ 1, not {max_concurrency}")
        if max_concurrency > 1:
            return self._then(".for_each()", lambda items: _in_tasks(fn, items, max_concurrency, resources))
        hook = getattr(fn, self.ON_FETCH_START_HOOK_NAME, None)

        def one_by_one(items: Iterable[Any]) -> Iterator[Any]:
            source = iter(items)
            while True:
                if hook is not None:
                    hook()
                try:
                    item = next(source)
                except StopIteration:
                    return
                yield fn(item)

        return self._then(".for_each()", one_by_one)

    def filter(self, fn: Callable[[Any], bool]) -> LocalIterator:
        """Keep items of which `fn` is true."""
        return self._then(".filter()", lambda items: (item for item in items if fn(item)))

    def batch(self, n: int) -> LocalIterator:
        """Put items together in lists of `n`; the last one may be shorter."""
        if n < 1:
            raise ValueError(f"a batch has at least one item, not {n}")

        def batches(items: Iterable[Any]) -> Iterator[Any]:
            source = iter(items)
            while found := list(islice(source, n)):
                yield found

        return self._then(f".batch({n})", batches)

    def flatten(self) -> LocalIterator:
        """Take lists apart."""
        return self._then(".flatten()", lambda items: (one for item in items for one in item))

    def shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> LocalIterator:
        """Mix items within a window of that many."""

        def mixed(items: Iterable[Any]) -> Iterator[Any]:
            chance = random.Random(seed)
            window: list[Any] = []
            for item in items:
                window.append(item)
                if len(window) >= shuffle_buffer_size:
                    yield window.pop(chance.randrange(len(window)))
            chance.shuffle(window)
            yield from window

        return self._then(f".shuffle({shuffle_buffer_size})", mixed)

    def combine(self, fn: Callable[[Any], list[Any]]) -> LocalIterator:
        """Call `fn` on each item and take the lists that it returns apart."""
        return self.for_each(fn).flatten()

    def zip_with_source_actor(self) -> LocalIterator:
        """Make pairs of the actor that an item came from, and the item."""

        def pairs(items: Iterable[Any]) -> Iterator[Any]:
            for item in items:
                yield self.shared_metrics.get().current_actor, item

        return self._then(".zip_with_source_actor()", pairs)

    def take(self, n: int) -> list[Any]:
        """Return up to `n` items."""
        return list(islice(self, n))

    def show(self, n: int = 20) -> None:
        """Print up to `n` items."""
        for item in self.take(n):
            print(item)  # noqa: T201

    def duplicate(self, n: int) -> list[LocalIterator]:
        """Return `n` iterators over the same items; what one has read waits for the others."""
        if n < 2:
            raise ValueError(f"there must be at least two, not {n}")
        queues: list[deque[Any]] = [deque() for _ in range(n)]

        def reader(index: int) -> Callable[[], Iterator[Any]]:
            def read() -> Iterator[Any]:
                while True:
                    if not queues[index]:
                        try:
                            item = next(self)
                        except StopIteration:
                            return
                        for queue in queues:
                            queue.append(item)
                    yield queues[index].popleft()

            return read

        return [
            LocalIterator(reader(index), self.shared_metrics, [], name=f"{self.name}.duplicate[{index}]")
            for index in range(n)
        ]

    def union(
        self,
        *others: LocalIterator,
        deterministic: bool = False,
        round_robin_weights: Sequence[float | str] | None = None,
    ) -> LocalIterator:
        """Return one over the items of all: in turn, as many of each as its weight says ("*": all that it has).

        `deterministic` is how it always is: the order depends on nothing but the items.
        """
        members = [self, *others]
        weights = list(round_robin_weights or [1] * len(members))
        if len(weights) != len(members):
            raise ValueError(f"{len(weights)} weights were given for {len(members)} iterators")
        metrics = SharedMetrics(parents=[one.shared_metrics for one in members])

        def rows() -> Iterator[Any]:
            left = list(zip(weights, members, strict=True))
            while left:
                going = []
                for weight, one in left:
                    found = one.take(2**62 if weight == "*" else max(1, int(weight)))
                    yield from found
                    if weight != "*" and len(found) == max(1, int(weight)):
                        going.append((weight, one))
                left = going

        return LocalIterator(rows, metrics, [], name=f"LocalUnion[{', '.join(map(repr, members))}]")


def _in_tasks(
    fn: Callable[[Any], Any], items: Iterable[Any], most: int, resources: Mapping[str, Any] | None
) -> Iterator[Any]:
    def call(item: Any) -> Any:
        return fn(item)

    task: Any = shoal.remote(call).options(**(resources or {}))
    source = iter(items)
    waiting = deque(task.remote(item) for item in islice(source, most))
    while waiting:
        yield shoal.get(waiting.popleft())
        waiting.extend(task.remote(item) for item in islice(source, 1))
