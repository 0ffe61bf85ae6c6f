"""What is built on top: queues and pools."""

from __future__ import annotations

import importlib

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.floors import parallel_calls

ROWS = Rows()
CALLS = 100_000


@ROWS.row("util.queue put and get", required=10, seconds=90)
def queue_put_and_get(bench: Bench) -> Reading:
    """One item in and out again, from one process; counted as two."""
    queue = importlib.import_module(f"{bench.api.__name__}.util.queue").Queue()

    def step() -> None:
        queue.put(1)
        queue.get()

    return bench.rate(step, 2)


@ROWS.row("util.multiprocessing Pool.map", required=10, floor="standard Pool.map", share=1.0, seconds=120)
def pool_map(bench: Bench) -> Reading:
    """100,000 calls of abs()."""
    pool_of = importlib.import_module(f"{bench.api.__name__}.util.multiprocessing").Pool
    n = bench.size(CALLS, 5_000)
    with pool_of(2) as pool:
        return bench.rate(lambda: pool.map(abs, range(n)), n)


@ROWS.row("util.multiprocessing Pool.imap", floor="standard Pool.imap", seconds=120)
def pool_imap(bench: Bench) -> Reading:
    """10,000 calls of abs(), one by one."""
    pool_of = importlib.import_module(f"{bench.api.__name__}.util.multiprocessing").Pool
    n = bench.size(10_000, 500)
    with pool_of(2) as pool:
        return bench.rate(lambda: list(pool.imap(abs, range(n))), n)


@ROWS.row("joblib, 2,000 calls", floor="joblib with loky", share=1.0, seconds=120)
def joblib_calls(bench: Bench) -> Reading:
    """2,000 calls of abs() in two processes, which are there already."""
    name = bench.api.__name__
    getattr(importlib.import_module(f"{name}.util.joblib"), f"register_{name}")()
    return parallel_calls(bench, name)
