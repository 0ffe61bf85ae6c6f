"""Points whose numbers are at least 0 and add up to 1."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np


class Simplex(gymnasium.Space[Any]):
    """Arrays whose last dimension adds up to 1, such as the parts of a portfolio.

    Parameters: `shape` of the arrays; `concentration` of the Dirichlet distribution that samples are drawn of (None:
    all alike); `dtype` of the numbers.

    Example: `Simplex(shape=(3,)).sample().sum()  # 1.0`
    """

    def __init__(self, shape: Sequence[int], concentration: Any = None, dtype: Any = np.float32) -> None:
        super().__init__(tuple(shape), dtype)
        self.dim = int(shape[-1])
        self.concentration = np.ones(self.dim) if concentration is None else np.asarray(concentration)
        if self.concentration.shape != (self.dim,):
            raise ValueError(f"concentration must have {self.dim} numbers, not {self.concentration.shape}")

    def sample(self, mask: Any = None, probability: Any = None) -> Any:
        """Draw an array."""
        shape = self.shape or ()
        return self.np_random.dirichlet(self.concentration, size=shape[:-1]).astype(self.dtype)

    def contains(self, x: Any) -> bool:
        """Return whether an array is of the space."""
        array = np.asarray(x)
        return (
            array.shape == self.shape
            and bool((array >= 0).all())
            and bool(np.allclose(array.sum(axis=-1), 1.0, rtol=1e-4))
        )

    def to_jsonable(self, sample_n: Sequence[Any]) -> list[Any]:
        """Return samples as lists."""
        return [np.asarray(each).tolist() for each in sample_n]

    def from_jsonable(self, sample_n: list[Any]) -> list[Any]:
        """Return samples of lists."""
        return [np.asarray(each, self.dtype) for each in sample_n]

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Simplex)
            and self.shape == other.shape
            and np.array_equal(self.concentration, other.concentration)
        )

    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"Simplex({self.shape}, {self.concentration})"
