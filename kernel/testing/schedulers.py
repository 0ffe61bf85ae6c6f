"""The contract of Scheduler, for whoever writes one.

class TestMine(SchedulerContract):
    @pytest.fixture
    def scheduler(self):
        return MyScheduler()
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shoal.errors import ConfigError
from shoal.ids import NodeID, PlacementGroupID
from shoal.interfaces.scheduler import Scheduler
from shoal.spec.resources import ResourceSet
from shoal.spec.strategy import (
    DefaultStrategy,
    NodeAffinityStrategy,
    NodeLabelStrategy,
    PlacementGroupStrategy,
    SpreadStrategy,
    Strategy,
)
from shoal.spec.view import (
    BundleSpec,
    ClusterView,
    Decision,
    Demand,
    GroupPlacement,
    GroupSpec,
    Infeasible,
    NodeView,
    Placement,
    Wait,
)

GROUP = PlacementGroupID(b"g" * 16)


def node_id(number: int) -> NodeID:
    """Return a node's identifier."""
    return NodeID(number.to_bytes(8, "big"))


def node(
    number: int,
    total: Mapping[str, float],
    used: Mapping[str, float] | None = None,
    labels: Mapping[str, str] | None = None,
    alive: bool = True,
    draining: bool = False,
) -> NodeView:
    """Return one node by what it has and what of it is in use."""
    whole = ResourceSet.of(total)
    return NodeView(
        node_id=node_id(number),
        total=whole,
        available=whole - ResourceSet.of(used or {}),
        labels=labels or {},
        alive=alive,
        draining=draining,
    )


def cluster(*nodes: NodeView, local: int | None = None) -> ClusterView:
    """Return a view of these nodes."""
    return ClusterView(
        nodes={each.node_id: each for each in nodes}, local=None if local is None else node_id(local)
    )


def demand(strategy: Strategy | None = None, turn: int = 0, **resources: float) -> Demand:
    """Return a demand without labels."""
    return Demand(resources=ResourceSet.of(resources), strategy=strategy or DefaultStrategy(), turn=turn)


def group(strategy: str, *bundles: Mapping[str, float], **more: Any) -> GroupSpec:
    """Return a group of these bundles."""
    specs = tuple(BundleSpec(index=i, resources=ResourceSet.of(each)) for i, each in enumerate(bundles))
    return GroupSpec(group_id=GROUP, bundles=specs, strategy=strategy, **more)


_AMOUNT = st.integers(0, 4)
_RESOURCES = st.fixed_dictionaries({}, optional={"CPU": _AMOUNT, "GPU": _AMOUNT, "disk": _AMOUNT})


def _something(amounts: dict[str, int]) -> dict[str, int]:
    """Return what a bundle may ask: never nothing."""
    return amounts if any(amounts.values()) else {"CPU": 1}


_LABELS = st.fixed_dictionaries({}, optional={"zone": st.sampled_from("abc")})


@st.composite
def clusters(draw: st.DrawFn) -> ClusterView:
    """Draw clusters of up to six nodes, some of them dead, draining or overcommitted."""
    nodes = []
    for number in range(draw(st.integers(0, 6))):
        total = draw(_RESOURCES)
        used = {name: draw(st.integers(0, amount + 1)) for name, amount in total.items()}
        nodes.append(
            node(
                number,
                total,
                used,
                draw(_LABELS),
                draw(st.sampled_from((True, True, False))),
                draw(st.booleans()),
            )
        )
    return cluster(*nodes, local=draw(st.none() | st.integers(0, 6)))


@st.composite
def demands(draw: st.DrawFn) -> Demand:
    """Draw demands with every kind of strategy."""
    bound = node_id(draw(st.integers(0, 6)))
    zone = draw(st.sampled_from("abc"))
    choices: list[Strategy] = [
        DefaultStrategy(),
        SpreadStrategy(),
        NodeAffinityStrategy(node_id=bound),
        NodeAffinityStrategy(node_id=bound, soft=True),
        NodeLabelStrategy(hard={"zone": (zone, "b")}),
        NodeLabelStrategy(soft={"zone": (zone,)}),
        PlacementGroupStrategy(group_id=GROUP),
    ]
    strategy = draw(st.sampled_from(choices))
    selector = draw(
        st.sampled_from(({}, {}, {"zone": "a"}, {"zone": "!a"}, {"zone": "in(a, b)"}, {"zone": "!in(a,b)"}))
    )
    return Demand(
        resources=ResourceSet.of(draw(_RESOURCES)),
        strategy=strategy,
        label_selector=selector,
        argument_bytes={node_id(draw(st.integers(0, 6))): draw(st.integers(0, 1 << 30))},
        turn=draw(st.integers(0, 100)),
    )


def satisfies(text: str, label: str | None) -> bool:
    """Tell what a selector means, in the plainest way."""
    values = text.lstrip("!")
    listed = values[3:-1].replace(" ", "").split(",") if values.startswith("in(") else [values]
    return (label in listed) != text.startswith("!")


def may_ever(asked: Demand, candidate: NodeView) -> bool:
    """Tell whether a node, were it empty, could hold a demand and is one that it allows."""
    strategy = asked.strategy
    if not candidate.total.covers(asked.resources):
        return False
    if (
        isinstance(strategy, NodeAffinityStrategy)
        and not strategy.soft
        and strategy.node_id != candidate.node_id
    ):
        return False
    if isinstance(strategy, NodeLabelStrategy) and any(
        candidate.labels.get(key) not in values for key, values in strategy.hard.items()
    ):
        return False
    return all(satisfies(text, candidate.labels.get(key)) for key, text in asked.label_selector.items())


def may_now(asked: Demand, candidate: NodeView) -> bool:
    """Tell whether a node may be chosen at this moment."""
    return (
        candidate.alive
        and not candidate.draining
        and candidate.available.covers(asked.resources)
        and may_ever(asked, candidate)
    )


class SchedulerContract:
    """What every scheduler must do, whatever its policy."""

    @pytest.fixture
    def scheduler(self) -> Scheduler:
        """Return a new scheduler."""
        raise NotImplementedError("return a new scheduler")

    def check(self, decision: Decision, asked: Demand, view: ClusterView) -> None:
        """Check an answer against the meaning of the question."""
        if isinstance(decision, Placement):
            assert may_now(asked, view.nodes[decision.node_id])
        elif isinstance(decision, Infeasible):
            assert decision.reason
            assert not any(each.alive and may_ever(asked, each) for each in view.nodes.values())
        else:
            assert isinstance(decision, Wait)
            assert decision.reason

    def test_every_answer_is_right(self, scheduler: Scheduler) -> None:
        @hypothesis_settings(max_examples=400, deadline=None)
        @given(asked=demands(), view=clusters())
        def right(asked: Demand, view: ClusterView) -> None:
            decision = scheduler.place(asked, view)
            self.check(decision, asked, view)
            assert scheduler.place(asked, view) == decision
            bound = isinstance(asked.strategy, NodeAffinityStrategy) and asked.strategy.soft
            if not bound and any(may_now(asked, each) for each in view.nodes.values()):
                assert isinstance(decision, Placement)
            alive = [each for each in view.nodes.values() if each.alive]
            if alive and not any(may_ever(asked, each) for each in alive):
                assert isinstance(decision, Infeasible)

        right()

    def test_a_fresh_scheduler_answers_alike(self, scheduler: Scheduler) -> None:
        view = cluster(*(node(i, {"CPU": 4}, {"CPU": i % 3}) for i in range(100)), local=50)
        asked = [demand(CPU=2, turn=turn) for turn in range(50)]
        first = [scheduler.place(each, view) for each in asked]
        other = type(scheduler)()
        assert first == [other.place(each, view) for each in reversed(asked)][::-1]

    def test_a_cluster_is_filled_to_the_last(self, scheduler: Scheduler) -> None:
        free = dict.fromkeys(range(40), 3)
        for turn in range(120):
            view = cluster(*(node(i, {"CPU": 3}, {"CPU": 3 - left}) for i, left in free.items()), local=0)
            decision = scheduler.place(demand(CPU=1, turn=turn), view)
            assert isinstance(decision, Placement)
            free[int.from_bytes(decision.node_id, "big")] -= 1
        assert set(free.values()) == {0}

    def test_an_empty_cluster_waits(self, scheduler: Scheduler) -> None:
        assert isinstance(scheduler.place(demand(CPU=1), cluster()), Wait)
        assert isinstance(scheduler.place_group(group("PACK", {"CPU": 1}), cluster()), Wait)

    def test_a_reason_names_what_is_short(self, scheduler: Scheduler) -> None:
        view = cluster(node(1, {"CPU": 8, "GPU": 1}, {"CPU": 7}), node(2, {"CPU": 4}, {"CPU": 4}))
        never = scheduler.place(demand(GPU=4), view)
        assert isinstance(never, Infeasible)
        assert all(word in never.reason for word in ("GPU", "4", "1"))
        now = scheduler.place(demand(CPU=2), view)
        assert isinstance(now, Wait)
        assert all(word in now.reason for word in ("CPU", "2", "1"))

    def test_fractions_are_exact(self, scheduler: Scheduler) -> None:
        view = cluster(node(1, {"CPU": 1}, {"CPU": 0.7}))
        assert isinstance(scheduler.place(demand(CPU=0.3), view), Placement)
        assert isinstance(scheduler.place(demand(CPU=0.3001), view), Wait)

    def test_hard_affinity(self, scheduler: Scheduler) -> None:
        bound = NodeAffinityStrategy(node_id=node_id(2))
        free, busy = node(1, {"CPU": 4}), node(2, {"CPU": 4}, {"CPU": 4})
        assert scheduler.place(
            demand(bound, CPU=1), cluster(free, node(2, {"CPU": 4}), local=1)
        ) == Placement(node_id(2))
        assert isinstance(scheduler.place(demand(bound, CPU=1), cluster(free, busy)), Wait)
        assert isinstance(scheduler.place(demand(bound, CPU=5), cluster(free, busy)), Infeasible)
        assert isinstance(scheduler.place(demand(bound, CPU=1), cluster(free)), Infeasible)
        dead = node(2, {"CPU": 4}, alive=False)
        assert isinstance(scheduler.place(demand(bound, CPU=1), cluster(free, dead)), Infeasible)

    def test_soft_affinity(self, scheduler: Scheduler) -> None:
        bound = NodeAffinityStrategy(node_id=node_id(2), soft=True)
        free = node(1, {"CPU": 4})
        assert scheduler.place(demand(bound, CPU=1), cluster(free, node(2, {"CPU": 4}))) == Placement(
            node_id(2)
        )
        for other in (
            node(2, {"CPU": 4}, alive=False),
            node(2, {"CPU": 0.5}),
            node(2, {"CPU": 4}, draining=True),
        ):
            assert scheduler.place(demand(bound, CPU=1), cluster(free, other)) == Placement(node_id(1))
        assert scheduler.place(demand(bound, CPU=1), cluster(free)) == Placement(node_id(1))

    def test_soft_labels_are_preferred(self, scheduler: Scheduler) -> None:
        wish = NodeLabelStrategy(soft={"zone": ("b",)})
        here, there = node(1, {"CPU": 4}, labels={"zone": "a"}), node(2, {"CPU": 4}, labels={"zone": "b"})
        for turn in range(10):
            assert scheduler.place(demand(wish, turn, CPU=1), cluster(here, there, local=1)) == Placement(
                node_id(2)
            )
        assert scheduler.place(demand(wish, CPU=1), cluster(here, local=1)) == Placement(node_id(1))

    def test_spread_goes_round(self, scheduler: Scheduler) -> None:
        view = cluster(*(node(i, {"CPU": 8}) for i in range(5)), local=0)
        chosen = [scheduler.place(demand(SpreadStrategy(), turn, CPU=1), view) for turn in range(10)]
        assert len(set(chosen)) == 5

    def test_an_unknown_option_is_refused(self, scheduler: Scheduler) -> None:
        with pytest.raises(ConfigError, match="no_such_option"):
            type(scheduler)({"no_such_option": 1})

    def test_a_selector_that_cannot_be_read_is_refused(self, scheduler: Scheduler) -> None:
        for text in ("", "!", "in()", "in(a", "a,b", "!!a"):
            asked = Demand(resources=ResourceSet.of(CPU=1), label_selector={"zone": text})
            with pytest.raises(ConfigError, match="label selector"):
                scheduler.place(asked, cluster(node(1, {"CPU": 1})))

    # Groups

    @pytest.mark.parametrize("strategy", ["PACK", "SPREAD", "STRICT_PACK", "STRICT_SPREAD"])
    def test_groups_are_placed_whole_or_not(self, scheduler: Scheduler, strategy: str) -> None:
        @hypothesis_settings(max_examples=150, deadline=None)
        @given(view=clusters(), bundles=st.lists(_RESOURCES.map(_something), min_size=1, max_size=4))
        def whole(view: ClusterView, bundles: list[Mapping[str, float]]) -> None:
            spec = group(strategy, *bundles)
            decision = scheduler.place_group(spec, view)
            assert scheduler.place_group(spec, view) == decision
            usable = view.usable()
            ways = _ways(spec, [(each.node_id, each.available) for each in usable])
            if isinstance(decision, GroupPlacement):
                assert decision.nodes in ways
            else:
                assert ways == []
                assert decision.reason
            if isinstance(decision, Infeasible):
                alive = [each for each in view.nodes.values() if each.alive]
                assert _ways(spec, [(each.node_id, each.total) for each in alive]) == []

        whole()

    def test_pack_uses_few_nodes_and_spread_uses_many(self, scheduler: Scheduler) -> None:
        view = cluster(*(node(i, {"CPU": 4}) for i in range(4)))
        packed = scheduler.place_group(group("PACK", *[{"CPU": 1}] * 4), view)
        spread = scheduler.place_group(group("SPREAD", *[{"CPU": 1}] * 4), view)
        assert isinstance(packed, GroupPlacement)
        assert isinstance(spread, GroupPlacement)
        assert len(set(packed.nodes)) == 1
        assert len(set(spread.nodes)) == 4
        more = scheduler.place_group(group("SPREAD", *[{"CPU": 1}] * 6), view)
        assert isinstance(more, GroupPlacement)
        assert sorted(map(list(more.nodes).count, set(more.nodes))) == [1, 1, 2, 2]

    def test_strict_spread_finds_the_only_way(self, scheduler: Scheduler) -> None:
        nodes = [node(i, {"CPU": 30 - i}) for i in range(30)]
        spec = group("STRICT_SPREAD", *({"CPU": amount} for amount in range(1, 31)))
        decision = scheduler.place_group(spec, cluster(*nodes))
        assert decision == GroupPlacement(tuple(node_id(30 - amount) for amount in range(1, 31)))

    def test_bundles_may_want_labels(self, scheduler: Scheduler) -> None:
        view = cluster(node(1, {"CPU": 4}, labels={"zone": "a"}), node(2, {"CPU": 4}, labels={"zone": "b"}))
        one = ResourceSet.of(CPU=1)
        spec = GroupSpec(
            group_id=GROUP,
            bundles=(
                BundleSpec(index=0, resources=one, label_selector={"zone": "b"}),
                BundleSpec(index=1, resources=one, label_selector={"zone": "!b"}),
            ),
        )
        assert scheduler.place_group(spec, view) == GroupPlacement((node_id(2), node_id(1)))
        nowhere = GroupSpec(
            group_id=GROUP, bundles=(BundleSpec(index=0, resources=one, label_selector={"zone": "c"}),)
        )
        decision = scheduler.place_group(nowhere, view)
        assert isinstance(decision, Infeasible)
        assert "zone=c" in decision.reason

    def test_a_group_may_wish_for_a_node(self, scheduler: Scheduler) -> None:
        view = cluster(*(node(i, {"CPU": 4}) for i in range(5)))
        spec = group("STRICT_PACK", {"CPU": 1}, {"CPU": 1}, soft_target_node=node_id(3))
        assert scheduler.place_group(spec, view) == GroupPlacement((node_id(3), node_id(3)))


def _ways(spec: GroupSpec, nodes: list[tuple[NodeID, ResourceSet]]) -> list[tuple[NodeID, ...]]:
    """Return every way to place a group, by trying all."""
    ways: list[tuple[tuple[NodeID, ...], dict[NodeID, ResourceSet]]] = [((), dict(nodes))]
    for bundle in spec.bundles:
        longer = []
        for chosen, free in ways:
            for each, left in free.items():
                if not left.covers(bundle.resources):
                    continue
                if spec.strategy == "STRICT_SPREAD" and each in chosen:
                    continue
                if spec.strategy == "STRICT_PACK" and chosen and each != chosen[0]:
                    continue
                longer.append(((*chosen, each), {**free, each: left - bundle.resources}))
        ways = longer
    return [chosen for chosen, _ in ways]
