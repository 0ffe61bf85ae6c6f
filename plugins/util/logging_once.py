"""Log records that should appear once, not in every turn of a loop."""

from __future__ import annotations

import threading
import time

_PERIOD = 60.0  # seconds, with periodic logging


class _Once:
    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.seen: set[str] = set()
        self.disabled = False
        self.periodic = False
        self.since = time.monotonic()


_once = _Once()


def log_once(key: str) -> bool:
    """Return True the first time it is asked for a key in this process, False from then on.

    Example: `if log_once("slow-disk"): logger.warning("the disk is slow")`
    """
    with _once.lock:
        if _once.periodic and time.monotonic() - _once.since > _PERIOD:
            _once.seen.clear()
            _once.since = time.monotonic()
        if _once.disabled or key in _once.seen:
            return False
        _once.seen.add(key)
        return True


def disable_log_once_globally() -> None:
    """Let `log_once` return False in this process, for every key."""
    with _once.lock:
        _once.disabled = True


def enable_periodic_logging() -> None:
    """Let `log_once` return True once a minute for each key."""
    with _once.lock:
        _once.disabled = False
        _once.periodic = True


def reset_log_once(key: str | None = None) -> None:
    """Forget that a key was asked for; None: all of them, and what the two switches above did."""
    with _once.lock:
        if key is not None:
            _once.seen.discard(key)
            return
        _once.seen.clear()
        _once.disabled = _once.periodic = False
