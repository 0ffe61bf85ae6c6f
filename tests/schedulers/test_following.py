"""A scheduler that follows a changing view answers as one that sees it for the first time."""

from __future__ import annotations

import random

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shoal.schedulers.binpack import BinpackScheduler
from shoal.schedulers.hybrid import HybridScheduler
from shoal.schedulers.locality import LocalityScheduler
from shoal.schedulers.ranked import RankedPolicy
from shoal.schedulers.spread import SpreadScheduler
from shoal.spec.live import LiveView
from shoal.spec.resources import ResourceSet
from shoal.spec.view import ClusterView, Demand, NodeView, Placement
from shoal.testing.schedulers import demand, demands, may_now, node, node_id

POLICIES = [BinpackScheduler, HybridScheduler, LocalityScheduler, SpreadScheduler]


def some_node(draw: random.Random, number: int) -> NodeView:
    total: dict[str, float] = {"CPU": draw.choice((2, 4)), "GPU": draw.choice((0, 0, 2))}
    used = {name: draw.randint(0, int(most)) for name, most in total.items()}
    labels = {"zone": draw.choice("abc")} if draw.random() < 0.7 else {}
    made = node(number, total, used, labels, draw.random() < 0.9, draw.random() < 0.1)
    return attrs.evolve(made, queued=draw.choice((0, 0, 3)))


@pytest.mark.parametrize("policy", POLICIES)
@settings(max_examples=12, deadline=None)
@given(asked=st.lists(demands(), min_size=1, max_size=6), seed=st.integers(0, 1 << 32))
def test_following_changes_nothing_in_the_answers(
    policy: type[RankedPolicy], asked: list[Demand], seed: int
) -> None:
    draw = random.Random(seed)
    count = draw.choice((3, 8, 40))
    local = draw.choice((None, node_id(draw.randrange(count))))
    live = LiveView([some_node(draw, number) for number in range(count)], local=local)
    over_live, over_copies = policy(), policy()
    for turn in range(40):
        for _ in range(draw.choice((0, 1, 1, 2, 9))):
            if draw.random() < 0.05:
                live.remove(node_id(draw.randrange(count)))
            else:
                live.put(some_node(draw, draw.randrange(count)))
        question = attrs.evolve(draw.choice(asked), turn=turn)
        snapshot = live.snapshot()
        fresh = policy().place(question, snapshot)
        assert over_live.place(question, live) == fresh
        assert over_copies.place(question, snapshot) == fresh


@pytest.mark.parametrize("policy", POLICIES)
def test_a_mapping_that_is_changed_behind_its_view_is_noticed(policy: type[RankedPolicy]) -> None:
    nodes = {node_id(i): node(i, {"CPU": 1}) for i in range(20)}
    scheduler = policy()
    view = ClusterView(nodes=nodes)
    for turn in range(20):
        placed = scheduler.place(demand(CPU=1, turn=turn), view)
        assert isinstance(placed, Placement)
        before = nodes[placed.node_id]
        assert before.available.covers(ResourceSet.of(CPU=1))
        nodes[placed.node_id] = attrs.evolve(before, available=ResourceSet())
    assert not isinstance(scheduler.place(demand(CPU=1), view), Placement)


def test_binpack_takes_the_tightest_of_a_thousand_while_they_change() -> None:
    draw = random.Random(7)
    live = LiveView([node(i, {"CPU": 64}) for i in range(1000)])
    scheduler = BinpackScheduler()
    for turn in range(150):
        asked = demand(CPU=draw.choice((1, 2, 3)), turn=turn)
        fitting = [each for each in live.nodes.values() if may_now(asked, each)]
        tightest = min(each.available["CPU"] for each in fitting)
        placed = scheduler.place(asked, live)
        assert isinstance(placed, Placement)
        chosen = live.nodes[placed.node_id]
        assert chosen.available["CPU"] == tightest
        live.put(attrs.evolve(chosen, available=chosen.available - asked.resources))
        other = live.nodes[node_id(draw.randrange(1000))]
        live.put(attrs.evolve(other, available=ResourceSet.of(CPU=draw.randint(0, 64))))


@pytest.mark.parametrize("policy", POLICIES)
def test_many_sizes_of_demands_and_nodes_stay_exact(policy: type[RankedPolicy]) -> None:
    draw = random.Random(11)
    live = LiveView([node(i, {"CPU": draw.randint(1, 16)}, {}) for i in range(100)])
    scheduler = policy()
    for turn in range(600):
        asked = demand(CPU=draw.randint(1, 100) / 4, turn=turn)
        placed = scheduler.place(asked, live)
        could = [each for each in live.nodes.values() if may_now(asked, each)]
        if isinstance(placed, Placement):
            chosen = live.nodes[placed.node_id]
            assert may_now(asked, chosen)
            live.put(attrs.evolve(chosen, available=chosen.available - asked.resources))
        else:
            assert could == []
            for each in list(live.nodes.values())[:50]:
                live.put(attrs.evolve(each, available=each.total))


class TestLiveView:
    def test_it_tells_what_has_changed(self) -> None:
        view = LiveView([node(1, {"CPU": 1})])
        seen = view.version
        view.put(node(2, {"CPU": 1}))
        view.put(node(1, {"CPU": 2}))
        assert view.changed(seen) == [node_id(2), node_id(1)]
        assert view.changed(view.version) == []
        view.remove(node_id(1))
        view.remove(node_id(77))
        assert view.version == seen + 3
        assert list(view.nodes) == [node_id(2)]

    def test_what_is_long_ago_is_forgotten(self) -> None:
        view = LiveView([node(1, {"CPU": 1})])
        for _ in range(10_000):
            view.put(node(1, {"CPU": 1}))
        assert view.version == 10_000
        assert view.changed(0) is None
        assert view.changed(9_999) == [node_id(1)]

    def test_a_snapshot_stays_as_it_is(self) -> None:
        view = LiveView([node(1, {"CPU": 1})], local=node_id(1))
        before = view.snapshot()
        view.remove(node_id(1))
        assert before == ClusterView(nodes={node_id(1): node(1, {"CPU": 1})}, local=node_id(1))
        assert before.usable() == [node(1, {"CPU": 1})]
        assert view.usable() == []
        assert view == view
        assert view != LiveView([])
        assert isinstance(hash(view), int)
