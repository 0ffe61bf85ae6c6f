"""What only this package knows to test: the order. The contract is run by name, see the README."""

from __future__ import annotations

import pytest
from shoal_sample_plugin.roundrobin import RoundRobinScheduler

from shoal.errors import ConfigError
from shoal.ids import NodeID
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, Demand, NodeView, Placement

CPU = ResourceSet.of(CPU=1)
NODES = sorted(NodeID.from_random() for _ in range(3))


def view(*free: float) -> ClusterView:
    nodes = {
        node: NodeView(node_id=node, total=CPU, available=ResourceSet.of(CPU=amount))
        for node, amount in zip(NODES, free, strict=True)
    }
    return ClusterView(nodes=nodes, local=NODES[0])


def chosen(scheduler: RoundRobinScheduler, seen: ClusterView, turns: int) -> list[int]:
    decisions = [scheduler.place(Demand(resources=CPU, turn=turn), seen) for turn in range(turns)]
    assert all(isinstance(decision, Placement) for decision in decisions)
    return [NODES.index(decision.node_id) for decision in decisions]


def test_one_node_after_the_other() -> None:
    assert chosen(RoundRobinScheduler(), view(1, 1, 1), 6) == [0, 1, 2, 0, 1, 2]


def test_a_node_that_is_full_is_left_out() -> None:
    assert chosen(RoundRobinScheduler(), view(1, 0, 1), 4) == [0, 2, 0, 2]


def test_the_asking_node_is_spared_while_another_can_take_it() -> None:
    scheduler = RoundRobinScheduler({"spare_local": True})
    assert chosen(scheduler, view(1, 1, 1), 4) == [1, 2, 1, 2]
    assert chosen(scheduler, view(1, 0, 0), 2) == [0, 0]


def test_a_wrong_option_is_named() -> None:
    with pytest.raises(ConfigError, match="'colour'"):
        RoundRobinScheduler({"colour": "red"})
