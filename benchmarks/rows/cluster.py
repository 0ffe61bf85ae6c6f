"""Several nodes on this machine, each with processes and an object store of its own, TCP between them."""

from __future__ import annotations

import functools
import time
from typing import Any

import numpy as np
from harness.declare import Rows
from harness.measure import Bench, Reading
from harness.systems import cluster_of, groups_of, node_of

ROWS = Rows()
SESSION = False  # each row makes its own cluster
STORE_BYTES = 1_500_000_000
SECONDS = 120


class Nodes:
    """A cluster whose head runs no work, and `count` nodes of which number i has the resource `node{i}`."""

    def __init__(self, bench: Bench, count: int, cpus: float, store: int = 200_000_000) -> None:
        self.api = bench.api
        self.cluster = cluster_of(bench.api)(
            initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": store}
        )
        try:
            self.nodes = [
                self.cluster.add_node(num_cpus=cpus, resources={f"node{i}": 100}, object_store_memory=store)
                for i in range(count)
            ]
            self.cluster.connect()
            self.cluster.wait_for_nodes()
        except BaseException:
            self.cluster.shutdown()
            raise

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *rest: object) -> None:
        self.api.shutdown()
        self.cluster.shutdown()


def on(number: int) -> dict[str, Any]:
    return {"resources": {f"node{number}": 1}, "num_cpus": 0}


@ROWS.row(
    "1 GB from one node to another",
    unit="GB/s",
    required=3,
    floor="TCP copy of 1 GB",
    share=0.5,
    seconds=300,
)
def one_to_another(bench: Bench) -> Reading:
    size = bench.size(1_000_000_000, 50_000_000)
    with Nodes(bench, 2, 1, STORE_BYTES) as nodes:
        api = nodes.api

        @api.remote
        def make() -> Any:
            return np.ones(size, dtype=np.uint8)

        @api.remote
        def read(array: Any) -> float:
            return float(array[-1])

        seconds = []
        for _ in range(bench.size(3, 1)):
            ref = make.options(**on(0)).remote()
            api.wait([ref], timeout=SECONDS, fetch_local=False)
            api.get(_warm(api).options(**on(1)).remote(), timeout=SECONDS)
            begun = time.perf_counter()
            api.get(read.options(**on(1)).remote(ref), timeout=SECONDS)
            seconds.append(time.perf_counter() - begun)
            del ref
            time.sleep(1)  # both systems free by messages
        return Reading(size / 1e9 / min(seconds))


@functools.cache
def _warm(api: Any) -> Any:
    """A task that sees to it that a worker is up."""

    @api.remote
    def nothing() -> None:
        return None

    return nothing


@ROWS.row("1 GB to 8 nodes", unit="GB/s", required=3, seconds=600, once=True)
def broadcast(bench: Bench) -> Reading:
    size = bench.size(1_000_000_000, 20_000_000)
    count = bench.size(8, 3)
    with Nodes(bench, count, 1, STORE_BYTES) as nodes:
        api = nodes.api

        @api.remote
        def read(array: Any) -> float:
            return float(array[-1])

        api.get([_warm(api).options(**on(i)).remote() for i in range(count)], timeout=SECONDS)
        ref = api.put(np.ones(size, dtype=np.uint8))
        begun = time.perf_counter()
        api.get([read.options(**on(i)).remote(ref) for i in range(count)], timeout=5 * SECONDS)
        return Reading(count * size / 1e9 / (time.perf_counter() - begun))


@ROWS.row("tasks over 4 nodes, batches of 1,000", required=10, seconds=300)
def tasks(bench: Bench) -> Reading:
    with Nodes(bench, 4, 1) as nodes:
        api = nodes.api

        @api.remote
        def small() -> bytes:
            return b"ok"

        return bench.rate(lambda: api.get([small.remote() for _ in range(1000)], timeout=SECONDS), 1000)


@ROWS.row("40 actors over 4 nodes ready", unit="s", less_is_better=True, required=10, seconds=300)
def actors(bench: Bench) -> Reading:
    with Nodes(bench, 4, 1) as nodes:
        api = nodes.api

        @api.remote(num_cpus=0, scheduling_strategy="SPREAD")
        class Small:
            def ready(self) -> bool:
                return True

        begun = time.perf_counter()
        several = [Small.remote() for _ in range(bench.size(40, 4))]
        api.get([one.ready.remote() for one in several], timeout=2 * SECONDS)
        return Reading(time.perf_counter() - begun)


@ROWS.row("placement groups over 4 nodes: create and remove", required=10, seconds=300)
def placement_groups(bench: Bench) -> Reading:
    with Nodes(bench, 4, 1) as nodes:
        groups = groups_of(nodes.api)
        bundles = [{f"node{i}": 0.001} for i in range(4)]

        def step() -> None:
            made = [groups.placement_group(bundles=bundles, strategy="SPREAD") for _ in range(10)]
            for group in made:
                group.wait(timeout_seconds=30)
            for group in made:
                groups.remove_placement_group(group)

        return bench.rate(step, 10)


@ROWS.row(
    "kill -9 of a node until its actor answers elsewhere",
    unit="s",
    less_is_better=True,
    required=3,
    seconds=300,
)
def recovery(bench: Bench) -> Reading:
    with Nodes(bench, 2, 1) as nodes:
        api = nodes.api

        @api.remote(num_cpus=1, max_restarts=-1, max_task_retries=-1)
        class Place:
            def where(self) -> str:
                return str(api.get_runtime_context().get_node_id())

        actor = Place.remote()
        before = api.get(actor.where.remote(), timeout=SECONDS)
        victim = next(node for node in nodes.nodes if node_of(node) == before)
        begun = time.perf_counter()
        nodes.cluster.remove_node(victim, allow_graceful=False)
        while api.get(actor.where.remote(), timeout=2 * SECONDS) == before:
            time.sleep(0.001)
        return Reading(time.perf_counter() - begun)
