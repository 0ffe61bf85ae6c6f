"""A hundred light nodes on this machine, and what their head does while they work. Ours alone: Ray's do not fit."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import attrs
from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
SESSION = False
SECONDS = 300
STORE_BYTES = 20_000_000
AT_ONCE = 3  # nodes that are started at a time


@contextlib.contextmanager
def nodes_of(bench: Bench, count: int) -> Iterator[tuple[Any, float]]:
    """A cluster whose head runs no work, and how long its `count` nodes of one CPU took to come up."""
    from shoal.cluster_utils import Cluster

    begun = time.perf_counter()
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 0}) as cluster:
        with ThreadPoolExecutor(AT_ONCE) as pool:
            add = lambda _: cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)  # noqa: E731
            list(pool.map(add, range(count)))
        cluster.connect()
        try:
            cluster.wait_for_nodes(SECONDS)
            yield cluster, time.perf_counter() - begun
        finally:
            bench.api.shutdown()


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used."""
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory_megabytes(pid: int) -> float:
    """Return the memory of a process, its part of what it shares with others included."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) / 1000 for line in file if line.startswith("Pss:"))


@ROWS.row(
    "100 nodes come up and run 100,000 tasks",
    unit="s",
    less_is_better=True,
    required=None,
    limit=300,
    seconds=600,
    once=True,
    only_ours=True,
)
def hundred(bench: Bench) -> Reading:
    api = bench.api
    count, tasks = bench.size(100, 4), bench.size(100_000, 1_000)
    begun = time.perf_counter()
    with nodes_of(bench, count) as (_, up):

        @api.remote
        def where() -> str:
            return str(api.get_runtime_context().get_node_id())

        places = set(api.get([where.remote() for _ in range(tasks)], timeout=SECONDS))
        whole = time.perf_counter() - begun
        facts = {"seconds until all were up": up, "nodes that took part": len(places)}
        return Reading(whole, {**facts, "tasks per second": tasks / (whole - up)})


@attrs.frozen
class Head:
    """What the head used in two equal pieces of work, one after the other."""

    first: float  # CPU seconds
    second: float
    before: float  # megabytes
    after: float


def observe_head(bench: Bench) -> Head:
    """Have 100,000 tasks and 1,000 objects made on four nodes, three times: once to be warm, twice to be measured."""
    with nodes_of(bench, bench.size(4, 2)) as (cluster, _):
        work, pid = _work(bench), cluster.head_node.pid
        work()
        cpu, memory = [cpu_seconds(pid)], memory_megabytes(pid)
        for _ in range(2):
            work()
            cpu.append(cpu_seconds(pid))
        return Head(cpu[1] - cpu[0], cpu[2] - cpu[1], memory, memory_megabytes(pid))


def _work(bench: Bench) -> Callable[[], None]:
    api = bench.api

    @api.remote
    def small(value: Any) -> Any:
        return value

    each = bench.size(5_000, 100)

    def work() -> None:
        for _ in range(bench.size(20, 2)):
            api.get([small.remote(number) for number in range(each)], timeout=SECONDS)
            api.get([api.put(bytes(200_000)) for _ in range(each // 100)], timeout=SECONDS)

    return work


@ROWS.row(
    "head's CPU for 100,000 more tasks, in times of the 100,000 before",
    unit="×",
    less_is_better=True,
    required=None,
    limit=1.25,
    seconds=300,
    only_ours=True,
)
def head_cpu(bench: Bench) -> Reading:
    seen = observe_head(bench)
    return Reading(seen.second / max(seen.first, 0.01), {"seconds": seen.first, "seconds then": seen.second})


@ROWS.row(
    "head's memory after 300,000 tasks, in times of after 100,000",
    unit="×",
    less_is_better=True,
    required=None,
    limit=1.05,
    seconds=300,
    only_ours=True,
)
def head_memory(bench: Bench) -> Reading:
    seen = observe_head(bench)
    return Reading(seen.after / seen.before, {"MB": seen.before, "MB then": seen.after})
