"""A driver outside the cluster whose network fails: whatever it asked for takes effect once, or it is told."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from client_support import SECONDS, connect, free_port, gateways, wait_for
from forwarder import Forwarder

import shoal
from shoal.cluster_utils import Cluster
from shoal.errors import GetTimeout, SystemFailure
from shoal.util.state import list_actors


@shoal.remote
class Log:
    def __init__(self) -> None:
        self.entries: list[int] = []

    def add(self, number: int) -> int:
        self.entries.append(number)
        return number

    def all(self) -> list[int]:
        return self.entries


@shoal.remote(max_retries=0)
def double(value: Any) -> Any:
    return value * 2


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 2}) as cluster:
        yield cluster


@pytest.fixture
def network(cluster: Cluster) -> Iterator[Forwarder]:
    """The only way from this process to the cluster."""
    with Forwarder(cluster.address) as network:
        yield network
        network.open_port()
        network.stall(False)
        shoal.shutdown()
    wait_for(lambda: not gateways(cluster), "no gateway is left", 10)


def test_a_cut_connection_is_made_again_and_nothing_is_lost(cluster: Cluster, network: Forwarder) -> None:
    connect(cluster, network.address)
    log = Log.remote()
    big = np.arange(1_000_000)
    kept = shoal.put(big)
    for number in range(5):
        refs = [log.add.remote(number * 10 + i) for i in range(10)]
        network.cut()
        assert list(range(number * 10, number * 10 + 10)) == shoal.get(refs, timeout=SECONDS)
    assert list(range(50)) == shoal.get(log.all.remote(), timeout=SECONDS)
    network.cut()
    assert np.array_equal(big * 2, shoal.get(double.remote(kept), timeout=SECONDS))


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 8))])
def test_cuts_in_the_middle_of_anything(cluster: Cluster, network: Forwarder, seed: int) -> None:
    connect(cluster, network.address)
    chance = random.Random(seed)
    log = Log.remote()
    shoal.get(log.all.remote(), timeout=SECONDS)
    payload = chance.randbytes(400_000)
    wanted = []
    results = []
    for number in range(40):
        network.cut_after(chance.choice([1, 3, 17, 100, 999, 20_000, 300_000]))
        wanted.append(number)
        results.append(log.add.remote(number))
        if number % 4 == 0:
            stored = shoal.put(payload + bytes([number]))
            assert payload + bytes([number]) == shoal.get(stored, timeout=SECONDS)
        if number % 5 == 0:
            value = shoal.get(double.remote(payload[: chance.randrange(300_000)]), timeout=SECONDS)
            assert value[: len(value) // 2] * 2 == value
    assert wanted == shoal.get(results, timeout=SECONDS)
    assert wanted == shoal.get(log.all.remote(), timeout=SECONDS), "every call took effect once, in order"
    assert network.connections > 8, "it was cut often"


def test_a_connection_that_stalls_delays_and_loses_nothing(cluster: Cluster, network: Forwarder) -> None:
    connect(cluster, network.address)
    log = Log.remote()
    shoal.get(log.all.remote(), timeout=SECONDS)
    network.stall(True)
    refs = [log.add.remote(number) for number in range(100)]
    ready, _ = shoal.wait(refs, num_returns=100, timeout=0.2)
    assert not ready
    network.stall(False)
    assert list(range(100)) == shoal.get(refs, timeout=SECONDS)


def test_a_program_waits_while_the_network_is_away(cluster: Cluster, network: Forwarder) -> None:
    connect(cluster, network.address)
    assert shoal.get(double.remote(2), timeout=SECONDS) == 4
    network.close_port()
    refs = [double.remote(number) for number in range(10)]
    with pytest.raises(GetTimeout):
        shoal.get(refs, timeout=0.5)
    network.open_port()
    assert [number * 2 for number in range(10)] == shoal.get(refs, timeout=SECONDS)


def test_after_the_grace_both_sides_clean_up(cluster: Cluster, network: Forwarder) -> None:
    connect(cluster, network.address, client_grace_seconds=1, namespace="left")
    log = Log.options(name="stays").remote()
    kept = Log.options(name="detached", lifetime="detached").remote()
    assert shoal.get(log.add.remote(1), timeout=SECONDS) == 1
    assert shoal.get(kept.add.remote(1), timeout=SECONDS) == 1
    pending = double.remote(1)
    shoal.wait([pending], timeout=SECONDS)
    network.close_port()
    with pytest.raises(SystemFailure, match=r"client_grace_seconds.*init\(\)"):
        shoal.get(log.add.remote(2), timeout=SECONDS)
    assert not shoal.is_initialized()
    shoal.shutdown()
    wait_for(lambda: not gateways(cluster), "the gateway is gone", 10)
    network.open_port()
    connect(cluster, network.address, namespace="left")
    with pytest.raises(ValueError, match="stays"):
        shoal.get_actor("stays")
    found = shoal.get_actor("detached")
    assert shoal.get(found.all.remote(), timeout=SECONDS) == [1]
    shoal.kill(found)
    wait_for(lambda: all(actor["state"] == "DEAD" for actor in list_actors()), "every actor is dead")


def test_a_gateway_that_was_killed_is_told(cluster: Cluster, network: Forwarder) -> None:
    connect(cluster, network.address)
    log = Log.remote()
    shoal.get(log.add.remote(1), timeout=SECONDS)
    [gateway] = gateways(cluster)
    os.kill(gateway, signal.SIGKILL)
    began = time.monotonic()
    with pytest.raises(SystemFailure, match=r"gateway.*is gone"):
        shoal.get(log.add.remote(2), timeout=SECONDS)
    assert time.monotonic() - began < 20, "it is not waited for until the grace is over"


def test_calls_from_many_threads_survive_cuts(cluster: Cluster, network: Forwarder) -> None:
    connect(cluster, network.address)
    log = Log.remote()
    failures: list[BaseException] = []

    def work(first: int) -> None:
        try:
            for number in range(first, first + 50):
                assert number == shoal.get(log.add.remote(number), timeout=SECONDS)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index * 100,)) for index in range(4)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        network.cut()
        for thread in threads:
            thread.join(0.05)
    assert not failures
    assert {n for index in range(4) for n in range(index * 100, index * 100 + 50)} == set(
        shoal.get(log.all.remote(), timeout=SECONDS)
    )
    assert len(shoal.get(log.all.remote(), timeout=SECONDS)) == 200


@pytest.mark.slow
def test_a_client_of_another_node_outlives_the_head() -> None:
    head = {"num_cpus": 0, "head_port": free_port()}
    with Cluster(initialize_head=True, head_node_args=head) as cluster:
        far = cluster.add_node(num_cpus=2)
        connect(cluster, far.address)
        cluster.wait_for_nodes()
        log = Log.remote()
        kept = shoal.put(np.ones(300_000))
        assert shoal.get(log.add.remote(1), timeout=SECONDS) == 1
        assert cluster.head_node is not None
        os.kill(cluster.head_node.pid, signal.SIGKILL)
        assert shoal.get(log.add.remote(2), timeout=SECONDS) == 2
        cluster.restart_head()
        fresh = Log.remote()
        assert shoal.get(fresh.add.remote(3), timeout=SECONDS) == 3
        assert shoal.get(log.all.remote(), timeout=SECONDS) == [1, 2]
        assert shoal.get(double.remote(kept), timeout=SECONDS).sum() == 600_000
        shoal.shutdown()


@pytest.mark.slow
def test_a_value_of_more_than_two_gibibytes() -> None:
    size = (1 << 31) + 4321
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if free < 4 * size:
        pytest.skip(f"{free:,} bytes of memory are free, and {4 * size:,} are needed")
    with Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": size + (64 << 20)}
    ) as roomy:
        connect(roomy)
        value = np.zeros(size, dtype=np.uint8)
        value[::1_000_000] = 7
        wanted = int(value.sum())
        ref = shoal.put(value)
        del value

        @shoal.remote
        def total(array: Any) -> int:
            return int(array.sum())

        assert shoal.get(total.remote(ref), timeout=SECONDS) == wanted
        again = shoal.get(ref, timeout=4 * SECONDS)
        assert len(again) == size
        assert int(again.sum()) == wanted
        del again
        shoal.shutdown()
