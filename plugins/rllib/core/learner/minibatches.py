"""Batches in parts: minibatches again and again, and shards for several learners."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import optree

from shoal.errors import ConfigError
from shoal.rllib.core.columns import Columns
from shoal.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch


class MiniBatchIteratorBase(ABC):
    """Yields minibatches of a batch of several modules.

    Parameters: `num_epochs` is how often all rows are used, `minibatch_size` rows of each module (None: all), in
    another order each time if `shuffle_batch_per_epoch`; with `num_total_minibatches` there are just as
    many, whatever the number of rows.
    """

    def __init__(
        self,
        batch: MultiAgentBatch,
        *,
        num_epochs: int = 1,
        shuffle_batch_per_epoch: bool = True,
        minibatch_size: int | None = None,
        num_total_minibatches: int = 0,
    ) -> None:
        if num_epochs < 1 or (minibatch_size is not None and minibatch_size < 1):
            raise ConfigError(
                f"num_epochs={num_epochs}, minibatch_size={minibatch_size}: both must be at least 1"
            )
        self.batch, self.num_epochs = batch, num_epochs
        self.shuffles, self.size, self.total = shuffle_batch_per_epoch, minibatch_size, num_total_minibatches

    @abstractmethod
    def __iter__(self) -> Iterator[MultiAgentBatch]:
        """Yield minibatches."""


class MiniBatchCyclicIterator(MiniBatchIteratorBase):
    """Yields minibatches; a module with fewer rows than another begins anew while that is not through.

    Rows of stretches (`Columns.SEQ_LENS`) are stretches.

    Example: `for minibatch in MiniBatchCyclicIterator(batch, num_epochs=10, minibatch_size=128): ...`
    """

    def __iter__(self) -> Iterator[MultiAgentBatch]:
        """Yield minibatches."""
        rows = {name: _rows(each) for name, each in self.batch.policy_batches.items()}
        rows = {name: count for name, count in rows.items() if count}
        if not rows:
            return
        most = max(rows.values())
        size = min(self.size or most, most)
        each_epoch = max(1, most // size)
        total = self.total or self.num_epochs * each_epoch
        orders = {name: self._order(count) for name, count in rows.items()}
        places = dict.fromkeys(rows, 0)
        for number in range(total):
            if number and number % each_epoch == 0:
                longest = [name for name, count in rows.items() if count == most]
                for name in longest:
                    orders[name], places[name] = self._order(rows[name]), 0
            parts = {}
            for name, count in rows.items():
                chosen: list[int] = []
                wanted = min(size, count)
                while len(chosen) < wanted:
                    if places[name] >= count:
                        orders[name], places[name] = self._order(count), 0
                    taken = orders[name][places[name] : places[name] + wanted - len(chosen)]
                    chosen.extend(taken)
                    places[name] += len(taken)
                parts[name] = _picked(self.batch[name], np.asarray(chosen))
            steps = max(len(each) for each in parts.values())
            yield MultiAgentBatch(parts, steps)

    def _order(self, count: int) -> Any:
        return np.random.permutation(count) if self.shuffles else np.arange(count)


class MiniBatchRayDataIterator:
    """Yields batches of an iterator of shoal.data's, as tensors, beginning anew when it is through.

    Parameters: `iterator` has `iter_batches` or `iter_torch_batches`; `num_iters` is how many (None: one round).

    Example: `for batch in MiniBatchRayDataIterator(iterator=iterator, minibatch_size=256): ...`
    """

    def __init__(
        self,
        *,
        iterator: Any,
        device: Any = None,
        minibatch_size: int = 256,
        num_iters: int | None = None,
        **kwargs: Any,
    ) -> None:
        self._iterator, self._device, self._size = iterator, device, minibatch_size
        self._count, self._more = num_iters, kwargs

    def __iter__(self) -> Iterator[MultiAgentBatch]:
        """Yield batches."""
        given = 0
        while self._count is None or given < self._count:
            before = given
            for columns in self._iterator.iter_batches(batch_size=self._size, **self._more):
                batch = SampleBatch(columns)
                yield batch.to_device(self._device or "cpu").as_multi_agent()
                given += 1
                if given == self._count:
                    return
            if self._count is None:
                return
            if given == before:
                raise ConfigError("the iterator has no batches")


class ShardBatchIterator:
    """Yields about equal parts of a batch of several modules, one for each of `num_shards` learners."""

    def __init__(self, batch: MultiAgentBatch, num_shards: int) -> None:
        self._batch, self._count = batch, num_shards

    def __iter__(self) -> Iterator[MultiAgentBatch]:
        """Yield parts."""
        for number in range(self._count):
            parts = {}
            for name, each in self._batch.policy_batches.items():
                places = np.array_split(np.arange(_rows(each)), self._count)[number]
                parts[name] = _picked(each, places)
            yield MultiAgentBatch(parts, max((len(each) for each in parts.values()), default=0))


class ShardEpisodesIterator:
    """Yields lists of episodes with about equally many steps, one for each of `num_shards` learners.

    Episodes are cut where it must be; `len_lookback_buffer` is how much the pieces have to look back at.
    """

    def __init__(
        self, episodes: Sequence[Any], num_shards: int, len_lookback_buffer: int | None = None
    ) -> None:
        self._episodes, self._count, self._back = list(episodes), num_shards, len_lookback_buffer

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield lists."""
        waiting = list(self._episodes)
        total = sum(len(each) for each in waiting)
        given = 0
        for number in range(self._count):
            wanted = round(total * (number + 1) / self._count) - given
            part: list[Any] = []
            while waiting and wanted > 0:
                episode = waiting.pop(0)
                if len(episode) > wanted:
                    rest = episode.slice(slice(wanted, len(episode)), len_lookback_buffer=self._back)
                    waiting.insert(0, rest)
                    episode = episode.slice(slice(0, wanted), len_lookback_buffer=self._back)
                part.append(episode)
                wanted -= len(episode)
                given += len(episode)
            yield part


class ShardObjectRefIterator:
    """Yields lists of references, about equally long, one for each of `num_shards` learners."""

    def __init__(self, object_refs: Sequence[Any], num_shards: int) -> None:
        self._refs, self._count = list(object_refs), num_shards

    def __iter__(self) -> Iterator[list[Any]]:
        """Yield lists."""
        for part in np.array_split(np.arange(len(self._refs)), self._count):
            yield [self._refs[int(place)] for place in part]


def _rows(batch: SampleBatch) -> int:
    lengths = batch.get(Columns.SEQ_LENS)
    return len(batch) if lengths is None else len(lengths)


def _picked(batch: SampleBatch, places: Any) -> SampleBatch:
    made = SampleBatch()
    for name, value in dict(batch).items():
        dict.__setitem__(made, name, optree.tree_map(lambda leaf: leaf[places], value))
    return made
