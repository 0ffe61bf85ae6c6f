"""A driver outside the cluster, which reaches the head's port and nothing else, does what one inside it does."""

from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest
from client_support import SECONDS, connect, credentials, gateways, wait_for
from forwarder import Forwarder

import shoal
from shoal.cluster_utils import Cluster, ClusterNode
from shoal.interfaces.current import current
from shoal.util.state import list_actors


@attrs.frozen
class World:
    cluster: Cluster
    far: ClusterNode
    network: Forwarder


@pytest.fixture(scope="module", params=[pytest.param("plaintext", marks=pytest.mark.slow), "tls"])
def standing(request: pytest.FixtureRequest) -> Iterator[World]:
    settings = {"tls": "on"} if request.param == "tls" else {}
    with Cluster(initialize_head=True, head_node_args={"num_cpus": 2, **settings}) as cluster:
        far = cluster.add_node(num_cpus=2, resources={"far": 100}, **settings)
        with Forwarder(cluster.address) as network:
            yield World(cluster, far, network)


@pytest.fixture
def world(standing: World) -> Iterator[World]:
    """A driver whose only way to the cluster is one port."""
    connect(standing.cluster, standing.network.address)
    yield standing
    shoal.shutdown()
    wait_for(lambda: not gateways(standing.cluster), "the gateway is gone", 10)


@shoal.remote
def where() -> str:
    return shoal.get_runtime_context().get_node_id()


@shoal.remote
def zeros(size: int) -> Any:
    return np.zeros(size, dtype=np.uint8)


@shoal.remote
def total(array: Any) -> int:
    return int(array.sum())


@shoal.remote
def unpack(refs: list[shoal.ObjectRef[Any]]) -> list[Any]:
    return shoal.get(refs)


@shoal.remote
class Keeper:
    def __init__(self) -> None:
        self.kept: Any = None

    def keep(self, value: Any) -> None:
        self.kept = value

    def get(self) -> Any:
        return self.kept

    def inside(self) -> Any:
        return shoal.get(self.kept[0])


FAR = {"resources": {"far": 1}}


def test_work_and_large_values_on_both_nodes(world: World) -> None:
    cluster = world.cluster
    assert cluster.head_node is not None
    cluster.wait_for_nodes()
    assert world.far.node_id == shoal.get(where.options(**FAR).remote(), timeout=SECONDS)
    near = shoal.put(np.ones(3_000_000, dtype=np.uint8))
    for options in ({}, FAR):
        assert shoal.get(total.options(**options).remote(near), timeout=SECONDS) == 3_000_000
        made = zeros.options(**options).remote(2_500_000)
        assert len(shoal.get(made, timeout=SECONDS)) == 2_500_000
        assert shoal.get(total.options(**FAR).remote(made), timeout=SECONDS) == 0
    refs = [zeros.options(**FAR).remote(300_000 + index) for index in range(20)]
    assert [300_000 + index for index in range(20)] == [
        len(each) for each in shoal.get(refs, timeout=SECONDS)
    ]


def test_references_inside_values_and_kept_by_actors(world: World) -> None:
    small, large = shoal.put("small"), shoal.put(np.ones(500_000))
    found = shoal.get(unpack.options(**FAR).remote([small, large]), timeout=SECONDS)
    assert found[0] == "small"
    assert found[1].sum() == 500_000
    keeper = Keeper.options(**FAR).remote()
    shoal.get(keeper.keep.remote([large]), timeout=SECONDS)
    del large
    assert shoal.get(keeper.inside.remote(), timeout=SECONDS).sum() == 500_000
    [back] = shoal.get(keeper.get.remote(), timeout=SECONDS)
    assert shoal.get(back, timeout=SECONDS).sum() == 500_000

    @shoal.remote
    def through(handle: Any) -> int:
        return int(shoal.get(handle.inside.remote()).sum())

    assert shoal.get(through.remote(keeper), timeout=SECONDS) == 500_000


def test_awaiting_values_of_any_size(world: World) -> None:
    async def program() -> list[int]:
        refs = [zeros.options(**FAR).remote(size) for size in (10, 2_000_000)]
        return [len(each) for each in await asyncio.gather(*refs)]

    assert asyncio.run(program()) == [10, 2_000_000]


def test_a_stream_of_large_items(world: World) -> None:
    @shoal.remote(num_returns="streaming", **FAR)
    def items(count: int) -> Iterator[Any]:
        for index in range(count):
            yield np.full(200_000, index, dtype=np.uint8)

    got = [shoal.get(ref, timeout=SECONDS) for ref in items.remote(5)]
    assert [int(each.sum()) for each in got] == [0, 200_000, 400_000, 600_000, 800_000]


def test_waiting_brings_nothing_to_the_client(world: World) -> None:
    ref = zeros.options(**FAR).remote(20_000_000)
    before = world.network.passed
    assert ([ref], []) == shoal.wait([ref], timeout=SECONDS)
    assert world.network.passed - before < 1_000_000
    assert len(shoal.get(ref, timeout=SECONDS)) == 20_000_000
    assert world.network.passed - before > 20_000_000


def test_many_calls_are_few_messages(world: World) -> None:
    @shoal.remote
    def same(value: int) -> int:
        return value

    shoal.get([same.remote(index) for index in range(100)], timeout=SECONDS)
    before = world.network.reads
    assert list(range(1_000)) == shoal.get([same.remote(index) for index in range(1_000)], timeout=SECONDS)
    assert world.network.reads - before < 1_000, "a message for each call and answer would be 2,000"


def test_objects_go_with_their_references(world: World) -> None:
    assert current.engine is not None
    store = current.engine.client.store  # type: ignore[attr-defined]
    before = set(store.ids())
    refs = [shoal.put(np.ones(200_000)) for _ in range(5)]
    assert len(set(store.ids()) - before) == 5
    del refs
    wait_for(lambda: set(store.ids()) <= before, "the node's store has forgotten them")


CLIENT_ONLY = """
import attrs
import shoal


class Trouble(Exception):
    def __init__(self, text: str, code: int) -> None:
        super().__init__(text, code)
        self.code = code


@attrs.define
class Point:
    x: int
    y: int

    def moved(self, by: int) -> "Point":
        return Point(self.x + by, self.y + by)


def helper(point: Point) -> Point:
    return point.moved(SHIFT)


SHIFT = 10


@shoal.remote
def shift(point: Point) -> Point:
    return helper(point)


@shoal.remote
def fail() -> None:
    raise Trouble("no", 7)


@shoal.remote(max_retries=2, retry_exceptions=[Trouble])
def fail_at_first(path: str) -> str:
    with open(path, "a") as file:
        file.write("x")
    if len(open(path).read()) < 3:
        raise Trouble("again", 1)
    return open(path).read()


@shoal.remote
class Shifter:
    def __init__(self, by: int) -> None:
        self.by = by

    def shift(self, point: Point) -> Point:
        return point.moved(self.by)
"""


def test_modules_that_only_the_client_has(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "clients_own.py").write_text(CLIENT_ONLY)
    monkeypatch.syspath_prepend(tmp_path)
    own = importlib.import_module("clients_own")
    try:
        assert own.Point(11, 12) == shoal.get(own.shift.remote(own.Point(1, 2)), timeout=SECONDS)
        assert type(shoal.get(own.shift.remote(own.Point(1, 2)), timeout=SECONDS)) is own.Point
        shifter = own.Shifter.options(**FAR).remote(5)
        assert own.Point(6, 7) == shoal.get(shifter.shift.remote(own.Point(1, 2)), timeout=SECONDS)
        assert own.Point(3, 4) == shoal.get(shoal.put(own.Point(3, 4)), timeout=SECONDS)
        with pytest.raises(own.Trouble, match="no") as caught:
            shoal.get(own.fail.remote(), timeout=SECONDS)
        assert caught.value.code == 7
        assert isinstance(caught.value, shoal.exceptions.TaskError)
        assert "raise Trouble" in str(caught.value.remote_traceback)  # type: ignore[attr-defined]
        path = str(tmp_path / "tries")
        assert shoal.get(own.fail_at_first.remote(path), timeout=SECONDS) == "xxx"
    finally:
        del sys.modules["clients_own"]


def test_files_of_the_runtime_env_come_from_the_client(standing: World, tmp_path: Path) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    (folder / "data.txt").write_text("carried")
    package = tmp_path / "carried_package"
    package.mkdir()
    (package / "__init__.py").write_text("NAME = 'carried'\n")

    def look() -> tuple[str, str]:
        import carried_package  # type: ignore[import-not-found]

        return Path("data.txt").read_text(), carried_package.NAME

    environment = {"working_dir": str(folder), "py_modules": [str(package)], "env_vars": {"A": "b"}}
    with connect(standing.cluster, standing.network.address, runtime_env=environment):
        for options in ({}, FAR):
            looked = shoal.remote(look).options(**options).remote()
            assert shoal.get(looked, timeout=SECONDS) == ("carried", "carried")
    (folder / "data.txt").write_text("another")
    with connect(standing.cluster, standing.network.address):
        per_call = shoal.remote(look).options(runtime_env=environment, **FAR)
        assert shoal.get(per_call.remote(), timeout=SECONDS) == ("another", "carried")
    kept = os.listdir(os.path.join(standing.far.folder, "env", "packages"))
    assert len(kept) == 3, "the other node has fetched each of them once"


def test_an_address_of_the_reference(standing: World) -> None:
    from shoal.compat.session import init

    address = f"ray://{standing.network.address}"
    with init(address, credentials_file=credentials(standing.cluster)):
        assert shoal.get(zeros.remote(3), timeout=SECONDS).tolist() == [0, 0, 0]


PROGRAM = """
import sys
import time
import shoal

shoal.init(address="shoal://" + sys.argv[1], credentials_file=sys.argv[2], namespace="both",
           client_grace_seconds=float(sys.argv[3]))

class Value:
    def __init__(self, number):
        self.number = number

@shoal.remote
def work(value):
    print("printed by a worker")
    return Value(value.number + 1)

@shoal.remote
class Actor:
    def number(self):
        return 5

print("result", shoal.get(work.remote(Value(1))).number, flush=True)
short = Actor.options(name="short").remote()
long = Actor.options(name="long", lifetime="detached").remote()
print("actors", shoal.get([short.number.remote(), long.number.remote()]), flush=True)
if sys.argv[4] == "stay":
    print("staying", flush=True)
    time.sleep(600)
"""


def _program(world: World, tmp_path: Path, grace: float, how: str) -> subprocess.Popen[str]:
    path = tmp_path / "program.py"
    path.write_text(textwrap.dedent(PROGRAM))
    return subprocess.Popen(
        [sys.executable, str(path), world.network.address, credentials(world.cluster), str(grace), how],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
    )


def _wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    seen = []
    for line in process.stdout:
        seen.append(line)
        if text in line:
            return
    pytest.fail(f"{text!r} was not printed, but {''.join(seen)}")


def _living() -> set[str]:
    return {actor["name"] for actor in list_actors() if actor["state"] == "ALIVE"}


def test_a_program_sees_its_workers_output_and_leaves_only_what_is_detached(
    standing: World, tmp_path: Path
) -> None:
    with _program(standing, tmp_path, 30, "go") as process:
        said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, said
    assert "result 2" in said
    assert "actors [5, 5]" in said
    assert "printed by a worker" in said
    assert "work pid=" in said
    wait_for(lambda: not gateways(standing.cluster), "the gateway is gone, long before the grace is over", 10)
    with connect(standing.cluster, standing.network.address, namespace="both"):
        wait_for(lambda: _living() == {"long"}, "only the detached actor lives")
        assert shoal.get(shoal.get_actor("long").number.remote(), timeout=SECONDS) == 5
        shoal.kill(shoal.get_actor("long"))
        wait_for(lambda: not _living(), "it is gone")


def test_a_killed_client_is_cleaned_up_after_its_grace_and_another_is_not_touched(
    standing: World, tmp_path: Path
) -> None:
    with connect(standing.cluster, standing.network.address, namespace="both"):
        keeper = Keeper.remote()
        shoal.get(keeper.keep.remote("mine"), timeout=SECONDS)
        with _program(standing, tmp_path, 1, "stay") as process:
            _wait_for_line(process, "staying")
            assert len(gateways(standing.cluster)) == 2
            assert {"short", "long"} < _living()
            process.send_signal(signal.SIGKILL)
        wait_for(lambda: len(gateways(standing.cluster)) == 1, "its gateway is gone", 20)
        wait_for(lambda: _living() == {"long", ""}, "its actor is gone")
        assert shoal.get(keeper.get.remote(), timeout=SECONDS) == "mine"
        shoal.kill(shoal.get_actor("long"))


def test_ctrl_c_at_a_client_ends_what_it_waits_for_and_nothing_else(standing: World, tmp_path: Path) -> None:
    with _program(standing, tmp_path, 30, "stay") as process:
        _wait_for_line(process, "staying")
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=SECONDS)
    assert "KeyboardInterrupt" in said
    wait_for(lambda: not gateways(standing.cluster), "the gateway is gone", 10)
    with connect(standing.cluster, standing.network.address, namespace="both"):
        shoal.kill(shoal.get_actor("long"))
        wait_for(lambda: not _living(), "all is gone")


def test_a_client_is_a_driver_in_the_lists_of_its_node(world: World) -> None:
    from shoal.native.commands.seen import live_sessions

    assert world.cluster.head_node is not None
    [session] = [
        each
        for each in live_sessions(world.cluster.init_arguments()["temp_dir"])
        if each.folder == world.cluster.head_node.folder
    ]
    assert gateways(world.cluster) == [each.pid for each in session.processes if each.role == "driver"]
