"""Lists of one space's values, of different lengths."""

from __future__ import annotations

from typing import Any

import gymnasium


class Repeated(gymnasium.Space[Any]):
    """Lists of at most `max_len` values of `child_space`.

    Example: `Repeated(gymnasium.spaces.Discrete(4), max_len=3).sample()`
    """

    def __init__(self, child_space: gymnasium.Space[Any], max_len: int) -> None:
        super().__init__()
        self.child_space, self.max_len = child_space, max_len

    def sample(self, mask: Any = None, probability: Any = None) -> list[Any]:
        """Draw a list with 1 to `max_len` values."""
        return [self.child_space.sample() for _ in range(int(self.np_random.integers(1, self.max_len + 1)))]

    def contains(self, x: Any) -> bool:
        """Return whether it is such a list."""
        return (
            isinstance(x, list)
            and len(x) <= self.max_len
            and all(self.child_space.contains(each) for each in x)
        )

    def __repr__(self) -> str:
        return f"Repeated({self.child_space}, {self.max_len})"
