"""Which machines needs take: the scarcest first, GPUs kept for those who ask for them, limits kept."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoal.autoscaler.packing import Bin, Packing, new_bin, pack, total_of
from shoal.interfaces.nodes import NodeType
from shoal.interfaces.scaling import Need
from shoal.spec.resources import ResourceSet

CPU = NodeType(name="cpu", resources=ResourceSet.of(CPU=4), cost=1.0)
BIG = NodeType(name="big", resources=ResourceSet.of(CPU=16), cost=4.0)
GPU = NodeType(name="gpu", resources=ResourceSet.of(CPU=8, GPU=2), cost=6.0, labels={"zone": "a"})
TYPES = [CPU, BIG, GPU]


def need(
    count: int = 1, selector: dict[str, str] | None = None, group: str = "", apart: str = "", **amounts: Any
) -> Need:
    return Need(
        resources=ResourceSet.of(amounts), count=count, selector=selector or {}, group=group, apart=apart
    )


def packed(
    *needs: Need, bins: list[Bin] | None = None, room: dict[str, int] | None = None, most: int = 100
) -> Packing:
    return pack(needs, bins or [], TYPES, room or {"cpu": 10, "big": 10, "gpu": 10}, most)


def test_nothing_takes_nothing() -> None:
    assert packed() == Packing(launch={}, unmet=[], used=frozenset())


def test_what_is_free_is_used_before_anything_is_launched() -> None:
    there = new_bin(CPU, "here")
    found = packed(need(CPU=3), bins=[there])
    assert found.launch == {}
    assert found.used == {"here"}
    assert packed(need(CPU=3), bins=[there]).launch == {"cpu": 1}  # it is used up


def test_work_for_cpus_takes_no_machine_with_gpus() -> None:
    assert packed(need(count=8, CPU=1)).launch.keys() <= {"cpu", "big"}
    gpus, cpus = new_bin(GPU, "gpus"), new_bin(CPU, "cpus")
    assert packed(need(CPU=2), bins=[gpus, cpus]).used == {"cpus"}


def test_a_machine_with_gpus_serves_cpus_if_nothing_else_may() -> None:
    assert packed(need(CPU=2), room={"cpu": 0, "big": 0, "gpu": 1}).launch == {"gpu": 1}


def test_what_few_types_offer_goes_first() -> None:
    """The GPU's machine takes the work that needs no GPU along, and so no second one is launched."""
    found = packed(need(count=2, CPU=3, GPU=1), need(CPU=2), room={"cpu": 0, "big": 0, "gpu": 1})
    assert found.launch == {"gpu": 1}
    assert found.unmet == []


def test_the_cheapest_that_will_be_full_is_chosen() -> None:
    assert packed(need(count=3, CPU=1)).launch == {"cpu": 1}  # big would be three quarters empty
    assert packed(need(CPU=10)).launch == {"big": 1}


def test_labels_are_looked_at() -> None:
    assert packed(need(CPU=1, selector={"zone": "a"})).launch == {"gpu": 1}
    [unmet] = packed(need(CPU=1, selector={"zone": "b"})).unmet
    assert unmet.never
    assert "zone=b" in unmet.reason
    assert packed(need(CPU=1, selector={"shoal.io/node-type": "big"})).launch == {"big": 1}


def test_what_can_never_fit_says_what_each_type_lacks() -> None:
    [unmet] = packed(need(CPU=17)).unmet
    assert unmet.never
    assert "cpu lacks {CPU: 13}" in unmet.reason
    assert "big lacks {CPU: 1}" in unmet.reason


def test_limits_are_kept_and_named() -> None:
    found = packed(need(count=4, CPU=4), room={"cpu": 2, "big": 0, "gpu": 0})
    assert found.launch == {"cpu": 2}
    [unmet] = found.unmet
    assert (unmet.need.count, unmet.never) == (2, False)
    assert "cpu (max 10)" in unmet.reason
    [unmet] = packed(need(count=4, CPU=4), room={"cpu": 9, "big": 0, "gpu": 0}, most=3).unmet
    assert "max_machines" in unmet.reason


def test_those_that_must_be_apart_get_machines_of_their_own() -> None:
    group = [need(CPU=1, group="g", apart="g") for _ in range(3)]
    assert packed(*group).launch == {"cpu": 3}
    assert packed(*group, bins=[new_bin(CPU, "a"), new_bin(CPU, "b")]).launch == {"cpu": 1}


def test_a_group_that_cannot_be_whole_launches_nothing() -> None:
    group = [need(CPU=4, group="g"), need(CPU=99, group="g")]
    there = new_bin(CPU, "here")
    found = packed(*group, need(CPU=1), bins=[there])
    assert found.launch == {}
    assert found.used == {"here"}  # what the group took was given back
    assert len(found.unmet) == 1


AMOUNTS = st.fixed_dictionaries(
    {"CPU": st.integers(0, 20)}, optional={"GPU": st.integers(1, 3), "memory": st.integers(1, 8)}
)
NEEDS = st.lists(
    st.builds(
        lambda amounts, count, group, apart: need(
            count=count, group=group, apart="x" if apart and not group else "", **amounts
        ),
        AMOUNTS,
        st.integers(1, 30),
        st.sampled_from(["", "", "g", "h"]),
        st.booleans(),
    ),
    max_size=8,
)


@given(needs=NEEDS, there=st.lists(st.sampled_from(TYPES), max_size=5), most=st.integers(0, 12))
def test_nothing_is_lost_and_no_machine_is_overfull(
    needs: list[Need], there: list[NodeType], most: int
) -> None:
    bins = [new_bin(node_type, f"node{index}") for index, node_type in enumerate(there)]
    room = {"cpu": 5, "big": 2, "gpu": 3}
    found = pack(needs, bins, TYPES, dict(room), most)
    assert all(amount >= 0 for bin_ in bins for amount in bin_.free.values())
    assert all(count <= room[name] for name, count in found.launch.items())
    assert sum(found.launch.values()) <= most
    capacity = total_of(
        [Need(resources=one.resources) for one in there]
        + [Need(resources=one.resources, count=found.launch.get(one.name, 0)) for one in TYPES]
    )
    failed = {one.need.group for one in found.unmet if one.need.group}
    met = total_of(one for one in needs if one.group not in failed).to_floats()
    for one in found.unmet:
        if not one.need.group:
            for name, amount in one.need.resources.to_floats().items():
                met[name] -= amount * one.need.count
    assert all(capacity.get(name, 0.0) >= amount - 1e-6 for name, amount in met.items())


@given(needs=NEEDS)
def test_equal_questions_get_equal_answers(needs: list[Need]) -> None:
    first = pack(needs, [], TYPES, {"cpu": 5, "big": 2, "gpu": 3}, 8)
    assert pack(needs, [], TYPES, {"cpu": 5, "big": 2, "gpu": 3}, 8) == first


@pytest.mark.parametrize("count", [1, 4096])
def test_many_of_a_kind_are_one_question(count: int) -> None:
    found = pack([need(count=count, CPU=1)], [], [CPU], {"cpu": 5000}, 5000)
    assert found.launch == {"cpu": -(-count // 4)}
