"""`multiprocessing.Pool`, whose processes are actors: on this machine or on all of a cluster."""

from __future__ import annotations

from multiprocessing import JoinableQueue, TimeoutError  # noqa: A004  the standard library's names

from shoal.util.multiprocessing.pool import Pool
from shoal.util.multiprocessing.results import AsyncResult, IMapIterator, MapResult

__all__ = ["AsyncResult", "IMapIterator", "JoinableQueue", "MapResult", "Pool", "TimeoutError"]
