"""Tasks, actors, objects and placement groups over several nodes, each a daemon with workers and a store of its own."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import shoal
from shoal import exceptions
from shoal.cluster_utils import Cluster

pytestmark = pytest.mark.processes
SECONDS = 30


@shoal.remote
def where() -> str:
    return str(shoal.get_runtime_context().get_node_id())


@shoal.remote
def numbers(count: int) -> Any:
    return np.arange(count)


@shoal.remote
def total(array: Any) -> tuple[int, str]:
    return int(array.sum()), str(shoal.get_runtime_context().get_node_id())


@shoal.remote
class Counter:
    def __init__(self, start: int = 0) -> None:
        self.value = start

    def add(self, amount: int = 1) -> int:
        self.value += amount
        return self.value

    def where(self) -> str:
        return str(shoal.get_runtime_context().get_node_id())


def on(side: str, amount: float = 1) -> dict[str, Any]:
    return {"resources": {side: amount}}


def test_the_cluster_is_the_sum_of_its_nodes(three: Any) -> None:
    assert {node["NodeID"] for node in shoal.nodes()} == {
        three.head.node_id,
        three.left.node_id,
        three.right.node_id,
    }
    assert shoal.cluster_resources()["CPU"] == 5
    assert shoal.cluster_resources()["left"] == 100


def test_a_task_runs_where_its_resources_are(three: Any) -> None:
    found = shoal.get(
        [where.options(**on(side)).remote() for side in ("left", "right", "middle")], timeout=SECONDS
    )
    assert found == [three.left.node_id, three.right.node_id, three.head.node_id]


def test_actors_that_begin_together_on_all_nodes_answer(three: Any) -> None:
    # Each new actor calls its creator, and the creator calls it: often at the same moment.
    for _ in range(4):
        actors = [
            Counter.options(num_cpus=0, scheduling_strategy="SPREAD").remote(number) for number in range(24)
        ]
        found = shoal.get([actor.add.remote(1) for actor in actors], timeout=SECONDS)
        assert found == list(range(1, 25))


def test_tasks_spill_over_when_a_node_is_full(three: Any) -> None:
    @shoal.remote(num_cpus=1)
    def hold() -> str:
        deadline = time.monotonic() + SECONDS
        while shoal.get(started.add.remote(0)) < 5 and time.monotonic() < deadline:
            time.sleep(0.01)
        return str(shoal.get_runtime_context().get_node_id())

    @shoal.remote(num_cpus=1)
    def announce_and_hold() -> str:
        shoal.get(started.add.remote())
        return str(shoal.get(hold.options(num_cpus=0).remote()))

    started = Counter.options(num_cpus=0).remote()
    # Five that each hold a CPU until all five have begun: only all nodes together can run them.
    shoal.get([announce_and_hold.remote() for _ in range(5)], timeout=SECONDS)


def test_node_affinity_and_labels(three: Any) -> None:
    hard = shoal.NodeAffinitySchedulingStrategy(node_id=three.right.node_id, soft=False)
    assert shoal.get(where.options(scheduling_strategy=hard).remote(), timeout=SECONDS) == three.right.node_id
    labelled = where.options(label_selector={"side": "left"}).remote()
    assert shoal.get(labelled, timeout=SECONDS) == three.left.node_id
    gone = shoal.NodeAffinitySchedulingStrategy(node_id="ff" * 8, soft=True)
    assert shoal.get(where.options(scheduling_strategy=gone).remote(), timeout=SECONDS)


def test_spread_uses_every_node(three: Any) -> None:
    @shoal.remote(scheduling_strategy="SPREAD", num_cpus=0.5)
    def slow_where() -> str:
        time.sleep(0.1)
        return str(shoal.get_runtime_context().get_node_id())

    refs = [slow_where.remote() for _ in range(30)]
    assert len(set(shoal.get(refs, timeout=SECONDS))) == 3


def test_an_object_is_read_on_another_node(three: Any) -> None:
    array = np.arange(500_000)
    stored = shoal.put(array)
    made = numbers.options(**on("left")).remote(500_000)
    expected = int(array.sum())
    for ref in (stored, made):
        for side, node in (("left", three.left), ("right", three.right), ("middle", three.head)):
            assert shoal.get(total.options(**on(side)).remote(ref), timeout=SECONDS) == (
                expected,
                node.node_id,
            )
    assert np.array_equal(shoal.get(made, timeout=SECONDS), array)
    assert not shoal.get(made).flags.writeable


def test_a_large_argument_reaches_another_node(three: Any) -> None:
    array = np.ones(300_000)
    assert shoal.get(total.options(**on("right")).remote(array), timeout=SECONDS)[0] == 300_000
    actor = Counter.options(**on("left")).remote(5)
    assert shoal.get(actor.add.remote(), timeout=SECONDS) == 6


def test_references_inside_values_cross_nodes(three: Any) -> None:
    @shoal.remote
    def inner_sum(box: dict[str, Any]) -> int:
        return int(shoal.get(box["ref"]).sum())

    @shoal.remote
    def make_box() -> dict[str, Any]:
        return {"ref": shoal.put(np.arange(200_000))}

    box = shoal.get(make_box.options(**on("left")).remote(), timeout=SECONDS)
    assert shoal.get(inner_sum.options(**on("right")).remote(box), timeout=SECONDS) == int(
        np.arange(200_000).sum()
    )
    assert shoal.get(box["ref"], timeout=SECONDS).shape == (200_000,)


def test_many_readers_copy_an_object_once_per_node(three: Any) -> None:
    ref = shoal.put(np.arange(1_000_000))
    readers = [total.options(**on("left", 0.1), num_cpus=0).remote(ref) for _ in range(20)]
    assert {value for value, _ in shoal.get(readers, timeout=SECONDS)} == {499_999_500_000}


def test_wait_brings_what_is_ready_unless_told_otherwise(three: Any) -> None:
    refs = [numbers.options(**on(side)).remote(300_000) for side in ("left", "right")]
    ready, rest = shoal.wait(refs, num_returns=2, timeout=SECONDS, fetch_local=False)
    assert (len(ready), rest) == (2, [])
    assert [len(files_of(ref.hex())) for ref in refs] == [1, 1]
    ready, rest = shoal.wait(refs, num_returns=2, timeout=SECONDS)
    assert (ready, rest) == (refs, [])
    assert [len(files_of(ref.hex())) for ref in refs] == [2, 2]


def test_copies_go_when_the_object_does(three: Any) -> None:
    ref = numbers.options(**on("left")).remote(400_000)
    shoal.get(total.options(**on("right")).remote(ref), timeout=SECONDS)
    identifier = ref.hex()
    shoal.get(ref, timeout=SECONDS)
    assert len(files_of(identifier)) == 3
    del ref
    deadline = time.monotonic() + SECONDS
    while files_of(identifier) and time.monotonic() < deadline:
        shoal.get(where.remote(), timeout=SECONDS)  # letting go is told with other messages
    assert not files_of(identifier)


def files_of(identifier: str) -> list[str]:
    return [folder for folder, _, names in os.walk("/dev/shm") if identifier in names]


def test_nested_tasks_own_their_results_where_they_run(three: Any) -> None:
    @shoal.remote
    def outer() -> list[str]:
        found: list[str] = shoal.get([where.options(**on(side)).remote() for side in ("left", "right")])
        return [str(shoal.get_runtime_context().get_node_id()), *found]

    found = shoal.get(outer.options(**on("right")).remote(), timeout=SECONDS)
    assert found == [three.right.node_id, three.left.node_id, three.right.node_id]


def test_actors_on_other_nodes(three: Any) -> None:
    left, right = (Counter.options(**on(side)).remote() for side in ("left", "right"))
    assert shoal.get([left.where.remote(), right.where.remote()], timeout=SECONDS) == [
        three.left.node_id,
        three.right.node_id,
    ]
    assert shoal.get([left.add.remote() for _ in range(100)], timeout=SECONDS) == list(range(1, 101))

    @shoal.remote
    def use(actor: Any) -> int:
        return int(shoal.get(actor.add.remote(1000)))

    assert shoal.get(use.options(**on("right")).remote(left), timeout=SECONDS) == 1100
    shoal.kill(left)
    with pytest.raises(exceptions.ActorDied, match=r"kill\(\) was called"):
        shoal.get(left.add.remote(), timeout=SECONDS)


def test_an_error_on_another_node_is_the_users_own(three: Any) -> None:
    @shoal.remote(max_retries=0)
    def fail() -> None:
        raise KeyError("there")

    with pytest.raises(KeyError, match="there"):
        shoal.get(fail.options(**on("left")).remote(), timeout=SECONDS)


def test_a_generator_on_another_node(three: Any) -> None:
    @shoal.remote(num_returns="streaming")
    def count(upto: int) -> Iterator[Any]:
        for number in range(upto):
            yield np.full(50_000, number)

    values = [int(shoal.get(ref, timeout=SECONDS)[0]) for ref in count.options(**on("right")).remote(5)]
    assert values == [0, 1, 2, 3, 4]


def test_awaiting_what_is_elsewhere(three: Any) -> None:
    async def work() -> int:
        return int((await numbers.options(**on("left")).remote(300_000)).sum())

    assert asyncio.run(work()) == int(np.arange(300_000).sum())


@shoal.remote
class Listener:
    """An async actor: while the bytes of an argument come, others of its calls go on."""

    def __init__(self) -> None:
        self.beats = 0

    async def beat(self) -> int:
        self.beats += 1
        return self.beats

    async def size(self, value: Any, *more: Any) -> int:
        return len(value) + sum(map(len, more))


def test_an_async_actor_takes_arguments_from_other_nodes(three: Any) -> None:
    listener = Listener.options(resources={"left": 1}, num_cpus=0).remote()
    far = produce_bytes.options(resources={"right": 1}).remote(8_000_000)
    large = bytes(3_000_000)
    sizes = [listener.size.remote(far), listener.size.remote(large), listener.size.remote(large, far)]
    beats = [listener.beat.remote() for _ in range(100)]
    assert shoal.get(sizes, timeout=SECONDS) == [8_000_000, 3_000_000, 11_000_000]
    assert sorted(shoal.get(beats, timeout=SECONDS)) == list(range(1, 101))


@shoal.remote
def produce_bytes(size: int) -> bytes:
    return bytes(size)


def test_cancelling_on_another_node(three: Any) -> None:
    started = Counter.options(num_cpus=0).remote()

    @shoal.remote(max_retries=0)
    def wait(counter: Any) -> None:
        shoal.get(counter.add.remote())
        time.sleep(SECONDS * 2)

    ref = wait.options(**on("left")).remote(started)
    deadline = time.monotonic() + SECONDS
    while shoal.get(started.add.remote(0), timeout=SECONDS) == 0 and time.monotonic() < deadline:
        time.sleep(0.01)
    shoal.cancel(ref)
    with pytest.raises(exceptions.TaskCancelled):
        shoal.get(ref, timeout=SECONDS)


@pytest.mark.parametrize(
    ("strategy", "nodes"), [("STRICT_PACK", 1), ("PACK", 1), ("SPREAD", 2), ("STRICT_SPREAD", 2)]
)
def test_placement_groups_over_nodes(three: Any, strategy: str, nodes: int) -> None:
    group = shoal.placement_group([{"CPU": 1}, {"CPU": 1}], strategy=strategy)
    try:
        assert group.wait(SECONDS)
        places = shoal.placement_group_table(group)["bundles_to_node_id"]
        assert len(set(places.values())) == nodes
        for index in (0, 1):
            inside = shoal.PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index)
            found = shoal.get(
                [where.options(scheduling_strategy=inside, num_cpus=1).remote() for _ in range(3)],
                timeout=SECONDS,
            )
            assert set(found) == {places[index]}
            actor = Counter.options(scheduling_strategy=inside, num_cpus=0).remote()
            assert shoal.get(actor.where.remote(), timeout=SECONDS) == places[index]
    finally:
        shoal.remove_placement_group(group)


def test_more_than_the_nodes_can_spread_waits_and_says_why(three: Any) -> None:
    group = shoal.placement_group([{"CPU": 0.1}] * 4, strategy="STRICT_SPREAD")
    assert not group.wait(0.3)
    assert "4" in "\n".join(shoal.explain(group.ready()).reasons)
    shoal.remove_placement_group(group)


def test_a_named_actor_that_is_detached_outlives_its_driver(standing: Any) -> None:
    program = (
        "import shoal, sys\n"
        "shoal.init(address=sys.argv[1], temp_dir=sys.argv[2], namespace='shared')\n"
        "@shoal.remote\n"
        "class Keeper:\n"
        "    def __init__(self): self.kept = []\n"
        "    def keep(self, value): self.kept.append(value); return self.kept\n"
        "keeper = Keeper.options(name='keeper', lifetime='detached', num_cpus=0, resources={'left': 1}).remote()\n"
        "print(shoal.get(keeper.keep.remote('first')))\n"
    )
    arguments = standing.cluster.init_arguments()
    done = subprocess.run(
        [sys.executable, "-c", program, arguments["address"], arguments["temp_dir"]],
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
    )
    assert "['first']" in done.stdout, done.stderr
    standing.cluster.connect(namespace="shared")
    try:
        keeper = shoal.get_actor("keeper")
        assert shoal.get(keeper.keep.remote("second"), timeout=SECONDS) == ["first", "second"]
        shoal.kill(keeper)
    finally:
        shoal.shutdown()


def test_what_a_driver_leaves_is_cleaned_up(standing: Any) -> None:
    program = (
        "import shoal, sys, os, numpy\n"
        "shoal.init(address=sys.argv[1], temp_dir=sys.argv[2])\n"
        "@shoal.remote(num_cpus=2, resources={'left': 1})\n"
        "class Holder:\n"
        "    def pid(self): return os.getpid()\n"
        "holder = Holder.remote()\n"
        "print(shoal.get(holder.pid.remote()), flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    arguments = standing.cluster.init_arguments()
    done = subprocess.run(
        [sys.executable, "-c", program, arguments["address"], arguments["temp_dir"]],
        capture_output=True,
        text=True,
        timeout=SECONDS * 2,
    )
    assert done.returncode == -9, done.stderr
    pid = int(done.stdout)
    standing.cluster.connect()
    try:
        deadline = time.monotonic() + SECONDS
        while shoal.available_resources().get("CPU") != 5 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert shoal.available_resources()["CPU"] == 5
        assert not os.path.exists(f"/proc/{pid}")
    finally:
        shoal.shutdown()


def test_two_drivers_at_once_do_not_see_each_others_names(standing: Any) -> None:
    program = (
        "import shoal, sys\n"
        "shoal.init(address=sys.argv[1], temp_dir=sys.argv[2])\n"
        "@shoal.remote(num_cpus=0, name='same')\n"
        "class Named:\n"
        "    def ok(self): return 1\n"
        "named = Named.remote()\n"
        "print(shoal.get(named.ok.remote()), flush=True)\n"
        "sys.stdin.readline()\n"
    )
    arguments = standing.cluster.init_arguments()
    command = [sys.executable, "-c", program, arguments["address"], arguments["temp_dir"]]
    both = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    try:
        for one in both:
            assert one.stdout is not None
            assert one.stdout.readline().strip() == "1"
    finally:
        for one in both:
            one.communicate("\n", timeout=SECONDS)


def test_locality_goes_where_the_bytes_are() -> None:
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 2, "scheduler": "locality"}) as cluster:
        left = cluster.add_node(num_cpus=2, resources={"left": 1})
        cluster.connect()
        cluster.wait_for_nodes()
        ref = numbers.options(**on("left")).remote(1_000_000)
        shoal.wait([ref], timeout=SECONDS, fetch_local=False)
        assert shoal.get(total.remote(ref), timeout=SECONDS)[1] == left.node_id


def test_files_of_the_runtime_env_are_carried_to_other_nodes(three: Any, tmp_path: Path) -> None:
    (tmp_path / "data.txt").write_text("carried")

    @shoal.remote(resources={"left": 1})
    def read() -> str:
        return Path("data.txt").read_text()

    @shoal.remote(resources={"right": 1})
    def read_there(environment: dict[str, str]) -> str:
        return shoal.get(read.options(runtime_env=environment).remote())  # type: ignore[no-any-return]

    environment = {"working_dir": str(tmp_path)}
    assert shoal.get(read.options(runtime_env=environment).remote(), timeout=60) == "carried"
    assert len(os.listdir(os.path.join(three.left.folder, "env", "packages"))) == 1
    assert shoal.get(read_there.remote(environment), timeout=60) == "carried"
