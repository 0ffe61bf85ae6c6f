"""Small operations of all ranks of a run, by way of its controller: some milliseconds, whatever the framework is."""

from __future__ import annotations

from typing import Any

from shoal.train.session import session_here


def barrier() -> None:
    """Wait until every rank is here. Raises SessionMisuseError outside of a training function, TimeoutError.

    Example: `collective.barrier()`
    """
    session_here("train.collective.barrier()").meet(None)


def broadcast_from_rank_zero(data: Any) -> Any:
    """Return what rank 0 gives; every rank must call it. For small values: it goes over the controller.

    Raises SessionMisuseError outside of a training function, TimeoutError.

    Example: `seed = collective.broadcast_from_rank_zero(random.random())`
    """
    return session_here("train.collective.broadcast_from_rank_zero()").meet(data)


def all_gather(data: Any) -> list[Any]:
    """Return what every rank gives, by rank; every rank must call it. For small values: they go over the controller.

    Raises SessionMisuseError outside of a training function, TimeoutError.

    Example: `sum(collective.all_gather(len(rows)))`
    """
    found: list[Any] = session_here("train.collective.all_gather()").meet(data, gathers=True)
    return found
