"""Sleeping on a word of shared memory until another process changes it.

A futex wakes a sleeper in one system call on each side and needs no descriptor, so any number of processes can map the
same file and wait. Where the system has no such call for this machine, waiting looks every half millisecond.
"""

from __future__ import annotations

import ctypes
import platform
import threading
import time
from typing import Any

_NUMBERS = {"x86_64": 202, "aarch64": 98, "riscv64": 422, "ppc64le": 221, "s390x": 238}
_WAIT, _WAKE = 0, 1
_EVERYONE = 0x7FFFFFFF
_POLL_SECONDS = 0.0005


class _Timespec(ctypes.Structure):
    _fields_ = [("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long)]


def _find_call() -> tuple[Any, int]:
    number = _NUMBERS.get(platform.machine())
    if number is None or ctypes.sizeof(ctypes.c_void_p) != 8:
        return None, 0
    call = ctypes.CDLL(None, use_errno=True).syscall
    call.restype = ctypes.c_long
    # Word, operation, value, timeout; two more that these operations do not look at.
    call.argtypes = [
        ctypes.c_long,
        ctypes.c_void_p,
        ctypes.c_int,
        ctypes.c_uint32,
        ctypes.c_void_p,
        ctypes.c_void_p,
        ctypes.c_uint32,
    ]
    return call, number


_call, _number = _find_call()
_limits: dict[float, tuple[int, _Timespec]] = {}  # the same few are asked for again and again
_MOST_LIMITS = 64
_lock = threading.Lock()
# Whether this processor lets other processes see writes in the order they were made.
ordered: bool = platform.machine() in ("x86_64", "AMD64")


def wait_while(address: int, value: int, seconds: float) -> bool:
    """Sleep until the 32-bit word at `address` is not `value`, somebody wakes it, or the time is over.

    Return whether somebody woke it; it may return early for no reason, so look again either way. Signals end it, so
    that Ctrl-C works.
    """
    if _call is None:
        time.sleep(min(seconds, _POLL_SECONDS))
        return False
    limit = _limits.get(seconds)
    if limit is None:
        whole = int(seconds)
        kept = _Timespec(whole, int((seconds - whole) * 1e9))
        if len(_limits) > _MOST_LIMITS:
            return bool(_call(_number, address, _WAIT, value, ctypes.addressof(kept), None, 0) == 0)
        limit = _limits[seconds] = (ctypes.addressof(kept), kept)
    return bool(_call(_number, address, _WAIT, value, limit[0], None, 0) == 0)


def wake(address: int) -> None:
    """Wake everybody who waits for the word at `address`."""
    if _call is not None:
        _call(_number, address, _WAKE, _EVERYONE, None, None, 0)


def fence() -> None:
    """Let all that was written before be seen before anything that follows is read.

    Taking a lock is such a barrier on x86; elsewhere giving up the interpreter's lock and taking it again is.
    """
    if ordered:
        with _lock:
            pass
    else:
        time.sleep(0)
