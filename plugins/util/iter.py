"""Parallel iterators: one stream of items in several shards, each in an actor.

Older programs use them; Shoal's data library does more. Nothing runs before the items are asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import shoal
from shoal import ActorHandle
from shoal.util.iter_local import LocalIterator
from shoal.util.iter_metrics import SharedMetrics
from shoal.util.iter_worker import ParallelIteratorWorker

__all__ = [
    "LocalIterator",
    "ParallelIterator",
    "ParallelIteratorWorker",
    "from_actors",
    "from_items",
    "from_iterators",
    "from_range",
]

Transform = Callable[[LocalIterator], LocalIterator]


def from_items(items: Sequence[Any], num_shards: int = 2, repeat: bool = False) -> ParallelIterator:
    """Spread items over shards, in turn; with `repeat` without end."""
    shards: list[list[Any]] = [[] for _ in range(num_shards)]
    for index, item in enumerate(items):
        shards[index % num_shards].append(item)
    return from_iterators(shards, repeat, f"from_items[{len(items)}, shards={num_shards}]")


def from_range(n: int, num_shards: int = 2, repeat: bool = False) -> ParallelIterator:
    """Spread the numbers below `n` over shards, each a range of its own."""
    step = n // num_shards
    ends = [*(step * index for index in range(num_shards)), n]
    ranges = [range(ends[index], ends[index + 1]) for index in range(num_shards)]
    return from_iterators(ranges, repeat, f"from_range[{n}, shards={num_shards}]")


def from_iterators(
    generators: Sequence[Iterable[Any] | Callable[[], Iterable[Any]]],
    repeat: bool = False,
    name: str | None = None,
) -> ParallelIterator:
    """Make a shard of each iterable, or of each function that returns one, which can always be repeated."""
    worker = shoal.remote(ParallelIteratorWorker)
    actors = [worker.remote(generator, repeat) for generator in generators]
    return from_actors(actors, name or f"from_iterators[shards={len(actors)}]")


def from_actors(actors: Sequence[ActorHandle[Any]], name: str | None = None) -> ParallelIterator:
    """Make a shard of each actor, whose class is a ParallelIteratorWorker."""
    return ParallelIterator([ActorSet(list(actors), [])], name or f"from_actors[shards={len(actors)}]", [])


class ActorSet:
    """Actors, and what is to be done with their items before they leave them."""

    def __init__(self, actors: list[ActorHandle[Any]], transforms: list[Transform]) -> None:
        self.actors = actors
        self.transforms = transforms

    def init_actors(self) -> None:
        """Begin anew. Raises what a transform raises."""
        shoal.get([actor.par_iter_init.remote(self.transforms) for actor in self.actors])

    def with_transform(self, fn: Transform) -> ActorSet:
        """Return the same actors with one step more."""
        return ActorSet(self.actors, [*self.transforms, fn])


class ParallelIterator:
    """Items in shards. Each step returns a new one; `gather_sync` and `gather_async` bring the items here."""

    def __init__(
        self, actor_sets: list[ActorSet], name: str, parent_iterators: Sequence[ParallelIterator]
    ) -> None:
        self.actor_sets = actor_sets
        self.name = name
        self.parent_iterators = list(parent_iterators)

    def __iter__(self) -> Iterator[Any]:
        raise TypeError("a ParallelIterator must be gathered first: gather_sync() or gather_async()")

    def __repr__(self) -> str:
        return f"ParallelIterator[{self.name}]"

    def _then(self, name: str, fn: Transform) -> ParallelIterator:
        return ParallelIterator([one.with_transform(fn) for one in self.actor_sets], self.name + name, [self])

    def transform(self, fn: Callable[[Iterable[Any]], Iterable[Any]]) -> ParallelIterator:
        """Hand each shard's items through `fn`, which takes an iterable and returns one."""
        return self._then(".transform()", lambda local: local.transform(fn))

    def for_each(
        self, fn: Callable[[Any], Any], max_concurrency: int = 1, resources: Mapping[str, Any] | None = None
    ) -> ParallelIterator:
        """Call `fn` on each item, in the shard; with a concurrency of more in that many tasks with those options."""
        return self._then(".for_each()", lambda local: local.for_each(fn, max_concurrency, resources))

    def filter(self, fn: Callable[[Any], bool]) -> ParallelIterator:
        """Keep items of which `fn` is true."""
        return self._then(".filter()", lambda local: local.filter(fn))

    def batch(self, n: int) -> ParallelIterator:
        """Put items together in lists of `n`; the last one may be shorter."""
        return self._then(f".batch({n})", lambda local: local.batch(n))

    def flatten(self) -> ParallelIterator:
        """Take lists apart."""
        return self._then(".flatten()", lambda local: local.flatten())

    def combine(self, fn: Callable[[Any], list[Any]]) -> ParallelIterator:
        """Call `fn` on each item and take the lists that it returns apart."""
        return self._then(".combine()", lambda local: local.combine(fn))

    def local_shuffle(self, shuffle_buffer_size: int, seed: int | None = None) -> ParallelIterator:
        """Mix items within a window of that many, in each shard."""
        return self._then(
            f".local_shuffle({shuffle_buffer_size})", lambda local: local.shuffle(shuffle_buffer_size, seed)
        )

    def repartition(self, num_partitions: int, batch_ms: int = 0) -> ParallelIterator:
        """Spread all items over that many shards. Each new shard takes its part from each old one."""
        sets = self.actor_sets

        def part(index: int) -> Callable[[], Iterator[Any]]:
            def read() -> Iterator[Any]:
                yield from _slices(sets, num_partitions, index, batch_ms)

            return read

        for one in sets:
            one.init_actors()
        again = from_iterators(
            [part(index) for index in range(num_partitions)],
            False,
            f"{self.name}.repartition({num_partitions})",
        )
        again.parent_iterators = [self]
        return again

    def gather_sync(self) -> LocalIterator:
        """Bring the items here: one of each shard in turn."""
        metrics = SharedMetrics()

        def rows() -> Iterator[Any]:
            for batch in self.batch_across_shards():
                yield from batch

        return LocalIterator(rows, metrics, name=f"{self}.gather_sync()")

    def batch_across_shards(self) -> LocalIterator:
        """Bring the items here in lists: one of each shard that has some left."""

        def batches() -> Iterator[Any]:
            actors = self._begin()
            while actors:
                refs = [actor.par_iter_next.remote() for actor in actors]
                found, left = [], []
                for actor, ref in zip(actors, refs, strict=True):
                    try:
                        found.append(shoal.get(ref))
                        left.append(actor)
                    except StopIteration:
                        continue
                actors = left
                if found:
                    yield found

        return LocalIterator(batches, SharedMetrics(), name=f"{self}.batch_across_shards()")

    def gather_async(self, batch_ms: int = 0, num_async: int = 1) -> LocalIterator:
        """Bring the items here as they come, with `num_async` requests to each shard under way.

        With `batch_ms` above 0 a request brings the items of that many milliseconds.
        """
        if num_async < 1:
            raise ValueError(f"num_async must be ≥ 1, not {num_async}")
        if batch_ms < 0:
            raise ValueError(f"batch_ms must be ≥ 0, not {batch_ms}")
        metrics = SharedMetrics()

        def rows() -> Iterator[Any]:
            yield from _as_they_come(self._begin(), batch_ms, num_async, metrics)

        return LocalIterator(rows, metrics, name=f"{self}.gather_async()")

    def take(self, n: int) -> list[Any]:
        """Return the first `n` items."""
        return self.gather_sync().take(n)

    def show(self, n: int = 20) -> None:
        """Print the first `n` items."""
        self.gather_sync().show(n)

    def union(self, other: ParallelIterator) -> ParallelIterator:
        """Return one with the shards of both."""
        if not isinstance(other, ParallelIterator):
            raise TypeError(f"union() takes a ParallelIterator, not {type(other).__name__}")
        return ParallelIterator(
            [*self.actor_sets, *other.actor_sets], f"ParallelUnion[{self}, {other}]", [self, other]
        )

    def select_shards(self, shards_to_keep: Sequence[int]) -> ParallelIterator:
        """Return one with these shards only. Raises ValueError for a list that is empty or repeats, IndexError."""
        if not shards_to_keep or len(set(shards_to_keep)) != len(shards_to_keep):
            raise ValueError(
                f"shards_to_keep must be different numbers of shards, not {list(shards_to_keep)}"
            )
        pairs = [(actor, one.transforms) for one in self.actor_sets for actor in one.actors]
        kept = [ActorSet([pairs[index][0]], pairs[index][1]) for index in shards_to_keep]
        return ParallelIterator(kept, f"{self.name}.select_shards({len(kept)} of {len(pairs)})", [self])

    def num_shards(self) -> int:
        """Return how many shards there are."""
        return sum(len(one.actors) for one in self.actor_sets)

    def shards(self) -> list[LocalIterator]:
        """Return an iterator for each shard, to be read where one likes."""
        return [self.get_shard(index) for index in range(self.num_shards())]

    def get_shard(self, shard_index: int, batch_ms: int = 0, num_async: int = 1) -> LocalIterator:
        """Return an iterator over one shard."""
        one = self.select_shards([shard_index])
        metrics = SharedMetrics()

        def rows() -> Iterator[Any]:
            yield from _as_they_come(one._begin(), batch_ms, num_async, metrics)

        return LocalIterator(rows, metrics, name=f"{self}.shard[{shard_index}]")

    def _begin(self) -> list[ActorHandle[Any]]:
        for one in self.actor_sets:
            one.init_actors()
        return [actor for one in self.actor_sets for actor in one.actors]


def _as_they_come(
    actors: list[ActorHandle[Any]], batch_ms: int, num_async: int, metrics: SharedMetrics
) -> Iterator[Any]:
    def ask(actor: ActorHandle[Any]) -> Any:
        return actor.par_iter_next_batch.remote(batch_ms) if batch_ms else actor.par_iter_next.remote()

    waiting = {ask(actor): actor for actor in actors for _ in range(num_async)}
    while waiting:
        [ready], _ = shoal.wait(list(waiting), num_returns=1)
        actor = waiting.pop(ready)
        try:
            found = shoal.get(ready)
        except StopIteration:
            continue
        waiting[ask(actor)] = actor
        metrics.get().current_actor = actor
        if batch_ms:
            yield from found
        else:
            yield found


def _slices(sets: list[ActorSet], step: int, start: int, batch_ms: int) -> Iterator[Any]:
    actors = [actor for one in sets for actor in one.actors]
    while actors:
        left = []
        for actor in actors:
            try:
                if batch_ms:
                    yield from shoal.get(actor.par_iter_slice_batch.remote(step, start, batch_ms))
                else:
                    yield shoal.get(actor.par_iter_slice.remote(step, start))
                left.append(actor)
            except StopIteration:
                continue
        actors = left
