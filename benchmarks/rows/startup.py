"""From nothing to the first result."""

from __future__ import annotations

import functools
import statistics
import subprocess
import time
from pathlib import Path

from harness.declare import Rows
from harness.measure import Bench, Reading
from harness.processes import PYTHON

ROWS = Rows()
SESSION = False  # each row starts its own
PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "first_task.py"


@functools.cache
def runs(bench: Bench) -> list[tuple[float, float]]:
    """Return of each start what both rows take."""
    return [run(bench.system) for _ in range(bench.size(2, 1))]


def run(system: str) -> tuple[float, float]:
    """Return the seconds of a whole process, and those from its init() to the first result."""
    start = time.perf_counter()
    done = subprocess.run([*PYTHON, str(PROGRAM), system], capture_output=True, text=True, check=False)
    whole = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{PROGRAM.name} failed: {done.stderr.strip()[-300:]}")
    return whole, float(done.stdout.strip().splitlines()[-1])


@ROWS.row("init() to the first task's result", unit="s", less_is_better=True, required=15)
def init_to_first_result(bench: Bench) -> Reading:
    return Reading(statistics.median(first for _, first in runs(bench)))


@ROWS.row("whole process: start, init(), one task, exit", unit="s", less_is_better=True, required=15)
def whole_process(bench: Bench) -> Reading:
    return Reading(statistics.median(whole for whole, _ in runs(bench)))
