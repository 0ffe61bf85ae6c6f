"""ActorPool: order, errors, timeouts, and who is free."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import shoal
from shoal.errors import GetTimeout
from shoal.util import ActorPool

pytestmark = pytest.mark.usefixtures("session")


@shoal.remote
class Worker:
    def double(self, value: int) -> int:
        if value < 0:
            raise ValueError(f"no {value}")
        return value * 2


def double(actor: Any, value: int) -> Any:
    return actor.double.remote(value)


@pytest.fixture
def pool() -> ActorPool:
    return ActorPool([Worker.remote() for _ in range(2)])


def test_map_keeps_the_order(pool: ActorPool) -> None:
    assert list(pool.map(double, range(10))) == [value * 2 for value in range(10)]


def test_map_unordered_gives_every_result(pool: ActorPool) -> None:
    assert sorted(pool.map_unordered(double, range(10))) == [value * 2 for value in range(10)]


def test_submit_and_get_next(pool: ActorPool) -> None:
    for value in range(5):
        pool.submit(double, value)
    assert pool.has_next()
    assert [pool.get_next(timeout=30) for _ in range(5)] == [0, 2, 4, 6, 8]
    assert not pool.has_next()
    with pytest.raises(StopIteration, match="no more results"):
        pool.get_next()


def test_an_error_is_raised_in_its_place_and_the_actor_goes_on(pool: ActorPool) -> None:
    results = pool.map(double, [1, -1, 2])
    assert next(results) == 2
    with pytest.raises(ValueError, match="no -1"):
        next(results)
    assert pool.get_next() == 4


def test_a_map_forgets_results_that_nobody_took(pool: ActorPool) -> None:
    pool.submit(double, 100)
    assert list(pool.map(double, [1, 2])) == [2, 4]


def test_idle_actors_can_be_taken_and_added(pool: ActorPool) -> None:
    first, second = pool.pop_idle(), pool.pop_idle()
    assert first is not None
    assert second is not None
    assert pool.pop_idle() is None
    assert not pool.has_free()
    pool.push(first)
    assert pool.has_free()
    with pytest.raises(ValueError, match="in this pool already"):
        pool.push(first)
    assert list(pool.map(double, [1, 2, 3])) == [2, 4, 6]


def test_wrong_use_says_what_is_right(pool: ActorPool) -> None:
    with pytest.raises(TypeError, match="must return the ObjectRef"):
        pool.submit(lambda actor, value: value, 1)
    with pytest.raises(TypeError, match="holds actors' handles"):
        ActorPool([1])  # type: ignore[list-item]
    empty = ActorPool([])
    empty.submit(double, 1)
    with pytest.raises(RuntimeError, match="no actors"):
        empty.get_next()


@pytest.mark.processes
def test_a_late_result_times_out_or_is_given_up(session: str) -> None:
    if session == "inline":
        pytest.skip("needs calls that run while the caller goes on")

    @shoal.remote
    class Gate:
        def __init__(self) -> None:
            self.open = threading.Event()

        def wait(self, value: int) -> int:
            assert self.open.wait(60)
            return value

        def let_go(self, value: int) -> int:
            self.open.set()
            return value

    gate = Gate.options(max_concurrency=2).remote()
    pool = ActorPool([gate])
    pool.submit(lambda actor, value: actor.wait.remote(value), 1)
    with pytest.raises(GetTimeout):
        pool.get_next(timeout=0.05)
    with pytest.raises(GetTimeout):
        pool.get_next_unordered(timeout=0.05)
    assert shoal.get(gate.let_go.remote(5)) == 5
    assert pool.get_next(timeout=30) == 1
