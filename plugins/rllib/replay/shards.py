"""Replay over several actors: rows go from who played to a shard, batches from a shard to who learns."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import shoal
from shoal.errors import ActorDied
from shoal.rllib.replay.buffers import PrioritizedReplayBuffer, ReplayBuffer

logger = logging.getLogger(__name__)


class ReplayShards:
    """Buffers in actors of their own, filled and asked by turns. None of its methods waits for an actor.

    Parameters: `capacity` rows in all, over `count` actors; `settings` (of PrioritizedReplayBuffer; None: draws
    uniformly), `num_cpus` of each actor.

    Example: `shards = ReplayShards(100_000, 2); shards.add(rows); batch = shoal.get(shards.sample(32)[1])`
    """

    def __init__(
        self,
        capacity: int,
        count: int,
        settings: Mapping[str, Any] | None = None,
        seed: int | None = None,
        num_cpus: float = 0,
    ) -> None:
        self._settings = None if settings is None else dict(settings)
        self._each = max(1, capacity // count)
        self._seed, self._cpus = seed, num_cpus
        self._actors = [self._new(place) for place in range(count)]
        self._adds = self._asks = 0

    def __len__(self) -> int:
        return len(self._actors)

    def add(self, rows: Any, place: int | None = None) -> tuple[int, Any]:
        """Give the next shard rows, or a reference to them, which only the shard reads; return its place and a
        reference to how many rows it has then."""
        place = self._adds % len(self._actors) if place is None else place
        self._adds += 1
        return place, self._actors[place].add.remote(rows)

    def sample(self, count: int, beta: float | None = None) -> tuple[int, Any]:
        """Ask the next shard for a batch; return its place and a reference to the rows (None if it has too few)."""
        place = self._asks % len(self._actors)
        self._asks += 1
        return place, self._actors[place].sample.remote(count, beta)

    def update(self, place: int, indices: Any, priorities: Any) -> None:
        """Give rows of one shard new priorities, by the numbers that its batch had."""
        self._actors[place].update.remote(indices, priorities)

    def states(self) -> list[Any]:
        """Return references to the shards' states."""
        return [actor.state.remote() for actor in self._actors]

    def set_states(self, states: list[Any]) -> None:
        """Let shards go on from their states."""
        shoal.get([a.set_state.remote(s) for a, s in zip(self._actors, states, strict=True)], timeout=300)

    def replace(self, place: int, why: ActorDied) -> None:
        """Put a new and empty shard in the place of one that died."""
        logger.warning("replay shard %d is replaced by an empty one: %s", place, str(why).splitlines()[0])
        self._actors[place] = self._new(place)

    def stop(self) -> None:
        """End the actors. Again does nothing."""
        if shoal.is_initialized():
            for actor in self._actors:
                shoal.kill(actor)
        self._actors = []

    def _new(self, place: int) -> Any:
        seed = None if self._seed is None else self._seed + place
        return shoal.remote(num_cpus=self._cpus)(_Shard).remote(self._each, self._settings, seed)


class _Shard:
    def __init__(self, capacity: int, settings: dict[str, Any] | None, seed: int | None) -> None:
        self._buffer = (
            ReplayBuffer(capacity, seed=seed)
            if settings is None
            else PrioritizedReplayBuffer(capacity, seed=seed, **settings)
        )

    def add(self, rows: Any) -> int:
        if rows is None:
            return len(self._buffer)
        own = {name: values for name, values in rows.items() if name != "priorities"}
        if isinstance(self._buffer, PrioritizedReplayBuffer):
            self._buffer.add(own, rows.get("priorities"))
        else:
            self._buffer.add(own)
        return len(self._buffer)

    def sample(self, count: int, beta: float | None) -> dict[str, Any] | None:
        if len(self._buffer) < count:
            return None
        if beta is not None and isinstance(self._buffer, PrioritizedReplayBuffer):
            return self._buffer.sample(count, beta)
        return self._buffer.sample(count)

    def update(self, indices: Any, priorities: Any) -> None:
        if isinstance(self._buffer, PrioritizedReplayBuffer):
            self._buffer.update(indices, priorities)

    def state(self) -> dict[str, Any]:
        return self._buffer.state()

    def set_state(self, state: dict[str, Any]) -> None:
        self._buffer.set_state(state)
