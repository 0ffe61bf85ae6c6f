"""Results in the order in which they come, with a bound on how much is under way."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import shoal
from shoal import ObjectRef, RemoteFunction
from shoal.errors import describe

__all__ = ["as_completed", "map_unordered"]


def as_completed(
    refs: Sequence[ObjectRef[Any]], *, chunk_size: int = 10, yield_obj_refs: bool = False, **kwargs: Any
) -> Iterator[Any]:
    """Yield the values of the references as they are made, or the references themselves.

    Parameters: `chunk_size` is how many that are ready are taken at once, `kwargs` are those of `shoal.wait`.
    Raises what a task raised when its value is due, ValueError for a chunk below 1.

    Example: `for value in as_completed([f.remote(i) for i in range(10)]): ...`
    """
    _at_least_one("chunk_size", chunk_size)
    return _as_completed(list(refs), chunk_size, yield_obj_refs, kwargs)


def _as_completed(
    left: list[ObjectRef[Any]], chunk_size: int, yield_obj_refs: bool, kwargs: dict[str, Any]
) -> Iterator[Any]:
    while left:
        ready, left = _take(left, chunk_size, kwargs)
        yield from ready if yield_obj_refs else shoal.get(ready)


def map_unordered(
    fn: RemoteFunction[Any, Any],
    items: Iterable[Any],
    *,
    backpressure_size: int | None = 100,
    chunk_size: int = 10,
    yield_obj_refs: bool = False,
    **kwargs: Any,
) -> Iterator[Any]:
    """Call a remote function on each item, and yield the results as they are made.

    Parameters: `backpressure_size` is how many calls are under way at most (None: all at once), so that an endless
    iterable can be given; the others are those of `as_completed`.

    Example: `for value in map_unordered(f, range(10**9), backpressure_size=64): ...`
    """
    _at_least_one("chunk_size", chunk_size)
    if backpressure_size is not None:
        _at_least_one("backpressure_size", backpressure_size)
        if chunk_size > backpressure_size:
            raise ValueError(
                f"backpressure_size ({backpressure_size}) must be at least chunk_size ({chunk_size})"
            )
    if not isinstance(fn, RemoteFunction):
        raise TypeError(f"map_unordered() takes a remote function, not {describe(fn)}")
    return _map_unordered(fn, iter(items), backpressure_size, chunk_size, yield_obj_refs, kwargs)


def _map_unordered(
    fn: RemoteFunction[Any, Any],
    items: Iterator[Any],
    most: int | None,
    chunk_size: int,
    yield_obj_refs: bool,
    kwargs: dict[str, Any],
) -> Iterator[Any]:
    left: list[ObjectRef[Any]] = [fn.remote(item) for item in islice(items, most)]
    while left:
        ready, left = _take(left, chunk_size, kwargs)
        yield from ready if yield_obj_refs else shoal.get(ready)
        if most is not None:
            left.extend(fn.remote(item) for item in islice(items, most - len(left)))


def _take(
    refs: list[ObjectRef[Any]], chunk_size: int, kwargs: dict[str, Any]
) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
    """Wait for one, and take what else is ready up to a chunk."""
    ready, left = shoal.wait(refs, num_returns=1, **kwargs)
    if left and chunk_size > 1:
        more, left = shoal.wait(left, num_returns=min(chunk_size - 1, len(left)), timeout=0)
        ready = [*ready, *more]
    return ready, list(left)


def _at_least_one(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"{name} must be a whole number ≥ 1, not {describe(value)}")
