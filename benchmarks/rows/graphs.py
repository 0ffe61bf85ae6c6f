"""Compiled graphs: a value through three actors and back, with nothing scheduled on the way."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from harness.declare import Rows
from harness.measure import Bench, Reading

ROWS = Rows()
_BYTES = 8_000_000


@contextmanager
def compiled(bench: Bench, methods: tuple[str, ...], **options: Any) -> Iterator[Any]:
    """A chain of actors as a compiled graph."""
    api = bench.api

    class Stage:  # defined here, so that it travels by value: the other system's workers know no module of ours
        def step(self, value: Any) -> Any:
            return value

        def length(self, value: Any) -> int:
            return len(value)  # the driver gets a number

    dag = importlib.import_module(f"{api.__name__}.dag")
    actors = [api.remote(Stage).options(num_cpus=0).remote() for _ in methods]
    with dag.InputNode() as inp:
        node = inp
        for actor, method in zip(actors, methods, strict=True):
            node = getattr(actor, method).bind(node)
    graph = node.experimental_compile(**options)
    try:
        yield graph
    finally:
        graph.teardown()


@ROWS.row("compiled graph step, 3 actors", required=3, floor="futexes over 4 processes", share=0.5)
def step_of_three(bench: Bench) -> Reading:
    """One value after the other, each awaited."""
    with compiled(bench, ("step",) * 3) as graph:
        return bench.rate(lambda: bench.api.get(graph.execute(1)))


@ROWS.row("compiled graph steps under way, 3 actors", floor="futexes over 4 processes")
def steps_under_way(bench: Bench) -> Reading:
    """Eight values at a time."""
    with compiled(bench, ("step",) * 3) as graph:

        def eight() -> None:
            for ref in [graph.execute(number) for number in range(8)]:
                bench.api.get(ref)

        return bench.rate(eight, 8)


@ROWS.row("compiled graph, 8 MB to an actor", unit="GB/s", floor="memcpy 8 MB")
def large_input(bench: Bench) -> Reading:
    """An array goes to an actor, a number comes back."""
    size = bench.size(_BYTES, 400_000)
    array = np.ones(size, dtype=np.uint8)
    with compiled(bench, ("length",), _buffer_size_bytes=2 * _BYTES) as graph:
        return bench.rate(lambda: bench.api.get(graph.execute(array)), size / 1e9)
