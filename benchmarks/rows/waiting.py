"""Waiting for whichever result is first."""

from __future__ import annotations

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.small import small_task

ROWS = Rows()


@ROWS.row("single client wait 1k refs", required=20, seconds=90)
def wait_for_a_thousand(bench: Bench) -> Reading:
    api, small_value = bench.api, small_task(bench.api)

    def wait_multiple_refs() -> None:
        not_ready = [small_value.remote() for _ in range(1000)]
        fetch_local = True  # once is enough for the reference system, which remembers it
        for _ in range(1000):
            _, not_ready = api.wait(not_ready, fetch_local=fetch_local)
            fetch_local = False

    return bench.rate(wait_multiple_refs)
