"""Compiled graphs whose actors are on several nodes: values cross by relays."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import shoal
from shoal.dag import InputNode, MultiOutputNode
from shoal.errors import ActorDied

pytestmark = pytest.mark.processes
SECONDS = 60.0


@shoal.remote(num_cpus=0)
class Stage:
    def add(self, value: Any) -> Any:
        return value + 1

    def fail(self, value: Any) -> Any:
        raise ValueError(f"no {value}")

    def node(self) -> str:
        return shoal.get_runtime_context().get_node_id()


def on(side: str) -> Any:
    return Stage.options(resources={side: 1}).remote()


def test_a_graph_over_three_nodes(three: Any) -> None:
    left, right, middle, also_left = on("left"), on("right"), on("middle"), on("left")
    assert len(set(shoal.get([left.node.remote(), right.node.remote(), middle.node.remote()]))) == 3
    with InputNode() as inp:
        first = left.add.bind(inp)
        near = also_left.add.bind(first)
        far = right.add.bind(first)
        last = middle.add.bind(far)
        graph = MultiOutputNode([last, near, far, right.fail.bind(near)])
    with graph.experimental_compile() as compiled:
        for number in range(20):
            refs = compiled.execute(number)
            assert shoal.get(refs[:3], timeout=SECONDS) == [number + 3, number + 2, number + 2]
            with pytest.raises(ValueError, match=f"no {number + 2}"):
                shoal.get(refs[3])
        refs = [compiled.execute(np.full(10_000, float(number))) for number in range(10)]
        for number, several in enumerate(refs):
            assert shoal.get(several[0], timeout=SECONDS).sum() == 10_000 * (number + 3)
    # The actors live on, and take part in another graph.
    with InputNode() as inp:
        graph = right.add.bind(left.add.bind(inp))
    with graph.experimental_compile() as compiled:
        assert shoal.get(compiled.execute(1), timeout=SECONDS) == 3


def test_the_death_of_a_node_ends_the_graph(mortal: Any) -> None:
    left, right = on("left"), on("right")
    with InputNode() as inp:
        graph = right.add.bind(left.add.bind(inp))
    compiled = graph.experimental_compile()
    assert shoal.get(compiled.execute(1), timeout=SECONDS) == 3
    mortal.cluster.remove_node(mortal.left, allow_graceful=False)
    with pytest.raises((ActorDied, shoal.exceptions.ActorUnavailable)):  # noqa: PT012  whichever notices first
        for number in range(20):
            shoal.get(compiled.execute(number), timeout=SECONDS)
    compiled.teardown()
