"""Connections to the head that break in the middle of anything: whatever was asked is answered, and once."""

from __future__ import annotations

import json
import os
import random
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import pytest
from forwarder import Forwarder
from hosts import SHOAL

import shoal
from shoal.native.process.node import find_nodes

pytestmark = pytest.mark.processes
SECONDS = 60
SMALL = ["--num-cpus", "2", "--num-gpus", "0", "--json"]


def run(*words: str) -> Any:
    done = subprocess.run(
        [SHOAL, *words],
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture
def folder() -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="shoal-") as made:
        yield made
        run("stop", "--json", "--temp-dir", made)
        assert not find_nodes(made)


@pytest.fixture
def head(folder: str) -> Any:
    return run("start", "--head", "--port", "0", "--temp-dir", os.path.join(folder), *SMALL)


def join(folder: str, head: Any, through: Forwarder) -> Any:
    credentials = os.path.join(head["folder"], "credentials")
    words = ["--address", through.address, "--credentials", credentials, "--temp-dir", folder]
    return run("start", *words, "--resources", '{"far": 10}', *SMALL)


def test_a_node_joins_although_its_connection_breaks_at_any_byte(folder: str, head: Any) -> None:
    """Everything that is said until it has joined is between the first byte and some thousand later."""
    numbers = random.Random(1)
    for count in (1, *(numbers.randrange(20, 2_500) for _ in range(5))):
        with Forwarder(head["head_address"]) as between:
            between.cut_after(count)
            node = join(folder, head, between)
            assert between.connections >= 2
            run("stop", "--json", "--temp-dir", folder, "--node", node["node_id"])


@shoal.remote
class Counter:
    def __init__(self) -> None:
        self.count = 0

    def add(self) -> int:
        self.count += 1
        return self.count


@shoal.remote
def double(number: int) -> int:
    return 2 * number


def work(number: int) -> None:
    """Ask the head for one of everything, and look at each answer."""
    name = f"counter-{number}"
    group = shoal.placement_group([{"CPU": 0.1}, {"far": 0.1}], strategy="SPREAD")
    assert group.wait(SECONDS)
    kept = Counter.options(name=name, lifetime="detached", num_cpus=0).remote()
    assert shoal.get(kept.add.remote(), timeout=SECONDS) == 1
    assert shoal.get(shoal.get_actor(name).add.remote(), timeout=SECONDS) == 2
    far = double.options(resources={"far": 0.1}).remote(number)
    inside = double.options(
        num_cpus=0.1, scheduling_strategy=shoal.PlacementGroupSchedulingStrategy(group)
    ).remote(far)
    assert shoal.get(inside, timeout=SECONDS) == 4 * number
    assert sum(node["Alive"] for node in shoal.nodes()) == 2
    shoal.kill(kept)
    deadline = time.monotonic() + SECONDS
    while True:  # the name is free when the actor is gone
        try:
            shoal.get_actor(name)
        except ValueError:
            break
        assert time.monotonic() < deadline
        time.sleep(0.01)
    shoal.remove_placement_group(group)


@pytest.mark.parametrize(
    "seed", [1, pytest.param(2, marks=pytest.mark.slow), pytest.param(3, marks=pytest.mark.slow)]
)
def test_whatever_is_asked_is_answered_although_the_connection_breaks_in_the_middle(
    folder: str, head: Any, seed: int
) -> None:
    """The node of this driver loses its head again and again, after some hundreds or thousands of bytes."""
    numbers = random.Random(seed)
    with Forwarder(head["head_address"]) as between:
        node = join(folder, head, between)
        shoal.init(address=node["address"], temp_dir=folder)
        try:
            cuts = 0
            for number in range(12):
                connections = between.connections
                between.cut_after(int(10 ** numbers.uniform(0, 4)))
                work(number)
                cuts += between.connections - connections
            assert cuts >= 4, "the connection was hardly ever cut"
            deadline = time.monotonic() + SECONDS
            while {group["state"] for group in shoal.placement_group_table().values()} - {"REMOVED"}:
                assert time.monotonic() < deadline, "a group is left"
                time.sleep(0.02)
            total, free = shoal.cluster_resources(), shoal.available_resources()
            while free.get("CPU") != total["CPU"] or free.get("far") != total["far"]:
                assert time.monotonic() < deadline, (total, free)
                time.sleep(0.02)
                free = shoal.available_resources()
        finally:
            shoal.shutdown()
