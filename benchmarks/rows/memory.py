"""Memory: of a session that idles, and after a long history. Latency after that history as well."""

from __future__ import annotations

import functools
import os
import subprocess
import time
from pathlib import Path

from harness.declare import Rows
from harness.measure import Bench, Reading, latency
from harness.processes import PYTHON, resident_mb
from harness.systems import start

from rows.small import small_task

ROWS = Rows()
SESSION = False  # the first row has a process of its own, the others start one here
PROGRAM = Path(__file__).resolve().parent.parent / "programs" / "idle.py"
SECONDS_TO_SETTLE = 3.0


@ROWS.row("idle session: memory of all processes (PSS)", unit="MB", less_is_better=True, required=4)
def idle_pss(bench: Bench) -> Reading:
    pss, rss, processes = _idle(bench.system)
    return Reading(pss, {"RSS MB": rss, "processes": processes})


@ROWS.row("idle session: memory of all processes (RSS)", unit="MB", less_is_better=True, required=4)
def idle_rss(bench: Bench) -> Reading:
    _, rss, processes = _idle(bench.system)
    return Reading(rss, {"processes": processes})


@functools.cache
def _idle(system: str) -> tuple[float, float, int]:
    process = subprocess.Popen(
        [*PYTHON, str(PROGRAM), system],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    if process.stdout.readline().strip() != "ready":
        raise RuntimeError(f"{PROGRAM.name} did not come up on {system}")
    time.sleep(SECONDS_TO_SETTLE)
    found = resident_mb(process.pid)
    process.communicate()
    return found


@ROWS.row(
    "sync task after 1,000,000 tasks, in times of after 1,000",
    unit="×",
    less_is_better=True,
    required=None,
    limit=1.25,
    seconds=240,
    once=True,
    only_ours=True,
)
def latency_with_history(bench: Bench) -> Reading:
    before, after, done = _history(bench)
    return Reading(
        after[0] / before[0],
        {"tasks": done, "µs after 1,000": before[0] * 1e6, "µs after all": after[0] * 1e6},
    )


@ROWS.row(
    "memory after 1,000,000 tasks, in times of after 1,000",
    unit="×",
    less_is_better=True,
    required=None,
    limit=1.25,
    seconds=240,
    once=True,
    only_ours=True,
)
def memory_with_history(bench: Bench) -> Reading:
    before, after, done = _history(bench)
    return Reading(
        after[1] / before[1], {"tasks": done, "RSS MB after 1,000": before[1], "RSS MB after all": after[1]}
    )


@functools.cache
def _history(bench: Bench) -> tuple[tuple[float, float], tuple[float, float], int]:
    """Return (seconds of a sync task, RSS of all processes) early and late, and how many tasks were between."""
    api, small_value, done = bench.api, small_task(bench.api), bench.size(1_000_000, 20_000)
    start(api)

    def state() -> tuple[float, float]:
        seconds = latency(lambda: api.get(small_value.remote()), 500)
        return seconds, resident_mb(os.getpid())[1]

    api.get([small_value.remote() for _ in range(1000)])
    early = state()
    for _ in range(done // 1000):
        api.get([small_value.remote() for _ in range(1000)])
    late = state()
    api.shutdown()
    return early, late, done
