"""What this process may use of the machine, where a container or a service manager allows it less than all.

Both versions of control groups, with every group from our own up to the root: the tightest limit holds.
(Documentation/admin-guide/cgroup-v1 and cgroup-v2.rst of the Linux kernel.)
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import attrs


@attrs.frozen
class Limits:
    """Reads limits below these folders; a test gives its own."""

    groups: str = "/sys/fs/cgroup"
    proc: str = "/proc"

    def cpus(self) -> float | None:
        """Return the processors' worth of time that the group may use, or None if that is not limited."""
        found = []
        for folder in self._folders("", "cpu"):
            words = _read(folder, "cpu.max").split()
            if len(words) == 2 and words[0] != "max":
                found.append(int(words[0]) / int(words[1]))
            quota, period = _number(folder, "cpu.cfs_quota_us"), _number(folder, "cpu.cfs_period_us")
            if quota and period and quota > 0:
                found.append(quota / period)
        return min(found, default=None)

    def memory(self) -> int:
        """Return the bytes of memory that may be used: the machine's, or the group's if that is less."""
        found = [self._meminfo("MemTotal")]
        for folder in self._folders("", "memory"):
            for name in ("memory.max", "memory.limit_in_bytes"):
                limit = _number(folder, name)
                if limit is not None and limit > 0:
                    found.append(limit)
        return min(found)

    def memory_used(self) -> int:
        """Return the bytes in use of what `memory` returned, without what the kernel can drop at once."""
        whole = self._meminfo("MemTotal")
        limit = self.memory()
        if limit < whole:
            for folder in self._folders("", "memory"):
                here = _number(folder, "memory.max") or _number(folder, "memory.limit_in_bytes")
                used = _number(folder, "memory.current") or _number(folder, "memory.usage_in_bytes")
                if here == limit and used is not None:
                    return max(0, used - _droppable(folder))
        return whole - self._meminfo("MemAvailable")

    def _folders(self, unified: str, controller: str) -> Iterator[str]:
        """Yield the folders of our group and of those above it, in either version, nearest first."""
        for line in _read(self.proc, "self/cgroup").splitlines():
            _, controllers, path = line.split(":", 2)
            names = controllers.split(",")
            if controllers == unified:
                mounts = [self.groups, os.path.join(self.groups, "unified")]
            elif controller in names:
                mounts = [os.path.join(self.groups, controllers), os.path.join(self.groups, controller)]
            else:
                continue
            mount = next((each for each in mounts if os.path.isdir(each)), None)
            if mount is None:
                continue
            # Inside a container the path may be the host's, which is not mounted here; then only the root is left.
            parts = [part for part in path.split("/") if part and part != ".."]
            for depth in range(len(parts), -1, -1):
                folder = os.path.join(mount, *parts[:depth])
                if os.path.isdir(folder):
                    yield folder

    def _meminfo(self, name: str) -> int:
        for line in _read(self.proc, "meminfo").splitlines():
            key, _, rest = line.partition(":")
            if key == name:
                return int(rest.split()[0]) * 1024
        return 0


def _droppable(folder: str) -> int:
    statistics = dict(line.split(" ", 1) for line in _read(folder, "memory.stat").splitlines() if " " in line)
    return int(statistics.get("total_inactive_file", statistics.get("inactive_file", "0")))


def _number(folder: str, name: str) -> int | None:
    try:
        return int(_read(folder, name))
    except ValueError:  # absent, or "max"
        return None


def _read(folder: str, name: str) -> str:
    try:
        with open(os.path.join(folder, name), encoding="utf-8") as file:
            return file.read().strip()
    except OSError:
        return ""
