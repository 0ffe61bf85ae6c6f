"""The machine and the versions that a table belongs to."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import psutil


def describe() -> dict[str, str]:
    """Return what must be known to read the numbers."""
    return {
        "CPU": _cpu_model(),
        "cores": str(os.cpu_count()),
        "memory": f"{psutil.virtual_memory().total / (1 << 30):.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "Python": sys.version.split()[0],
        "Shoal": importlib.metadata.version("shoal"),
        "Ray": _version("ray"),
        "NumPy": _version("numpy"),
        "date": datetime.datetime.now(tz=datetime.timezone.utc).date().isoformat(),
        "load at start": f"{os.getloadavg()[0]:.2f}",
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
