"""What runs a function on blocks: tasks, or a pool of actors that keep what is slow to make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from shoal.data.checks import check_count
from shoal.data.keywords import TaskKeywords
from shoal.errors import describe


@attrs.frozen
class TaskPoolStrategy:
    """Run as tasks, `size` at a time at most (None: as many as the CPUs allow).

    Example: `ds.map(parse, compute=TaskPoolStrategy(size=2))`
    """

    size: int | None = None

    def __attrs_post_init__(self) -> None:
        check_count("size", self.size)


@attrs.frozen
class ActorPoolStrategy:
    """Run in actors, each with one instance of the class that was given.

    Parameters: `size` is a fixed number of actors; or `min_size` and `max_size` let the pool grow while work waits,
    from `initial_size` on, and shrink while there is none. `max_tasks_in_flight_per_actor` is how many blocks are sent
    to an actor ahead. `max_concurrent_calls_per_actor` is how many batches (or rows) an `async def` is awaited for at a
    time (None: 16); another function is called for several only with `enable_true_multi_threading`, in as many threads.
    Raises ValueError for numbers that contradict each other.

    Example: `ds.map_batches(Model, compute=ActorPoolStrategy(min_size=1, max_size=4))`
    """

    size: int | None = None
    min_size: int | None = None
    max_size: int | None = None
    initial_size: int | None = None
    max_tasks_in_flight_per_actor: int | None = None
    max_concurrent_calls_per_actor: int | None = None
    enable_true_multi_threading: bool = False

    def __attrs_post_init__(self) -> None:
        for name in ("size", "min_size", "max_size", "initial_size", "max_tasks_in_flight_per_actor"):
            check_count(name, getattr(self, name))
        check_count("max_concurrent_calls_per_actor", self.max_concurrent_calls_per_actor)
        if self.enable_true_multi_threading and self.max_concurrent_calls_per_actor is None:
            raise ValueError(
                "enable_true_multi_threading needs max_concurrent_calls_per_actor: how many threads there are"
            )
        if self.size is not None and not (self.min_size is self.max_size is self.initial_size is None):
            raise ValueError("give size, or min_size, max_size and initial_size, not both")
        if not self.least <= self.first <= self.most:
            raise ValueError(
                f"min_size ≤ initial_size ≤ max_size must hold, not {self.least}, {self.first}, {self.most}"
            )

    @property
    def least(self) -> int:
        """How many actors there are at least."""
        return self.size or self.min_size or 1

    @property
    def first(self) -> int:
        """How many actors there are at the beginning."""
        return self.initial_size or self.least

    @property
    def most(self) -> int:
        """How many actors there are at most."""
        return self.size or self.max_size or self.least


def choose_compute(
    fn: Any, compute: Any, concurrency: int | tuple[int, ...] | None
) -> TaskPoolStrategy | ActorPoolStrategy:
    """Return what runs `fn`: `compute` if given, else what `concurrency` says for a class or for a function.

    Raises TypeError or ValueError for what does not fit: a class cannot run as tasks.

    Example: `choose_compute(Model, None, (1, 4)).max_size  # 4`
    """
    if compute is not None and not isinstance(compute, (TaskPoolStrategy, ActorPoolStrategy)):
        raise TypeError(
            f"compute must be a TaskPoolStrategy or an ActorPoolStrategy, not {describe(compute)}"
        )
    if compute is not None and concurrency is not None:
        raise ValueError("give compute or concurrency, not both")
    if not isinstance(fn, type):
        if compute is not None:
            return compute
        if isinstance(concurrency, tuple):
            raise ValueError("concurrency=(least, most) is for a class; a function takes one whole number")
        return TaskPoolStrategy(concurrency)
    if isinstance(compute, TaskPoolStrategy):
        raise ValueError(f"{fn.__name__} is a class and needs actors: compute=ActorPoolStrategy(size=...)")
    if compute is not None:
        return compute
    if isinstance(concurrency, tuple):
        if len(concurrency) not in (2, 3):
            raise ValueError(
                f"concurrency must be (least, most) or (least, most, first), not {concurrency!r}"
            )
        first = concurrency[2] if len(concurrency) == 3 else None
        return ActorPoolStrategy(min_size=concurrency[0], max_size=concurrency[1], initial_size=first)
    return ActorPoolStrategy(size=concurrency or 1)


def options_now(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options with which the next task or actor is submitted: what `ray_remote_args_fn` adds included.

    Example: `options_now({"num_cpus": 1, "ray_remote_args_fn": lambda: {"num_cpus": 2}})  # {"num_cpus": 2}`
    """
    made = dict(options)
    function = made.pop("ray_remote_args_fn", None)
    return made if function is None else {**made, **placement(function())}


# What else a verb may say about the tasks or actors that run it.
_PLACEMENT = frozenset(TaskKeywords.__annotations__)


def placement(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options for tasks and actors that were given, without those that are None.

    Raises TypeError for one that a dataset's verb does not take.

    Example: `placement({"num_cpus": 2, "num_gpus": None})  # {"num_cpus": 2}`
    """
    unknown = sorted(set(given) - _PLACEMENT)
    if unknown:
        raise TypeError(f"unknown option {', '.join(unknown)}; there are {', '.join(sorted(_PLACEMENT))}")
    return {name: value for name, value in given.items() if value is not None}
