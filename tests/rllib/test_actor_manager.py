"""Calls of many actors at once, some of which die."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import shoal
from shoal.errors import ConfigError
from shoal.rllib.sampling.actor_manager import FaultAwareApply, FaultTolerantActorManager


@shoal.remote(num_cpus=0)
class Player(FaultAwareApply):
    """Counts what it is asked."""

    def __init__(self, number: int) -> None:
        self.number = number

    def play(self, times: int = 1) -> int:
        return self.number * times

    def fail(self) -> None:
        raise ValueError(self.number)


@pytest.fixture(scope="module")
def cluster() -> Iterator[None]:
    """A node."""
    shoal.init(num_cpus=2)
    yield
    shoal.shutdown()


@pytest.fixture
def manager(cluster: None) -> Iterator[FaultTolerantActorManager]:
    """Three players."""
    made = FaultTolerantActorManager([Player.remote(number) for number in range(3)], init_id=1)
    yield made
    made.clear()


def test_all_are_called_by_name_or_by_function(manager: FaultTolerantActorManager) -> None:
    assert manager.actor_ids() == [1, 2, 3]
    told = manager.foreach_actor("play", kwargs={"times": 2})
    assert [each.get() for each in told] == [0, 2, 4]
    assert [each.get() for each in manager.foreach_actor(lambda player: player.number + 1)] == [1, 2, 3]
    each = manager.foreach_actor("play", kwargs=[{"times": n} for n in range(3)])
    assert [one.get() for one in each] == [0, 1, 4]


def test_what_dies_is_left_out_and_the_others_answer(manager: FaultTolerantActorManager) -> None:
    shoal.kill(manager.actors()[2])
    told = manager.foreach_actor("play", timeout_seconds=20)
    assert [each.actor_id for each in told.ignore_errors()] == [1, 3]
    assert manager.healthy_actor_ids() == [1, 3]
    assert manager.num_healthy_actors() == 2
    assert manager.probe_unhealthy_actors(timeout_seconds=10) == []
    assert len(manager.foreach_actor("play")) == 2


def test_what_functions_raise_is_told_and_leaves_actors_in(manager: FaultTolerantActorManager) -> None:
    told = manager.foreach_actor("fail")
    assert [each.ok for each in told] == [False] * 3
    assert manager.num_healthy_actors() == 3
    with pytest.raises(ValueError, match="0"):
        manager.handle_remote_call_result_errors(told, ignore_ray_errors=True)


def test_calls_that_wait_have_a_bound_and_a_tag(manager: FaultTolerantActorManager) -> None:
    assert manager.foreach_actor_async("play", "a") == 3
    assert manager.foreach_actor_async("play", "b") == 3
    assert manager.foreach_actor_async("play", "b") == 0
    assert manager.num_outstanding_async_reqs("b") == 3
    found = manager.fetch_ready_async_reqs(tags="a", timeout_seconds=20)
    assert sorted(each.get() for each in found) == [0, 1, 2]
    assert {each.tag for each in found} == {"a"}
    assert manager.num_outstanding_async_reqs() == 3


def test_more_come_and_go(manager: FaultTolerantActorManager) -> None:
    added = manager.add_actors([Player.remote(9)])
    assert added == [4]
    assert manager.foreach_actor("play", remote_actor_ids=added).result_or_errors[0].get() == 9
    shoal.kill(manager.remove_actor(4))
    assert manager.num_actors() == 3
    with pytest.raises(ConfigError, match="2 functions for 3 actors"):
        manager.foreach_actor(["play", "play"])
