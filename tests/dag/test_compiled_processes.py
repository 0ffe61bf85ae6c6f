"""Compiled graphs between real processes: what lies in shared memory, who dies, what is left."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

import shoal
from shoal.dag import ChannelTimeout, CompiledDAG, InputNode, MultiOutputNode, ValueTooLarge
from shoal.errors import ActorDied, GetTimeout, NotSerializable
from shoal.testing.engine_gates import wait_for

pytestmark = [pytest.mark.processes, pytest.mark.usefixtures("processes")]
SECONDS = 30.0


@shoal.remote(num_cpus=0)
class Worker:
    def __init__(self) -> None:
        self.kept: list[Any] = []
        self.gate = threading.Event()

    def pid(self, _: Any = None) -> int:
        return os.getpid()

    def ones(self, count: int) -> Any:
        return np.full(count, 1.5)

    def describe(self, array: Any) -> Any:
        return float(array.sum()), array.flags.writeable, array.flags.owndata, int(array.ctypes.data) % 64

    def keep(self, array: Any) -> float:
        self.kept.append(array)
        return float(array[0])

    def kept_values(self) -> list[float]:
        return [float(array[0]) for array in self.kept]

    def let_go(self) -> None:
        self.kept.clear()

    def same(self, value: Any) -> Any:
        return value

    def wait(self, value: Any) -> Any:
        assert self.gate.wait(SECONDS)
        return value

    def open(self) -> None:
        self.gate.set()

    def threads(self) -> list[str]:
        return [thread.name for thread in threading.enumerate()]

    def die(self, value: int) -> int:
        if value == 3:
            os._exit(1)
        return value

    def drive(self, other: Any) -> Any:
        with InputNode() as inp:
            graph = other.same.bind(inp)
        with graph.experimental_compile() as compiled:
            return shoal.get(compiled.execute("from an actor"))


def single(method: str, actor: Any, **options: Any) -> CompiledDAG:
    with InputNode() as inp:
        graph = getattr(actor, method).bind(inp)
    compiled: CompiledDAG = graph.experimental_compile(**options)
    return compiled


def ring_files() -> list[str]:
    folder = Path(shoal.get_runtime_context().get_shared_folder())
    return [path.name for path in folder.iterdir() if path.name.startswith("graph-")]


def mapped_rings(pid: int) -> int:
    return sum("/graph-" in mapping.path for mapping in psutil.Process(pid).memory_maps(grouped=False))


def test_arrays_are_views_for_actors_and_copies_for_the_driver() -> None:
    maker, reader = Worker.remote(), Worker.remote()
    with InputNode() as inp:
        array = maker.ones.bind(inp)
        graph = MultiOutputNode([reader.describe.bind(array), array])
    with graph.experimental_compile() as compiled:
        described, got = shoal.get(compiled.execute(10_000))
        assert described == (15_000.0, False, False, 0)
        for _ in range(30):  # the slot is written again and again; what was got stays
            shoal.get(compiled.execute(10_000))
        assert got.sum() == 15_000.0


def test_an_array_that_an_actor_keeps_stays_as_it_was() -> None:
    worker = Worker.remote()
    with single("keep", worker, _max_inflight_executions=3, _submit_timeout=0.5) as compiled:
        for number in range(4):
            assert shoal.get(compiled.execute(np.full(1_000, float(number)))) == number
        # All slots are held by now.
        with pytest.raises(ChannelTimeout, match="keep copies instead"):
            compiled.execute(np.full(1_000, 9.0))
        assert shoal.get(worker.kept_values.remote()) == [0.0, 1.0, 2.0, 3.0]
        shoal.get(worker.let_go.remote())
        assert shoal.get(compiled.execute(np.full(1_000, 4.0)), timeout=SECONDS) == 4.0


def test_a_value_that_is_too_large_for_a_channel() -> None:
    worker = Worker.remote()
    with single("ones", worker, _buffer_size_bytes=10_000) as compiled:
        with pytest.raises(ValueTooLarge, match="_buffer_size_bytes=8"):
            shoal.get(compiled.execute(10_000))
        with pytest.raises(ValueTooLarge):
            compiled.execute(bytes(20_000))
        assert len(shoal.get(compiled.execute(10))) == 10


def test_references_cannot_be_in_a_channel() -> None:
    worker = Worker.remote()
    with (
        single("same", worker) as compiled,
        pytest.raises(NotSerializable, match="cannot keep an object alive"),
    ):
        compiled.execute([shoal.put(1)])


def test_the_death_of_an_actor_ends_the_graph_with_its_reason() -> None:
    first, last = Worker.remote(), Worker.remote()
    with InputNode() as inp:
        graph = last.same.bind(first.die.bind(inp))
    with graph.experimental_compile() as compiled:
        assert shoal.get(compiled.execute(1)) == 1
        ref = compiled.execute(3)
        with pytest.raises(ActorDied):
            shoal.get(ref, timeout=SECONDS)
        with pytest.raises(ActorDied):
            compiled.execute(1)
    # The others live on, without the graph.
    wait_for(
        lambda: not any(name.startswith("graph") for name in shoal.get(last.threads.remote())),
        "loop ended",
        SECONDS,
    )


def test_an_actor_that_is_killed_while_it_waits_is_noticed() -> None:
    first, last = Worker.remote(), Worker.remote()
    with InputNode() as inp:
        graph = last.wait.bind(first.same.bind(inp))
    compiled = graph.experimental_compile()
    ref = compiled.execute(1)
    os.kill(shoal.get(first.pid.remote()), signal.SIGKILL)
    with pytest.raises(ActorDied):
        shoal.get(ref, timeout=SECONDS)
    shoal.get(last.open.remote())
    compiled.teardown()


def test_an_actor_that_comes_back_does_not_have_the_graph() -> None:
    worker = Worker.options(max_restarts=1).remote()
    compiled = single("wait", worker)
    ref = compiled.execute(1)
    os.kill(shoal.get(worker.pid.remote()), signal.SIGKILL)
    with pytest.raises((ActorDied, shoal.exceptions.ActorUnavailable)):
        shoal.get(ref, timeout=SECONDS)
    compiled.teardown()


def test_awaiting_notices_a_death() -> None:
    worker = Worker.remote()

    async def program(compiled: CompiledDAG) -> None:
        future: Any = await compiled.execute_async(3)
        with pytest.raises(ActorDied):
            await asyncio.wait_for(future, SECONDS)

    with single("die", worker, enable_asyncio=True) as compiled:
        asyncio.run(program(compiled))


def test_no_file_no_mapping_and_no_thread_is_left() -> None:
    workers = [Worker.remote() for _ in range(3)]
    pids = shoal.get([worker.pid.remote() for worker in workers])
    with InputNode() as inp:
        node: Any = inp
        for worker in workers:
            node = worker.same.bind(node)
    compiled = node.experimental_compile()
    assert ring_files() == []  # names go as soon as all have the memory
    assert shoal.get(compiled.execute("x")) == "x"
    assert all(mapped_rings(pid) for pid in pids)
    compiled.teardown()
    del compiled
    wait_for(lambda: not any(mapped_rings(pid) for pid in pids), "memory given back", SECONDS)
    gc.collect()
    assert mapped_rings(os.getpid()) == 0
    threads = shoal.get([worker.threads.remote() for worker in workers])
    assert not any(name.startswith("graph") for names in threads for name in names)


def test_a_graph_that_is_lost_ends_by_itself() -> None:
    worker = Worker.remote()
    compiled = single("same", worker)
    assert shoal.get(compiled.execute(1)) == 1
    del compiled
    gc.collect()
    wait_for(
        lambda: not any(name.startswith("graph") for name in shoal.get(worker.threads.remote())),
        "loop ended",
        SECONDS,
    )


def test_waiting_has_a_bound() -> None:
    worker = Worker.remote()
    with single("wait", worker) as compiled:
        ref = compiled.execute(5)
        with pytest.raises(GetTimeout):
            shoal.get(ref, timeout=0.2)
        shoal.get(worker.open.remote())  # ordinary calls go on beside the graph
        assert shoal.get(ref, timeout=SECONDS) == 5


def test_two_graphs_share_an_actor() -> None:
    worker = Worker.remote()
    with single("same", worker) as one, single("ones", worker) as other:
        assert shoal.get(one.execute("a")) == "a"
        assert len(shoal.get(other.execute(5))) == 5
        assert shoal.get(one.execute("b")) == "b"


def test_an_actor_may_drive_a_graph() -> None:
    driver, worker = Worker.remote(), Worker.remote()
    assert shoal.get(driver.drive.remote(worker), timeout=SECONDS) == "from an actor"


def test_inputs_are_read_ahead_if_asked() -> None:
    first, last = Worker.remote(), Worker.remote()
    with InputNode() as inp:
        graph = last.wait.bind(first.same.bind(inp))
    with graph.experimental_compile(_overlap_gpu_communication=True) as compiled:
        refs = [compiled.execute(number) for number in range(5)]
        names = shoal.get(last.threads.remote())
        assert names.count("graph-prefetch") == 1
        shoal.get(last.open.remote())
        assert [shoal.get(ref, timeout=SECONDS) for ref in refs] == list(range(5))
    wait_for(
        lambda: not any(name.startswith("graph") for name in shoal.get(last.threads.remote())),
        "threads ended",
        SECONDS,
    )


def test_many_threads_execute() -> None:
    worker = Worker.remote()
    wrong: list[Any] = []
    with single("same", worker, _max_inflight_executions=8) as compiled:

        def work(start: int) -> None:
            for number in range(start, start + 50):
                ref = compiled.execute(number)
                value = shoal.get(ref, timeout=SECONDS)
                if value != number:
                    wrong.append((value, number))

        threads = [threading.Thread(target=work, args=(start,)) for start in (0, 100, 200, 300)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS)
    assert wrong == []
