"""What a learner is given to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs
import numpy as np

import shoal
from shoal.errors import ConfigError


@attrs.define
class TrainingData:
    """Steps to learn from, in just one form: a batch, episodes, references of them, or iterators of batches.

    Parameters: `batch` is a MultiAgentBatch; `batches` and `batch_refs` are several, put one behind the other;
    `episodes` and `episodes_refs` are lists of episodes, or references of lists; `data_iterators` yield batches.

    Example: `TrainingData(episodes=episodes).shard(2)`
    """

    batch: Any = None
    batches: Sequence[Any] | None = None
    batch_refs: Sequence[Any] | None = None
    episodes: Sequence[Any] | None = None
    episodes_refs: Sequence[Any] | None = None
    data_iterators: Sequence[Any] | None = None

    def validate(self) -> None:
        """Raise ConfigError unless there is just one form."""
        given = [name for name, value in attrs.asdict(self, recurse=False).items() if value is not None]
        if len(given) != 1:
            raise ConfigError(
                f"give one of {', '.join(attrs.asdict(self))}, not {', '.join(given) or 'none'}"
            )

    def shard(
        self, num_shards: int, len_lookback_buffer: int | None = None, **kwargs: Any
    ) -> list[TrainingData]:
        """Return about equal parts for several learners; episodes are cut where it must be."""
        self.validate()
        if self.episodes is not None:
            from shoal.rllib.core.learner.minibatches import ShardEpisodesIterator

            parts = ShardEpisodesIterator(list(self.episodes), num_shards, len_lookback_buffer)
            return [TrainingData(episodes=part) for part in parts]
        if self.batch is not None:
            from shoal.rllib.core.learner.minibatches import ShardBatchIterator

            return [TrainingData(batch=part) for part in ShardBatchIterator(self.batch, num_shards)]
        for name in ("batches", "batch_refs", "episodes_refs", "data_iterators"):
            listed = getattr(self, name)
            if listed is not None:
                if len(listed) < num_shards:
                    raise ConfigError(f"{name} has {len(listed)} items for {num_shards} learners")
                places = np.array_split(np.arange(len(listed)), num_shards)
                return [TrainingData(**{name: [listed[int(p)] for p in part]}) for part in places]
        raise AssertionError("unreachable")

    def solve_refs(self) -> None:
        """Get what references stand for, and put several batches together."""
        from shoal.rllib.policy.sample_batch import concat_samples

        if self.batch_refs is not None:
            self.batches, self.batch_refs = shoal.get(list(self.batch_refs)), None
        if self.batches is not None:
            self.batch, self.batches = concat_samples(list(self.batches)), None
        if self.episodes_refs is not None:
            listed = shoal.get(list(self.episodes_refs))
            self.episodes = [episode for each in listed for episode in each]
            self.episodes_refs = None
