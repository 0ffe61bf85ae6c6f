"""Waiting for the first of several values."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shoal.interfaces.refs import ObjectRef
    from shoal.native.client.client import Client


def first_ready(
    client: Client, refs: Sequence[ObjectRef[Any]], num_returns: int, timeout: float | None
) -> tuple[list[ObjectRef[Any]], list[ObjectRef[Any]]]:
    """Return (ready, not ready) as soon as `num_returns` have a value, or time is up. Takes the lock."""
    ready = _first_ready(refs, num_returns)
    if len(ready) < num_returns and (timeout is None or timeout > 0):
        pending = [ref.record for ref in refs if ref.record.status is None]
        missing = num_returns - (len(refs) - len(pending))
        with client.reactor.lock:
            client.objects.want(pending)
            pending = [record for record in pending if record.status is None]
            missing = num_returns - (len(refs) - len(pending))

            def arrived() -> None:
                nonlocal missing
                missing -= 1

            for record in pending:
                record.watch(arrived)
        deadline = None if timeout is None else time.monotonic() + timeout
        client.wait_until(lambda: missing <= 0 or client.broken is not None, deadline)
        with client.reactor.lock:
            for record in pending:
                if record.watchers is not None and arrived in record.watchers:
                    record.watchers.remove(arrived)
        ready = _first_ready(refs, num_returns)
    elif len(ready) < num_returns:
        with client.reactor.lock:
            client.objects.want([ref.record for ref in refs])
        client.reactor.run_until(
            lambda: len(_first_ready(refs, num_returns)) >= num_returns, time.monotonic()
        )
        ready = _first_ready(refs, num_returns)
    if len(ready) == 1:
        index = ready[0]
        return [refs[index]], [*refs[:index], *refs[index + 1 :]]
    chosen = set(ready)
    return [refs[i] for i in ready], [ref for i, ref in enumerate(refs) if i not in chosen]


def _first_ready(refs: Sequence[ObjectRef[Any]], count: int) -> list[int]:
    ready: list[int] = []
    for index, ref in enumerate(refs):
        if ref.record.status is not None:
            ready.append(index)
            if len(ready) == count:
                break
    return ready
