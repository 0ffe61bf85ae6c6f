"""as_completed, map_unordered, log_once, groups of actors, addresses, leaks, labels."""

from __future__ import annotations

import socket
from typing import Any

import pytest

import shoal
from shoal.util import accelerators, as_completed, get_node_ip_address, log_once, map_unordered
from shoal.util.actor_group import ActorGroup
from shoal.util.leaks import find_leaks
from shoal.util.logging_once import disable_log_once_globally, enable_periodic_logging, reset_log_once
from shoal.util.scheduling_strategies import DoesNotExist, Exists, NodeLabelSchedulingStrategy

pytestmark = pytest.mark.usefixtures("session")


@shoal.remote
def double(value: int) -> int:
    return value * 2


def test_as_completed_gives_every_value() -> None:
    refs = [double.remote(value) for value in range(25)]
    assert sorted(as_completed(refs)) == [value * 2 for value in range(25)]
    assert set(as_completed(refs, chunk_size=3, yield_obj_refs=True)) == set(refs)
    assert list(as_completed([])) == []
    with pytest.raises(ValueError, match="chunk_size"):
        as_completed(refs, chunk_size=0)


def test_map_unordered_keeps_a_bound() -> None:
    taken: list[int] = []

    def endless() -> Any:
        value = 0
        while True:
            taken.append(value)
            yield value
            value += 1

    results = map_unordered(double, endless(), backpressure_size=10)
    assert {next(results) for _ in range(5)} <= {value * 2 for value in range(30)}
    assert len(taken) <= 30
    assert sorted(map_unordered(double, range(33), backpressure_size=None)) == [
        value * 2 for value in range(33)
    ]
    with pytest.raises(ValueError, match="must be at least chunk_size"):
        map_unordered(double, [1], backpressure_size=5, chunk_size=6)
    with pytest.raises(TypeError, match="remote function"):
        map_unordered(abs, [1])  # type: ignore[arg-type]


def test_log_once() -> None:
    reset_log_once()
    assert [log_once("a"), log_once("a"), log_once("b")] == [True, False, True]
    reset_log_once("a")
    assert log_once("a")
    disable_log_once_globally()
    assert not log_once("c")
    enable_periodic_logging()
    assert log_once("c")
    reset_log_once()


class Member:
    def __init__(self, base: int) -> None:
        self.base = base

    def add(self, value: int) -> int:
        return self.base + value


def test_a_group_of_actors_is_called_together() -> None:
    group = ActorGroup(Member, num_actors=2, num_cpus_per_actor=0, init_args=(10,))
    assert shoal.get(group.add.remote(1)) == [11, 11]
    group.add_actors(1)
    assert len(group) == 3
    assert {metadata.hostname for metadata in group.actor_metadata} == {socket.gethostname()}
    group.remove_actors([0])
    assert shoal.get(group.add.remote(2)) == [12, 12]
    with pytest.raises(AttributeError, match="has no method 'sub'"):
        _ = group.sub
    with pytest.raises(RuntimeError, match="started already"):
        group.start()
    group.shutdown()
    assert len(group) == 0
    with pytest.raises(RuntimeError, match="was shut down"):
        _ = group.add


def test_the_address_of_this_machine_is_one() -> None:
    socket.inet_aton(get_node_ip_address())
    assert get_node_ip_address("127.0.0.1:80") == "127.0.0.1"


def test_leaks_are_found() -> None:
    kept: list[bytes] = []
    suspects = find_leaks(lambda: kept.append(bytes(100_000)), repeats=5)
    assert suspects
    assert suspects[0].memory_increase >= 400_000
    assert "kept.append" in suspects[0].traceback
    assert find_leaks(lambda: bytes(100_000), repeats=5) == []


def test_names_of_devices() -> None:
    assert accelerators.NVIDIA_TESLA_V100 == "V100"


def test_labels_that_are_there_or_not(session: str) -> None:
    [node] = shoal.nodes()
    label = next(iter(node["Labels"]), None)
    if label is None:
        pytest.skip(f"the {session} engine gives its node no labels")
    there = NodeLabelSchedulingStrategy(hard={label: Exists(), "no-such-label": DoesNotExist()})
    assert shoal.get(double.options(scheduling_strategy=there).remote(2), timeout=60) == 4
