"""A first-in first-out queue that many processes share."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from queue import Empty as _Empty
from queue import Full as _Full
from typing import Any

import shoal
from shoal import ActorHandle
from shoal.errors import describe

_WAITERS = 100_000  # calls that may wait in a queue at once


class Empty(_Empty):
    """There is nothing in the queue, or was nothing within the time given. Also a `queue.Empty`."""


class Full(_Full):
    """There is no room in the queue, or was none within the time given. Also a `queue.Full`."""


class _Keeper:
    """The actor that holds the items. Waiting calls are served in the order in which they came."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.items: deque[Any] = deque()
        self.getters: deque[asyncio.Future[None]] = deque()
        self.putters: deque[asyncio.Future[None]] = deque()

    async def qsize(self) -> int:
        return len(self.items)

    async def put(self, item: Any, block: bool, timeout: float | None) -> bool:
        if self._is_full() and not (block and await self._turn(self.putters, self._is_full, timeout)):
            return False
        self.items.append(item)
        self._wake(self.getters)
        return True

    async def get(self, block: bool, timeout: float | None) -> tuple[bool, Any]:
        if not self.items and not (block and await self._turn(self.getters, self._is_empty, timeout)):
            return False, None
        item = self.items.popleft()
        self._wake(self.putters)
        return True, item

    async def put_batch(self, items: list[Any]) -> bool:
        if self.maxsize and len(self.items) + len(items) > self.maxsize:
            return False
        self.items.extend(items)
        for _ in items:
            self._wake(self.getters)
        return True

    async def get_batch(self, count: int) -> list[Any] | int:
        if len(self.items) < count:
            return len(self.items)
        found = [self.items.popleft() for _ in range(count)]
        for _ in found:
            self._wake(self.putters)
        return found

    def _is_full(self) -> bool:
        return 0 < self.maxsize <= len(self.items)

    def _is_empty(self) -> bool:
        return not self.items

    async def _turn(self, line: deque[asyncio.Future[None]], blocked: Any, timeout: float | None) -> bool:
        """Wait in line until something changed and it is still possible; False if time is up."""
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        while blocked():
            place: asyncio.Future[None] = loop.create_future()
            line.append(place)
            try:
                await asyncio.wait_for(place, None if deadline is None else max(0.0, deadline - loop.time()))
            except (asyncio.TimeoutError, TimeoutError):
                return False
            finally:
                if place in line:
                    line.remove(place)
                elif place.cancelled() and not blocked():
                    self._wake(line)  # it was our turn as we left: the next in line has it
        return True

    def _wake(self, line: deque[asyncio.Future[None]]) -> None:
        while line:
            place = line.popleft()
            if not place.done():
                place.set_result(None)
                return


class Queue:
    """A queue in an actor of its own: any driver, task or actor that has it puts and gets.

    Parameters: `maxsize` is how many items it holds, 0 or less: any number. `actor_options` are options of its actor,
    such as `{"num_cpus": 0, "name": "jobs", "lifetime": "detached"}`. A queue ends with its last copy, or at
    `shutdown()`; calls raise ActorDied from then on.

    Example:
        queue = Queue(maxsize=100)
        producer.remote(queue)
        queue.get(timeout=5)
    """

    def __init__(self, maxsize: int = 0, actor_options: Mapping[str, Any] | None = None) -> None:
        if isinstance(maxsize, bool) or not isinstance(maxsize, int):
            raise TypeError(f"maxsize must be a whole number, not {describe(maxsize)}")
        self.maxsize: int = maxsize
        options = {"max_concurrency": _WAITERS, "num_cpus": 0, **(actor_options or {})}
        self.actor: ActorHandle[Any] = shoal.remote(_Keeper).options(**options).remote(maxsize)

    def __len__(self) -> int:
        return self.size()

    def size(self) -> int:
        """Return how many items there are, as of a moment ago."""
        found: int = shoal.get(self.actor.qsize.remote())
        return found

    def qsize(self) -> int:
        """Return how many items there are, as of a moment ago."""
        return self.size()

    def empty(self) -> bool:
        """Tell whether there was no item a moment ago."""
        return self.size() == 0

    def full(self) -> bool:
        """Tell whether there was no room a moment ago."""
        return 0 < self.maxsize <= self.size()

    def put(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item, waiting for room up to `timeout` seconds (None: without end) if `block`.

        Raises Full, ValueError for a negative timeout, NotSerializable.
        """
        _check(timeout)
        if not shoal.get(self.actor.put.remote(item, block, timeout)):
            raise Full(f"the queue has {self.maxsize} items already")

    async def put_async(self, item: Any, block: bool = True, timeout: float | None = None) -> None:
        """Add an item like `put`, without holding up the event loop."""
        _check(timeout)
        if not await self.actor.put.remote(item, block, timeout):
            raise Full(f"the queue has {self.maxsize} items already")

    def get(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item, waiting for one up to `timeout` seconds (None: without end) if `block`.

        Raises Empty, ValueError for a negative timeout.
        """
        _check(timeout)
        there, item = shoal.get(self.actor.get.remote(block, timeout))
        if not there:
            raise Empty("the queue has no items")
        return item

    async def get_async(self, block: bool = True, timeout: float | None = None) -> Any:
        """Take the oldest item like `get`, without holding up the event loop."""
        _check(timeout)
        there, item = await self.actor.get.remote(block, timeout)
        if not there:
            raise Empty("the queue has no items")
        return item

    def put_nowait(self, item: Any) -> None:
        """Add an item. Raises Full at once if there is no room."""
        self.put(item, block=False)

    def put_nowait_batch(self, items: Iterable[Any]) -> None:
        """Add all items, or none: raises Full if there is no room for all. TypeError for what is not iterable."""
        if not isinstance(items, Iterable):
            raise TypeError(
                f"put_nowait_batch() takes items that can be iterated over, not {describe(items)}"
            )
        listed = list(items)
        if not shoal.get(self.actor.put_batch.remote(listed)):
            raise Full(f"the queue, of at most {self.maxsize} items, has no room for {len(listed)} more")

    def get_nowait(self) -> Any:
        """Take the oldest item. Raises Empty at once if there is none."""
        return self.get(block=False)

    def get_nowait_batch(self, num_items: int) -> list[Any]:
        """Take that many items, or none: raises Empty if there are fewer. TypeError, ValueError for no whole number."""
        if isinstance(num_items, bool) or not isinstance(num_items, int):
            raise TypeError(f"num_items must be a whole number, not {describe(num_items)}")
        if num_items < 0:
            raise ValueError(f"num_items must be ≥ 0, not {num_items}")
        found = shoal.get(self.actor.get_batch.remote(num_items))
        if isinstance(found, int):
            raise Empty(f"the queue has {found} items, not the {num_items} asked for")
        return list(found)

    def shutdown(self, force: bool = False, grace_period_s: float = 5) -> None:
        """End the queue: after the calls that it has, at most `grace_period_s` seconds later; at once if `force`."""
        if not force:
            done = self.actor.__shoal_terminate__.remote()
            ready, _ = shoal.wait([done], timeout=grace_period_s)
            if ready:
                return
        shoal.kill(self.actor, no_restart=True)


def _check(timeout: float | None) -> None:
    if timeout is not None and timeout < 0:
        raise ValueError(f"timeout must be ≥ 0 seconds or None for no limit, not {timeout}")
