"""Calls whose parameters have other names in the reference than here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import shoal
from shoal import ObjectRef, ObjectRefGenerator

R = TypeVar("R")


class ActorClassInheritanceException(TypeError):
    """What the reference raises where an actor class is inherited from; here that is a TypeError."""


def wait(
    ray_waitables: Sequence[ObjectRef[R] | ObjectRefGenerator[R]],
    *,
    num_returns: int = 1,
    timeout: float | None = None,
    fetch_local: bool = True,
) -> tuple[list[Any], list[Any]]:
    """Return (ready, not ready), as `shoal.wait` does."""
    return shoal.wait(ray_waitables, num_returns=num_returns, timeout=timeout, fetch_local=fetch_local)  # type: ignore[arg-type]


def cancel(
    ray_waitable: ObjectRef[Any] | ObjectRefGenerator[Any], *, force: bool = False, recursive: bool = True
) -> None:
    """Cancel a task, as `shoal.cancel` does."""
    shoal.cancel(ray_waitable, force=force, recursive=recursive)


def shutdown(wait_for_processes: bool = False, _exiting_interpreter: bool = False) -> None:
    """End the session, as `shoal.shutdown` does, which always waits for the processes."""
    shoal.shutdown()
