"""Leases that one node lends another come back whole, however short they were."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from conftest import Three, make_three

import shoal

pytestmark = pytest.mark.processes
SECONDS = 60


@pytest.fixture
def hasty() -> Iterator[Three]:
    """A cluster in which an idle lease is given back at once."""
    for three in make_three(lease_idle_seconds=0):
        three.cluster.connect()
        three.cluster.wait_for_nodes()
        yield three
        shoal.shutdown()


def test_a_lease_that_begins_and_ends_within_one_report_is_free_again(hasty: Three) -> None:
    """The node that lends tells the head nothing then, since nothing has changed since it last did."""

    @shoal.remote(num_cpus=2, resources={"left": 1})
    def quick(value: int) -> int:
        return value

    assert [shoal.get(quick.remote(value), timeout=SECONDS) for value in range(200)] == list(range(200))


def test_so_is_one_in_a_placement_group(hasty: Three) -> None:
    group = shoal.placement_group([{"CPU": 2, "left": 1}])
    shoal.get(group.ready(), timeout=SECONDS)
    strategy = shoal.PlacementGroupSchedulingStrategy(group)

    @shoal.remote(num_cpus=2, resources={"left": 1}, scheduling_strategy=strategy)
    def inside(value: int) -> int:
        return value

    @shoal.remote(num_cpus=0, resources={"left": 1})
    def beside(value: int) -> int:
        return value

    for value in range(50):
        assert shoal.get([inside.remote(value), beside.remote(value)], timeout=SECONDS) == [value, value]
    shoal.remove_placement_group(group)


def test_so_is_what_a_placement_group_had_for_a_moment(hasty: Three) -> None:
    for _ in range(50):
        group = shoal.placement_group([{"CPU": 2, "left": 1}, {"CPU": 2, "right": 1}])
        shoal.get(group.ready(), timeout=SECONDS)
        shoal.remove_placement_group(group)
