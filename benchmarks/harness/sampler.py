"""The most memory that a tree of processes ever has, seen by a process that is not in its way.

python -P sampler.py PID        prints the most MB when its input ends
"""

from __future__ import annotations

import os
import select
import subprocess
import sys

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from harness.processes import PYTHON, rss_mb

EVERY_SECONDS = 0.2


class Sampler:
    """`with Sampler(pid) as sampler: …`, then `sampler.most_mb` is the most sum of RSS, its own left out."""

    most_mb: float = 0.0

    def __init__(self, pid: int) -> None:
        self._pid = pid

    def __enter__(self) -> Sampler:
        self._process = subprocess.Popen(
            [*PYTHON, __file__, str(self._pid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        return self

    def __exit__(self, *exc: object) -> None:
        output, _ = self._process.communicate()
        self.most_mb = float(output)


def main() -> None:
    pid = int(sys.argv[1])
    most = 0.0
    while True:
        most = max(most, rss_mb(pid) - rss_mb(os.getpid()))
        if select.select([sys.stdin], [], [], EVERY_SECONDS)[0]:
            break
    print(most)


if __name__ == "__main__":
    main()
