"""Pools that are kept for the next parallel call: their processes have imported what the work needs."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from shoal.interfaces.current import current
from shoal.util.multiprocessing import Pool

_IDLE_SECONDS = 60.0


class _Kept:
    """At most one idle pool."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.pool: Pool | None = None
        self.fits: Any = None
        self.timer: threading.Timer | None = None

    def take(self) -> tuple[Pool | None, Any]:
        """Take the pool out, with what it fits."""
        with self.lock:
            if self.timer is not None:
                self.timer.cancel()
            pool, fits = self.pool, self.fits
            self.pool = self.timer = None
            return pool, fits


_kept = _Kept()


def lend(jobs: int, remote_args: Mapping[str, Any]) -> Pool:
    """Return a pool of that many processes: the one that is kept if it fits and its session lives, or a new one."""
    pool, fits = _kept.take()
    wanted = _fits(jobs, remote_args)
    if pool is not None and fits == wanted:
        return pool
    if pool is not None:
        pool.terminate()
    # They hold no CPU, since they may be idle for a while in a session that has other work.
    return Pool(jobs, remote_args={"num_cpus": 0, **remote_args})


def give_back(pool: Pool, jobs: int, remote_args: Mapping[str, Any]) -> None:
    """Keep a pool that nobody uses for a minute."""
    before, _ = _kept.take()
    if before is not None:
        before.terminate()
    with _kept.lock:
        _kept.pool, _kept.fits = pool, _fits(jobs, remote_args)
        _kept.timer = threading.Timer(_IDLE_SECONDS, end)
        _kept.timer.daemon = True
        _kept.timer.start()


def end() -> None:
    """End the pool that is kept, if there is one."""
    pool, _ = _kept.take()
    if pool is not None:
        pool.terminate()


def _fits(jobs: int, remote_args: Mapping[str, Any]) -> Any:
    return current.engine, jobs, dict(remote_args)
