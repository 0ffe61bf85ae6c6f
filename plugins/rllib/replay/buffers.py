"""Rows that are kept up to a number, the oldest replaced first, and drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from shoal.errors import ConfigError, describe
from shoal.rllib.replay.sum_tree import SumTree


class ReplayBuffer:
    """Keeps the newest `capacity` rows in one array a column, and draws from them uniformly, with replacement.

    The columns are those of the first rows. Not safe for several threads at once.

    Example: `buffer = ReplayBuffer(1000); buffer.add({"rewards": np.ones(5)}); buffer.sample(2)["rewards"]`
    """

    def __init__(self, capacity: int, seed: int | None = None) -> None:
        if not is_whole(capacity):
            raise ConfigError(f"capacity must be a number of rows ≥ 1, not {describe(capacity)}")
        self.capacity = capacity
        self._random = np.random.default_rng(seed)
        self._columns: dict[str, Any] = {}
        self._added = 0

    def __len__(self) -> int:
        return min(self._added, self.capacity)

    @property
    def added(self) -> int:
        """How many rows were ever added."""
        return self._added

    def add(self, rows: Mapping[str, Any]) -> Any:
        """Keep rows, given by columns of one length; return their numbers. Raises ValueError for other columns."""
        count = self._checked(rows)
        if not self._columns:
            # Pages of zeros cost no memory before they are written, so a buffer takes what its rows take.
            self._columns = {
                name: np.zeros((self.capacity, *np.shape(values)[1:]), np.asarray(values).dtype)
                for name, values in rows.items()
            }
        numbers = np.arange(self._added, self._added + count)
        kept = min(count, self.capacity)  # of more rows than there is place for, the last stay
        slots = numbers[count - kept :] % self.capacity
        for name, column in self._columns.items():
            column[slots] = np.asarray(rows[name])[count - kept :]
        self._added += count
        return numbers

    def sample(self, count: int) -> dict[str, Any]:
        """Return `count` rows by columns, with `indices` (their numbers) and `weights`. Raises ValueError if empty."""
        self._refuse_empty()
        slots = self._random.integers(len(self), size=count)
        return self._rows(slots, np.ones(count, np.float32))

    def rows(self, numbers: Any) -> dict[str, Any]:
        """Return the rows of some numbers, by columns. Raises ValueError for rows that are not there (any more)."""
        numbers = np.asarray(numbers)
        if (numbers >= self._added).any() or (numbers < self._added - len(self)).any():
            raise ValueError(
                f"there are the rows {self._added - len(self)} to {self._added - 1}, not {numbers}"
            )
        return {name: column[numbers % self.capacity] for name, column in self._columns.items()}

    def state(self) -> dict[str, Any]:
        """Return all that `set_state` of another buffer needs to go on alike."""
        return {
            "columns": {name: column[: len(self)].copy() for name, column in self._columns.items()},
            "added": self._added,
            "capacity": self.capacity,
            "random": self._random.bit_generator.state,
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned. Raises ConfigError for a buffer of another capacity."""
        if state["capacity"] != self.capacity:
            raise ConfigError(
                f"the state is of a buffer of {state['capacity']} rows, this has {self.capacity}"
            )
        self._columns = {}
        for name, values in state["columns"].items():
            values = np.asarray(values)
            column = self._columns[name] = np.zeros((self.capacity, *values.shape[1:]), values.dtype)
            column[: len(values)] = values
        self._added = state["added"]
        self._random.bit_generator.state = state["random"]

    def _rows(self, slots: Any, weights: Any) -> dict[str, Any]:
        made = {name: column[slots] for name, column in self._columns.items()}
        # A slot's newest row is the only one whose number may be meant.
        turns = (self._added - 1 - slots) // self.capacity
        return {**made, "indices": slots + turns * self.capacity, "weights": weights}

    def _refuse_empty(self) -> None:
        if not self._added:
            raise ValueError("the buffer is empty: add rows before you draw some")

    def _checked(self, rows: Mapping[str, Any]) -> int:
        lengths = {name: len(values) for name, values in rows.items()}
        if not lengths or len(set(lengths.values())) != 1:
            raise ValueError(f"rows must be columns of one length, not of {lengths}")
        if self._columns and rows.keys() != self._columns.keys():
            raise ValueError(f"rows have the columns {sorted(rows)}, the buffer has {sorted(self._columns)}")
        return next(iter(lengths.values()))


class PrioritizedReplayBuffer(ReplayBuffer):
    """Draws rows in proportion to their priorities (Schaul et al., 2016).

    Parameters: priorities count as (p + `eps`) to the power of `alpha`; `beta` is how far weights make up for rows
    that are drawn more often than others. New rows have the greatest priority so far, unless they come with their own.

    Example: `buffer = PrioritizedReplayBuffer(1000); buffer.update(batch["indices"], errors)`
    """

    def __init__(
        self,
        capacity: int,
        alpha: float = 0.6,
        beta: float = 0.4,
        eps: float = 1e-6,
        seed: int | None = None,
    ) -> None:
        super().__init__(capacity, seed)
        for name, value in (("alpha", alpha), ("beta", beta), ("eps", eps)):
            if not is_number(value):
                raise ConfigError(f"{name} must be a number ≥ 0, not {describe(value)}")
        self._alpha, self.beta, self._eps = alpha, beta, eps
        self._tree = SumTree(capacity)
        self._greatest = 1.0

    def add(self, rows: Mapping[str, Any], priorities: Any = None) -> Any:
        """Keep rows, with `priorities` of their own or the greatest so far; return their numbers."""
        numbers = super().add(rows)
        kept = numbers[-self.capacity :]
        if priorities is None:
            self._tree.set(kept % self.capacity, self._greatest)
        else:
            self.update(kept, np.asarray(priorities)[-self.capacity :])
        return numbers

    def sample(self, count: int, beta: float | None = None) -> dict[str, Any]:
        """Return `count` rows, one from each of as many equal parts of the sum; `beta` instead of the buffer's own."""
        self._refuse_empty()
        tree = self._tree
        marks = (np.arange(count) + self._random.random(count)) * (tree.total / count)
        slots = np.minimum(tree.find(marks), len(self) - 1)
        chances = tree.values(slots) / tree.total
        weights = (len(self) * chances) ** -(self.beta if beta is None else beta)
        return self._rows(slots, (weights / weights.max()).astype(np.float32))

    def update(self, indices: Any, priorities: Any) -> None:
        """Give rows new priorities (≥ 0), by the numbers that `sample` gave. Rows that are gone are left out.

        Raises ValueError for priorities that are negative or no numbers.
        """
        indices, priorities = np.asarray(indices), np.asarray(priorities, dtype=np.float64)
        if not np.isfinite(priorities).all() or (priorities < 0).any():
            raise ValueError("priorities must be finite numbers ≥ 0")
        there = indices >= self._added - self.capacity
        if not there.all():
            indices, priorities = indices[there], priorities[there]
        if len(indices):
            powers = (priorities + self._eps) ** self._alpha
            self._greatest = max(self._greatest, float(powers.max()))
            self._tree.set(indices % self.capacity, powers)

    def state(self) -> dict[str, Any]:
        """Return all that `set_state` of another buffer needs to go on alike."""
        leaves = self._tree.values(np.arange(len(self)))
        return {**super().state(), "priorities": leaves, "greatest": self._greatest}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `state` returned."""
        super().set_state(state)
        self._tree = SumTree(self.capacity)
        self._tree.set(np.arange(len(self)), np.asarray(state["priorities"]))
        self._greatest = state["greatest"]


def is_whole(value: Any) -> bool:
    """Return whether a value is a whole number from 1 up.

    Example: `is_whole(True)  # False`
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def is_number(value: Any) -> bool:
    """Return whether a value is a number from 0 up.

    Example: `is_number(0.5)  # True`
    """
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0
