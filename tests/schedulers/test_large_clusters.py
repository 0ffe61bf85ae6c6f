"""The sample that a large cluster is judged by finds what is there."""

from __future__ import annotations

from shoal.schedulers.hybrid import HybridScheduler
from shoal.schedulers.spread import SpreadScheduler
from shoal.spec.view import Placement
from shoal.testing.schedulers import cluster, demand, node, node_id


def test_the_one_free_node_of_a_thousand_is_found_in_every_turn() -> None:
    view = cluster(*(node(i, {"CPU": 4}, {"CPU": 4 if i != 777 else 0}) for i in range(1000)), local=0)
    for turn in range(20):
        assert HybridScheduler().place(demand(CPU=1, turn=turn), view) == Placement(node_id(777))


def test_turns_spread_over_the_whole_cluster() -> None:
    view = cluster(*(node(i, {"CPU": 4}) for i in range(1000)))
    chosen = {SpreadScheduler().place(demand(CPU=1, turn=turn), view) for turn in range(1000)}
    assert len(chosen) > 500
