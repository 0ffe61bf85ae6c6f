"""Processes: whose they are, what they hold, and their end. All by identifier, never by name."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

import psutil

# How a program of ours is run: its folder is not importable, which Python 3.10 cannot be told.
PYTHON = [sys.executable, "-P"] if sys.version_info >= (3, 11) else [sys.executable]
_PR_SET_CHILD_SUBREAPER = 36
_MB = 1 << 20


def adopt_orphans() -> None:
    """Make this process the parent of what its descendants leave behind, so that `end_all` finds it."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_all() -> int:
    """Kill every descendant of this process; return how many there were."""
    total = 0
    while True:
        below = psutil.Process().children(recursive=True)
        if not below:
            return total
        total += len([process for process in below if not _is_zombie(process)])
        for process in below:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(below, timeout=5)
        _reap()


def tree_of(pid: int) -> list[psutil.Process]:
    """Return a process and all below it."""
    root = psutil.Process(pid)
    return [root, *root.children(recursive=True)]


def resident_mb(pid: int) -> tuple[float, float, int]:
    """Return (PSS, RSS, number of processes) of a tree. PSS counts a shared page once, RSS in each process."""
    pss = rss = count = 0
    for process in tree_of(pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            memory = process.memory_full_info()
            pss += memory.pss
            rss += memory.rss
            count += 1
    return pss / _MB, rss / _MB, count


def rss_mb(pid: int) -> float:
    """Return the sum of RSS over a tree: cheap enough to sample."""
    total = 0
    with contextlib.suppress(psutil.NoSuchProcess):
        for process in tree_of(pid):
            with contextlib.suppress(psutil.NoSuchProcess):
                total += process.memory_info().rss
    return total / _MB


def _is_zombie(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def _reap() -> None:
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
