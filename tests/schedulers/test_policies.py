"""What each policy prefers, beyond what all schedulers must do."""

from __future__ import annotations

from typing import Any

import attrs
import pytest

from shoal.errors import ConfigError
from shoal.schedulers.binpack import BinpackScheduler
from shoal.schedulers.hybrid import HybridScheduler
from shoal.schedulers.locality import LocalityScheduler
from shoal.schedulers.spread import SpreadScheduler
from shoal.spec.view import Demand, Placement
from shoal.testing.schedulers import cluster, demand, node, node_id

MIB = 1 << 20


def at(number: int) -> Placement:
    return Placement(node_id(number))


def holding(asked: Demand, **bytes_at: int) -> Demand:
    return attrs.evolve(asked, argument_bytes={node_id(int(k[1:])): v for k, v in bytes_at.items()})


class TestHybrid:
    def test_stays_here_up_to_the_threshold(self) -> None:
        for used in range(4):
            view = cluster(node(1, {"CPU": 8}, {"CPU": used}), node(2, {"CPU": 8}), local=1)
            assert [HybridScheduler().place(demand(CPU=1, turn=turn), view) for turn in range(3)] == [
                at(1)
            ] * 3

    def test_goes_elsewhere_beyond_it(self) -> None:
        view = cluster(node(1, {"CPU": 8}, {"CPU": 4}), node(2, {"CPU": 8}, {"CPU": 2}), local=1)
        assert HybridScheduler().place(demand(CPU=1), view) == at(2)
        assert HybridScheduler({"threshold": 0.9}).place(demand(CPU=1), view) == at(1)

    def test_takes_the_least_used_when_all_are_busy(self) -> None:
        view = cluster(*(node(i, {"CPU": 10}, {"CPU": used}) for i, used in enumerate((9, 7, 8))), local=0)
        assert HybridScheduler().place(demand(CPU=1), view) == at(1)

    def test_others_below_the_threshold_take_turns(self) -> None:
        view = cluster(node(0, {"CPU": 8}, {"CPU": 8}), *(node(i, {"CPU": 8}) for i in (1, 2, 3)), local=0)
        chosen = {HybridScheduler().place(demand(CPU=1, turn=turn), view).node_id for turn in range(6)}  # type: ignore[union-attr]
        assert chosen == {node_id(1), node_id(2), node_id(3)}

    def test_leaves_devices_to_work_that_wants_them(self) -> None:
        view = cluster(node(1, {"CPU": 8, "GPU": 8}), node(2, {"CPU": 8}, {"CPU": 6}), local=1)
        assert HybridScheduler().place(demand(CPU=1), view) == at(2)
        assert HybridScheduler().place(demand(GPU=1), view) == at(1)

    @pytest.mark.parametrize("threshold", [-0.1, 1.1, "half", True, None])
    def test_a_threshold_is_a_share(self, threshold: Any) -> None:
        with pytest.raises(ConfigError, match="threshold"):
            HybridScheduler({"threshold": threshold})


class TestLocality:
    VIEW = cluster(node(1, {"CPU": 8}), node(2, {"CPU": 8}), node(3, {"CPU": 8}, {"CPU": 8}), local=1)

    def test_goes_to_the_bytes(self) -> None:
        asked = holding(demand(CPU=1), n1=2 * MIB, n2=5 * MIB)
        assert LocalityScheduler().place(asked, self.VIEW) == at(2)

    def test_does_not_wait_for_a_busy_node(self) -> None:
        asked = holding(demand(CPU=1), n2=2 * MIB, n3=900 * MIB)
        assert LocalityScheduler().place(asked, self.VIEW) == at(2)

    def test_small_arguments_do_not_matter(self) -> None:
        asked = holding(demand(CPU=1), n2=MIB - 1)
        assert LocalityScheduler().place(asked, self.VIEW) == at(1)
        assert LocalityScheduler({"minimum": 0}).place(asked, self.VIEW) == at(2)

    def test_labels_come_before_bytes(self) -> None:
        view = cluster(node(1, {"CPU": 8}), node(2, {"CPU": 8}, labels={"zone": "a"}), local=1)
        asked = attrs.evolve(holding(demand(CPU=1), n2=9 * MIB), label_selector={"zone": "!a"})
        assert LocalityScheduler().place(asked, view) == at(1)

    @pytest.mark.parametrize("options", [{"minimum": -1}, {"minimum": 1.5}, {"threshold": 2}])
    def test_bad_options_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ConfigError, match=next(iter(options))):
            LocalityScheduler(options)


class TestBinpack:
    def test_takes_the_tightest(self) -> None:
        view = cluster(
            node(1, {"CPU": 8}), node(2, {"CPU": 8}, {"CPU": 6}), node(3, {"CPU": 8}, {"CPU": 7.5}), local=1
        )
        assert BinpackScheduler().place(demand(CPU=1), view) == at(2)

    def test_fills_one_node_before_the_next(self) -> None:
        used = dict.fromkeys(range(5), 0)
        order = []
        for turn in range(20):
            view = cluster(*(node(i, {"CPU": 4}, {"CPU": each}) for i, each in used.items()))
            decision = BinpackScheduler().place(demand(CPU=1, turn=turn), view)
            assert isinstance(decision, Placement)
            order.append(int.from_bytes(decision.node_id, "big"))
            used[order[-1]] += 1
        assert order == sorted(order)


class TestSpread:
    def test_takes_the_least_used(self) -> None:
        view = cluster(node(1, {"CPU": 8}, {"CPU": 1}), node(2, {"CPU": 2}), local=1)
        assert SpreadScheduler().place(demand(CPU=1), view) == at(1)

    def test_work_without_resources_goes_round(self) -> None:
        view = cluster(*(node(i, {"CPU": 8}) for i in range(4)), local=0)
        chosen = [SpreadScheduler().place(demand(turn=turn), view) for turn in range(4)]
        assert chosen == [at(0), at(1), at(2), at(3)]
