"""Tasks: one after the other, in batches, from several callers."""

from __future__ import annotations

from harness.declare import Rows
from harness.measure import Bench, Reading

from rows.small import actor_class, small_task

ROWS = Rows()


@ROWS.row("single client tasks sync", required=15, floor="ping-pong", share=0.4)
def tasks_sync(bench: Bench) -> Reading:
    api, small_value = bench.api, small_task(bench.api)
    return bench.rate(lambda: api.get(small_value.remote()))


@ROWS.row("single client tasks async", required=30, floor="bare batched loop")
def tasks_async(bench: Bench) -> Reading:
    api, small_value = bench.api, small_task(bench.api)
    return bench.rate(lambda: api.get([small_value.remote() for _ in range(1000)]), 1000)


@ROWS.row("single client tasks and get batch", required=30, unit="batches/s")
def tasks_and_get_batch(bench: Bench) -> Reading:
    api, small_value = bench.api, small_task(bench.api)
    return bench.rate(lambda: api.get([small_value.remote() for _ in range(1000)]))


@ROWS.row("multi client tasks async", seconds=150, once=True)
def multi_tasks_async(bench: Bench) -> Reading:
    api, n = bench.api, bench.size(10_000, 200)
    actors = [actor_class(api).remote() for _ in range(4)]
    api.get([actor.small_value_batch.remote(200) for actor in actors])
    return bench.once(lambda: api.get([actor.small_value_batch.remote(n) for actor in actors]), 4 * n)
