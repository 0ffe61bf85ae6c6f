"""What a piece of a program leaves behind: processes, threads, descriptors and files in shared memory.

with no_leaks():
    shoal.init(); ...; shoal.shutdown()
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import attrs

SHARED_MEMORY = "/dev/shm"
SECONDS = 10.0


@attrs.frozen
class Traces:
    """What is there at one moment."""

    processes: frozenset[int]
    threads: frozenset[int]
    descriptors: frozenset[str]
    shared: frozenset[str]

    @classmethod
    def now(cls, shared_prefix: str | None = "shoal") -> Traces:
        """Look around: our child processes, threads and descriptors, and shared files that begin with a prefix.

        Shared memory is everyone's: None leaves it out where other programs may use the same prefix meanwhile.
        """
        return cls(
            frozenset(_children(os.getpid())),
            frozenset(thread.ident or 0 for thread in threading.enumerate()),
            frozenset(_descriptors()),
            frozenset(_shared(shared_prefix)) if shared_prefix is not None else frozenset(),
        )

    def since(self, before: Traces) -> list[str]:
        """Say what is there that was not before."""
        names = {thread.ident or 0: thread.name for thread in threading.enumerate()}
        return [
            *(f"process {each}: {_command(each)}" for each in sorted(self.processes - before.processes)),
            *(f"thread {names.get(each, each)}" for each in sorted(self.threads - before.threads)),
            *(f"descriptor {each}" for each in sorted(self.descriptors - before.descriptors)),
            *(f"file {SHARED_MEMORY}/{each}" for each in sorted(self.shared - before.shared)),
        ]


@contextmanager
def no_leaks(
    seconds: float = SECONDS, shared_prefix: str | None = "shoal", processes_only: bool = False
) -> Iterator[None]:
    """Raise AssertionError if the block leaves anything behind that does not end by itself within some seconds.

    `shared_prefix` says which files in shared memory are looked at; see `Traces.now`. `processes_only` leaves out what
    is in this process: for libraries that keep threads and descriptors of their own.
    """
    before = Traces.now(shared_prefix)
    yield
    limit = time.monotonic() + seconds
    while left := _since(before, shared_prefix, processes_only):
        if time.monotonic() > limit:
            raise AssertionError("left behind:\n  " + "\n  ".join(left))
        time.sleep(0.01)


def _children(process: int) -> Iterator[int]:
    """Yield the living descendants of a process; one that has ended and is not waited for is none."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            fields = _read(f"/proc/{entry}/stat").rpartition(")")[2].split()
            if len(fields) > 1 and fields[0] != "Z":
                parents.setdefault(int(fields[1]), []).append(int(entry))
    waiting = [process]
    while waiting:
        found = parents.get(waiting.pop(), [])
        yield from found
        waiting += found


def _descriptors() -> Iterator[str]:
    for number in os.listdir("/proc/self/fd"):
        try:
            yield f"{number} -> {os.readlink(f'/proc/self/fd/{number}')}"
        except FileNotFoundError:  # the one that listed the folder
            continue


def _shared(prefix: str) -> list[str]:
    try:
        return [name for name in os.listdir(SHARED_MEMORY) if name.startswith(prefix)]
    except FileNotFoundError:  # a machine without it
        return []


def _command(process: int) -> str:
    return _read(f"/proc/{process}/cmdline").replace("\0", " ").strip() or "ended"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _since(before: Traces, shared_prefix: str | None, processes_only: bool) -> list[str]:
    now = Traces.now(shared_prefix)
    if processes_only:
        now = attrs.evolve(now, threads=before.threads, descriptors=before.descriptors)
    return now.since(before)
