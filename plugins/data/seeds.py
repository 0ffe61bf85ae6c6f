"""Seeds of shuffles and samples."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from shoal.data.checks import check_count
from shoal.errors import describe


@attrs.define(eq=False)
class RandomSeedConfig:
    """A seed that says whether each execution draws anew: the first draws as in every run of the program, and so on.

    Parameters: `seed` is a whole number ≥ 0 (None: chance decides, or the clock with `use_timestamp_as_default`).
    Without `reseed_after_execution` all executions draw alike.

    Example: `ds.random_shuffle(seed=RandomSeedConfig(7))`
    """

    seed: int | None = None
    reseed_after_execution: bool = True
    use_timestamp_as_default: bool = False
    _executions: Iterator[int] = attrs.field(factory=itertools.count, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        check_count("seed", self.seed, 0)
        if self.seed is None and self.use_timestamp_as_default:
            self.seed = time.time_ns()

    @classmethod
    def create_seed_config(cls, seed: Any, use_timestamp_as_default: bool = False) -> RandomSeedConfig:
        """Return a config of a seed (None and configs as well). A number alone draws alike in each execution.

        Raises TypeError for anything else.

        Example: `RandomSeedConfig.create_seed_config(7)`
        """
        if isinstance(seed, RandomSeedConfig):
            return seed
        if seed is not None and type(seed) is not int:
            raise TypeError(f"a seed is a whole number or a RandomSeedConfig, not {describe(seed)}")
        return cls(seed, seed is None, use_timestamp_as_default)

    def get_seed_tuple(self, data_context: Any = None) -> tuple[int, ...]:
        """Return what the next execution draws from: the seed, and the execution's number if each draws anew."""
        if self.seed is None:
            return (int(np.random.SeedSequence().generate_state(1)[0]),)
        return (self.seed, next(self._executions)) if self.reseed_after_execution else (self.seed,)

    def next_seed(self) -> int:
        """Return the next execution's seed as one number."""
        return int(np.random.SeedSequence(self.get_seed_tuple()).generate_state(1, np.uint64)[0] >> 1)


def check_seed(seed: Any) -> None:
    """Raise ValueError unless it is a whole number ≥ 0, a RandomSeedConfig or None.

    Example: `check_seed(7)`
    """
    if not isinstance(seed, RandomSeedConfig):
        check_count("seed", seed, 0)
