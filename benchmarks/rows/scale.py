"""Many of something at once."""

from __future__ import annotations

import os
import time
from typing import Any

from harness.declare import Rows
from harness.measure import Bench, Reading
from harness.sampler import Sampler

from rows.small import actor_class, small_task

ROWS = Rows()


def queue_and_get(api: Any, small_value: Any, count: int) -> None:
    """Submit all, then get all: while the first runs, the others are queued."""
    values = api.get([small_value.remote() for _ in range(count)])
    assert len(values) == count


@ROWS.row(
    "actor creation, 100 actors ready", unit="s", less_is_better=True, required=15, seconds=240, once=True
)
def a_hundred_actors(bench: Bench) -> Reading:
    api, count = bench.api, bench.size(100, 20)
    actors = actor_class(api)
    api.get(actors.remote().small_value.remote())
    start = time.perf_counter()
    living = [actors.remote() for _ in range(count)]
    api.get([actor.small_value.remote() for actor in living])
    return Reading(time.perf_counter() - start, {"actors": count})


@ROWS.row("10,000 refs as arguments of one task", required=10)
def many_arguments(bench: Bench) -> Reading:
    api = bench.api

    @api.remote
    def count(*args: int) -> int:
        return len(args)

    references = [api.put(i) for i in range(10_000)]
    return bench.rate(lambda: api.get(count.remote(*references)))


@ROWS.row("3,000 returns of one task", required=5)
def many_returns(bench: Bench) -> Reading:
    api = bench.api

    @api.remote(num_returns=3000)
    def numbers() -> list[int]:
        return list(range(3000))

    return bench.rate(lambda: api.get(numbers.remote()))


@ROWS.row("10,000 refs in one get", required=10)
def many_in_one_get(bench: Bench) -> Reading:
    api = bench.api
    references = [api.put(i) for i in range(10_000)]
    return bench.rate(lambda: api.get(references))


@ROWS.row("100,000 queued tasks", required=20, seconds=240, once=True)
def a_hundred_thousand_queued(bench: Bench) -> Reading:
    small_value, count = small_task(bench.api), bench.size(100_000, 5000)
    queue_and_get(bench.api, small_value, 1000)
    return bench.once(lambda: queue_and_get(bench.api, small_value, count), count)


@ROWS.row(
    "1,000,000 queued tasks: most memory of all processes",
    unit="GiB",
    less_is_better=True,
    required=None,
    limit=8.0,
    seconds=300,
    once=True,
    only_ours=True,
)
def a_million_queued(bench: Bench) -> Reading:
    small_value, count = small_task(bench.api), bench.size(1_000_000, 50_000)
    start = time.perf_counter()
    with Sampler(os.getpid()) as sampler:
        queue_and_get(bench.api, small_value, count)
    seconds = time.perf_counter() - start
    return Reading(
        sampler.most_mb / 1024,
        {
            "tasks": count,
            "seconds": seconds,
            "tasks/s": count / seconds,
            "driver GiB": _peak_of_this_process() / 1024,
        },
    )


def _peak_of_this_process() -> float:
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
