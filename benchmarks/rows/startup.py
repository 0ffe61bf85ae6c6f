"""From nothing to the first result."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
SESSION = False  # each row starts its own
PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "first_task.py"


def run(bench: Bench) -> tuple[float, float]:
    """Return the seconds of a whole process, and those from its init() to the first result."""
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-P", str(PROGRAM), bench.system], capture_output=True, text=True, check=False
    )
    whole = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"{PROGRAM.name} failed: {done.stderr.strip()[-300:]}")
    return whole, float(done.stdout.strip().splitlines()[-1])


@ROWS.row("init() to the first task's result", unit="s", less_is_better=True, required=15)
def init_to_first_result(bench: Bench) -> Reading:
    return Reading(run(bench)[1])


@ROWS.row("whole process: start, init(), one task, exit", unit="s", less_is_better=True, required=15)
def whole_process(bench: Bench) -> Reading:
    return Reading(run(bench)[0])
